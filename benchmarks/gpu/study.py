"""Part 4: methods against each other on the one device, several runs side by side, taken up where they stopped.

Without `--weights` the embedded task; with it, once for each folder that `benchmarks/warm_start.py` wrote, a study of
each, one after the other: its model, its problems, and lengths that follow from what it was measured to do. What a
method's paper leaves to the user has three values, chosen between on a tuning seed and validation problems; other
seeds and test problems report.
"""

import argparse
import json
import subprocess
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.gpu.results import OutOfTimeError, Results, Row

CONFIGS = Path(__file__).parents[2] / "configs"
TOY_TUNED = "grpo_capped"
"""The only method that is tuned at toy size."""
AT_LINES = {
    "class_path": "iapo.estimators.Refined",
    "init_args": {
        "estimator": {"class_path": "iapo.estimators.AnswerLikelihood"},
        "stride": 1,
        "boundaries": {"class_path": "iapo.estimators.TextBoundaries"},
    },
}
"""The answer's likelihood, at the ends of lines and sentences."""


@dataclass(frozen=True)
class Base:
    """What a study starts from.

    Args:
        name: of its task and its folder.
        model: as `iapo train --model` takes it.
        data: as `iapo train --data` takes it.
        rates: learning rates that GRPO is tuned over; the second is that of all other methods.
        mean_length: tokens of its completions.
        caps: tokens within which a fifth, a third and half of its completions end.
        longest: tokens of a completion, at most.
    """

    name: str
    model: str
    data: str
    rates: tuple[float, float, float]
    mean_length: float
    caps: tuple[int, int, int]
    longest: int


EMBEDDED = Base("embedded", "embedded", "embedded", (2e-4, 5e-4, 1e-3), 48.0, (36, 40, 46), 128)


def run(results: Results, settings: argparse.Namespace) -> None:
    """The comparisons, begun anew or gone on with, and their tables so far."""
    bases = [warm_started(folder) for folder in settings.weights] or [EMBEDDED]
    names = [base.name for base in bases]
    if twice := [name for name in names if names.count(name) > 1]:
        raise SystemExit(f"--weights: got two folders named {twice[0]}, which names a study; want different names")
    for base in bases:
        output = results.folder / f"study-{base.name}"
        plan = results.folder / f"study-{base.name}.yaml"
        plan.write_text(json.dumps(plan_of(base, settings.toy), indent=1))
        results.case(f"study, {base.name}", partial(compare, plan, output, results.seconds_left))


def warm_started(folder: Path) -> Base:
    """A base that `benchmarks/warm_start.py` wrote.

    Raises:
        SystemExit: it is none.
    """
    for name in ("problems.jsonl", "warm_start.json", "config.json"):
        if not (folder / name).is_file():
            raise SystemExit(
                f"--weights: got {folder}, which has no {name}; want a folder that benchmarks/warm_start.py wrote "
                "(join its parts with `python -m benchmarks.gpu.pack join`)"
            )
    measured = json.loads((folder / "warm_start.json").read_text())["measured"]
    low, middle, high = (round(measured["lengths"][share]) for share in ("0.2", "0.33", "0.5"))
    model, data = str(folder.resolve()), str((folder / "problems.jsonl").resolve())
    return Base(folder.name, model, data, (1e-5, 2e-5, 5e-5), measured["mean_length"], (low, middle, high), 256)


def methods_of(base: Base) -> dict[str, dict[str, Any]]:
    """The entries of a plan, without their files."""
    caps, at_lines = list(base.caps), {} if base is EMBEDDED else {"estimator": AT_LINES}
    return {
        "grpo": {"tune": {"optimizer.lr": list(base.rates)}},
        # GRPO with the loss of leave_out: what the price does is the difference to it.
        "grpo_token": {
            "config": str((CONFIGS / "grpo.yaml").resolve()),
            "loss.aggregation": "token",
            "loss.clip_high": 0.28,
            "tune": {"optimizer.lr": list(base.rates)},
        },
        "grpo_capped": {"tune": {"sampler.max_new_tokens": caps}},
        # What the sampler cuts has no reward, so that the cap alone is tuned.
        "dler": {"assigner.outcome.shaping.limit": caps[-1], "tune": {"sampler.max_new_tokens": caps}},
        "arora_zanette": {"tune": {"assigner.shaping.weight": [0.1, 0.2, 0.4]}},
        "apr": {"loss.max_length": base.longest, "tune": {"assigner.weight": [0.1, 0.2, 0.4]}, **at_lines},
        "iapo_steps": {"tune": {"assigner.alpha": [0.25, 0.5, 1.0]}, **at_lines},
        "leave_out": {"tune": {"assigner.alpha": [0.5, 1.0, 2.0]}},
        "leave_out_permuted": {"tune": {"assigner.outcome.alpha": [0.5, 1.0, 2.0]}},
    }


def plan_of(base: Base, toy: bool) -> dict[str, Any]:
    """A plan of `iapo compare`; JSON is YAML.

    Runs sample as many tokens as 200 updates do at the base's length, and of the embedded model as many as in
    `configs/compare/study.yaml`.
    """
    steps, prompts, group = (1, 2, 8) if toy else (200, 32, 8)
    methods = methods_of(base)
    if toy:
        for name, entry in methods.items():
            tuned = entry.pop("tune")
            if name == TOY_TUNED:
                entry["tune"] = {flag: values[:2] for flag, values in tuned.items()}
    common = {
        "model": base.model,
        "data": base.data,
        "steps": steps,
        "max_tokens": 400_000 if base is EMBEDDED else round(steps * prompts * group * base.mean_length),
        "prompts_per_step": prompts,
        "group_size": group,
        "sampler.max_new_tokens": base.longest,
        "optimizer.lr": base.rates[1],
        "eval_samples": 1,
        "diagnose": 0,
        "checkpoint_every": 20,
        "keep_checkpoints": 1,
    }
    if base is EMBEDDED:  # of the others those of the comparison are held out
        common["eval_problems"] = 4 if toy else 64
    return {
        "task": base.name,
        "base": common,
        "methods": {
            name: {"config": str((CONFIGS / f"{name}.yaml").resolve()), **entry} for name, entry in methods.items()
        },
        "tuning": {"seeds": [100], "eval_problems": 4 if toy else 192, "eval_samples": 1 if toy else 8},
        "reporting": {"seeds": [0] if toy else [0, 1, 2], "reference": "grpo"},
        "evaluation": {
            "problems": 4 if toy else 256,
            "samples": 2 if toy else 16,
            "ks": [1, 2] if toy else [1, 4, 16],
            "budgets": [],
        },
        "processes": {"at_once": 2 if toy else 5, "threads": 1 if toy else 3},
    }


def compare(plan: Path, output: Path, seconds: float) -> Row:
    """`iapo compare` for as long as the part has; interrupted as by Ctrl-C, it leaves checkpoints behind."""
    command = [sys.executable, "-m", "iapo.cli", "compare", str(plan), "--output", str(output)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        try:
            text, _ = process.communicate(timeout=max(10, seconds - 30))
        except subprocess.TimeoutExpired:
            process.send_signal(2)
            text, _ = process.communicate()
            raise OutOfTimeError(f"the end of {output.name}, which goes on from its checkpoints") from None
    if process.returncode:
        raise RuntimeError(text.strip()[-280:])
    return {"result": f"{output.name}/report.md"}
