"""The study's figures from the runs of `iapo compare`: one list of results, the targets, and accuracy against length.

    iapo compare iapo://compare/study --output runs/study
    python -m iapo.embedded.recipe --out runs/models/shortcuts --shortcut 0.2 0.8 --shortcut_slip 0.12 --threads 1
    iapo compare iapo://compare/study_shortcuts --output runs/study_shortcuts
    iapo compare iapo://compare/study_choices --output runs/study_choices
    python benchmarks/study.py runs/study runs/study_shortcuts runs/study_choices
    iapo compare iapo://compare/study_leave_out --output runs/study_leave_out
    iapo compare iapo://compare/study_leave_out_shortcuts --output runs/study_leave_out_shortcuts
    python benchmarks/study.py runs/study_leave_out runs/study_leave_out_shortcuts --figure leave_out.png
    python -m iapo.embedded.recipe --out runs/models/weak --steps 1000 --threads 1
    iapo compare iapo://compare/study_weak --output runs/study_weak
    python benchmarks/study.py runs/study_weak --figure weak.png
    python benchmarks/study.py runs/smollm2_small runs/smollm2_words_small --figure smollm2.png

Writes `results.json` (the rows of these tasks in place of those that it had, other tasks' rows stay), for each folder
the report of `iapo compare` as `TASK.md`, where GRPO is in it `TASK-targets.md`, where the shortest length is known
`TASK-updates.md`, and the figure. Intervals are those of `iapo compare`: 95%, bootstrapped over seeds and problems.
"""

import argparse
import json
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from entries import entry_of
from study_figure import plot, read_points
from torch import Tensor

from iapo.comparison.running.problems import problems_path
from iapo.comparison.running.results import evaluation_file
from iapo.comparison.showing.statistics import difference_interval, hardest_third, mean_interval
from iapo.evaluation import EvaluationResult, Interval, pass_at_k
from iapo.training.reporting.log import METRICS, read_metrics

NEAR = 1.1
"""Times the shortest sufficient length."""
LENGTH_REWARDS = ("kimi", "l1", "arora_zanette", "shorter_better", "dler")
OURS = ("iapo", "iapo_default", "iapo_mild")
RIVALS = ("dapo", "gfpo", "gtpo", "s_grpo")


@dataclass(frozen=True, eq=False)
class MethodRuns:
    """The reporting runs of a method, run by problem; ``shortest`` is `None` where it is not known."""

    accuracy: Tensor
    length: Tensor
    passed: Tensor
    shortest: Tensor | None
    hard: Tensor

    @classmethod
    def of(cls, folder: Path, runs: list[str]) -> "MethodRuns":
        files = [folder / run / evaluation_file("test") for run in runs]
        found = [EvaluationResult.load(file) for file in files]
        rows = json.loads(problems_path(folder, "test").read_text())["rows"]
        correct = torch.stack([each.correct for each in found])
        samples, shortest = correct.shape[2], json.loads(files[0].read_text()).get("shortest")
        return cls(
            accuracy=correct.double().mean(2),
            length=torch.stack([each.lengths.double().mean(1) for each in found]),
            passed=torch.stack([pass_at_k(each.sum(1), samples, samples) for each in correct]),
            shortest=None if shortest is None else torch.tensor(shortest, dtype=torch.float64),
            hard=hardest_third(torch.tensor([float(row["difficulty"]) for row in rows])),
        )

    @property
    def ratio(self) -> Interval:
        return mean_interval(self.passed, self.length)


def read(folder: Path) -> tuple[list[dict[str, Any]], dict[str, MethodRuns]]:
    """The rows of ``results.json``, their runs named from here, and the evaluations of each entry of the plan."""
    rows = json.loads((folder / "results.json").read_text())
    runs = defaultdict(list)
    for row in rows:
        if row["split"] == "test":
            runs[entry_of(row)].append(row["run"])
    methods = {name: MethodRuns.of(folder, each) for name, each in runs.items()}
    return [row | {"run": str(folder / row["run"])} for row in rows], methods


