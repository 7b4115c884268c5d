"""Why the wrong answers of a comparison are wrong, on a model of `benchmarks/warm_start.py`.

    python benchmarks/wrong_answers.py runs/smollm2_small --output wrong.md

Reads the sampled completions of `iapo compare`'s evaluation and writes a row for each method, of all its seeds. A wrong
completion is ``cut``, before its end; or it has ``another answer`` than the last result that it wrote; or ``a slip``,
the equation of a step that does not hold; or, all of its steps being true, it took ``other steps`` than the problem
asks for. Slips per step are of all completions, right ones too. Intervals are those of `iapo compare`.
"""

import argparse
import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import torch
from demonstrations import EQUATION, read_lines
from entries import entry_of
from torch import Tensor

from iapo.comparison.running.results import evaluation_file
from iapo.comparison.showing.statistics import mean_interval
from iapo.evaluation import Interval, samples_beside

WHYS = ("cut", "another answer", "a slip", "other steps")


def slips_of(text: str) -> list[bool]:
    """Of each step of a completion, whether its equation does not hold. Repetitions and checks are no steps."""
    equations = [_equation(line.text) for line in read_lines(text) if line.kind == "step"]
    return [not holds for holds, _ in equations]


def why_wrong(text: str, answer: str | None, finished: bool) -> str:
    """Why a completion that is not right is wrong, one of `WHYS`.

    Args:
        text: of the completion.
        answer: that was read of it.
        finished: whether it came to its end.
    """
    if not finished:
        return "cut"
    results = [_equation(line)[1] for line in text.split("\n") if EQUATION.search(line)]
    if not results or results[-1] != answer:
        return "another answer"
    return "a slip" if any(slips_of(text)) else "other steps"


def _equation(line: str) -> tuple[bool, str]:
    """Whether the equation in a line holds, and the result that it gives."""
    found = EQUATION.search(line)
    assert found is not None
    left, operator, right, result = found.groups()
    a, b = int(left), int(right)
    if operator == "/":
        return b != 0 and a == int(result) * b, result
    return {"+": a + b, "-": a - b, "*": a * b}[operator] == int(result), result


def row_of(files: list[Path]) -> dict[str, Interval]:
    """What a method's runs did: the share of right completions, of each reason among all, and slips per step."""
    counts = [_counts(file) for file in files]
    found = {name: torch.stack([each[name] for each in counts]) for name in counts[0]}
    row = {name: mean_interval(found[name], found["completions"]) for name in ("right", *WHYS)}
    return row | {"slips per step": mean_interval(found["slips"], found["steps"])}


def _counts(file: Path) -> dict[str, Tensor]:
    """By problem: completions, how many are right or wrong for what reason, steps, and slips."""
    counts: dict[int, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for line in file.read_text().splitlines():
        sample: dict[str, Any] = json.loads(line)
        if sample["greedy"]:
            continue
        own, text = counts[sample["problem"]], sample["completion"]
        own["completions"] += 1
        own["right" if sample["correct"] else why_wrong(text, sample["answer"], sample["finished"])] += 1
        slips = slips_of(text)
        own["steps"] += len(slips)
        own["slips"] += sum(slips)
    names = ("completions", "right", *WHYS, "steps", "slips")
    return {name: torch.tensor([float(own[name]) for _, own in sorted(counts.items())]) for name in names}


def main(given: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="of `iapo compare`")
    parser.add_argument("--output", type=Path, required=True)
    arguments = parser.parse_args(given)
    files = defaultdict(list)
    for row in json.loads((arguments.folder / "results.json").read_text()):
        if row["split"] == "test":
            files[entry_of(row)].append(samples_beside(arguments.folder / row["run"] / evaluation_file("test")))
    rows = {name: row_of(each) for name, each in files.items()}
    columns = ["method", *next(iter(rows.values()))]
    lines = [columns, ["---"] * len(columns)]
    lines += [[name, *(f"{value:.3f}" for value in row.values())] for name, row in rows.items()]
    arguments.output.write_text("\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n")
    print(arguments.output.read_text())


if __name__ == "__main__":
    main()