def targets(methods: dict[str, MethodRuns], ours: MethodRuns) -> Iterator[tuple[str, str, str]]:
    """What the information-aware default was to reach: of what, what was wanted, what ``ours`` reached."""
    base, grpo = methods["base"], methods["grpo"]
    shorter = difference_interval(ours.length, base.length, relative=True)
    yield "length against the base", "at most -36%", f"{shorter:+.1%}"
    yield "accuracy, less that of GRPO", "no loss", f"{difference_interval(ours.accuracy, grpo.accuracy):+.3f}"
    if ours.shortest is not None and grpo.shortest is not None:
        excess = difference_interval(ours.length - ours.shortest, grpo.length - grpo.shortest, relative=True)
        of = "excess over the shortest sufficient reasoning against GRPO's"
        yield of, "at most -50%", f"{excess:+.1%}"
    else:
        shorter = difference_interval(ours.length, grpo.length, relative=True)
        yield "length against that of GRPO", "at most -36%", f"{shorter:+.1%}"
    for name in (name for name in RIVALS if name in methods):
        disjoint = "disjoint" if ours.ratio.low > methods[name].ratio.high else "overlapping"
        found = f"{ours.ratio:.4f} against {methods[name].ratio:.4f}: {disjoint}"
        yield f"Ratio@32 against {name}", "higher, intervals disjoint", found
    for name in (name for name in methods if name.startswith(LENGTH_REWARDS)):
        other = methods[name]
        hard = difference_interval(ours.accuracy[:, ours.hard], other.accuracy[:, other.hard])
        every = difference_interval(ours.accuracy, other.accuracy)
        length = difference_interval(ours.length, other.length)
        found = f"{hard:+.3f}, on all {every:+.3f}, tokens {length:+.2f}"
        yield f"accuracy on the hardest third, less that of {name}", "at least 0 at equal length", found


def targets_table(methods: dict[str, MethodRuns]) -> str:
    """The targets as Markdown, a column for each of our weights, or for what else there is of ours."""
    ours = [name for name in OURS if name in methods]
    ours = ours or [name for name in methods if name.startswith("iapo") or name == "leave_out"]
    lines = [f"| | wanted | {' | '.join(ours)} |", "|---|---|" + "---|" * len(ours)]
    for each in zip(*(targets(methods, methods[name]) for name in ours), strict=True):
        of, wanted, _ = each[0]
        lines.append(f"| {of} | {wanted} | {' | '.join(found for _, _, found in each)} |")
    return "\n".join(lines) + "\n"


def updates_table(folder: Path, rows: list[dict[str, Any]], methods: dict[str, MethodRuns]) -> str:
    """For each seed, the update after which three batches in turn were on average within 10% of the shortest length."""
    lines = ["| method | updates to within 10% of the shortest, by seed |", "|---|---|"]
    for name, each in methods.items():
        needed = []
        for row in rows:
            if entry_of(row) != name or name == "base" or row["split"] != "test" or each.shortest is None:
                continue
            steps = read_metrics(folder / row["run"] / METRICS)
            lengths = torch.tensor([step["completions/mean_length"] for step in steps]).unfold(0, 3, 1).mean(1)
            near = (lengths <= NEAR * float(each.shortest.mean())).nonzero()
            needed.append(str(int(near[0]) + 3) if len(near) else f"not in {len(steps)}")
        if needed:
            lines.append(f"| {name} | {', '.join(needed)} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Write everything."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", type=Path, nargs="+", help="folders of `iapo compare`")
    parser.add_argument("--output", type=Path, default=Path("docs/study"))
    parser.add_argument("--figure", default="accuracy_length.png", help="its file, in --output")
    settings = parser.parse_args()
    settings.output.mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, Any]] = []
    panels = {}
    for folder in settings.folders:
        found, methods = read(folder)
        rows += found
        report = (folder / "report.md").read_text().split("\n", 2)[2].replace("\n## ", "\n### ")
        panels[found[0]["task"]] = read_points(report)
        (settings.output / f"{found[0]['task']}.md").write_text(report)
        if any(each.shortest is not None for each in methods.values()):
            own = json.loads((folder / "results.json").read_text())
            (settings.output / f"{found[0]['task']}-updates.md").write_text(updates_table(folder, own, methods))
        if "grpo" in methods:
            (settings.output / f"{found[0]['task']}-targets.md").write_text(targets_table(methods))
    results = settings.output / "results.json"
    kept = [row for row in json.loads(results.read_text()) if row["task"] not in panels] if results.exists() else []
    results.write_text("[\n" + ",\n".join(map(json.dumps, kept + rows)) + "\n]\n")
    plot(panels, settings.output / settings.figure)


if __name__ == "__main__":
    main()
