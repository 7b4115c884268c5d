"""Part 4: methods against each other on the one device, several runs side by side, taken up where they stopped.

Without `--weights` the embedded task; with a folder that `benchmarks/warm_start.py` wrote, its model and its problems.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks.gpu.results import OutOfTimeError, Results, Row

CONFIGS = Path(__file__).parents[2] / "configs"
METHODS = ("grpo", "arora_zanette", "iapo_steps", "leave_out", "permuted")


def run(results: Results, settings: argparse.Namespace) -> None:
    """The comparison, begun anew or gone on with, and its table so far."""
    if settings.weights is not None and not (settings.weights / "problems.jsonl").is_file():
        raise SystemExit(
            f"--weights: got {settings.weights}, which has no problems.jsonl; want a folder that "
            "benchmarks/warm_start.py wrote (join its parts with `python -m benchmarks.gpu.pack join`)"
        )
    name = "embedded" if settings.weights is None else settings.weights.name
    plan = results.folder / f"study-{name}.yaml"
    plan.write_text(json.dumps(plan_of(settings), indent=1))
    output = results.folder / f"study-{name}"
    results.case(f"study, {name}", lambda: compare(plan, output, settings.minutes))


def plan_of(settings: argparse.Namespace) -> dict[str, Any]:
    """A plan of `iapo compare`; JSON is YAML."""
    base: dict[str, Any] = {
        "model": "embedded" if settings.weights is None else str(settings.weights.resolve()),
        "data": "embedded" if settings.weights is None else str((settings.weights / "problems.jsonl").resolve()),
        "steps": 1 if settings.toy else 200,
        "prompts_per_step": 2 if settings.toy else 32,
        "eval_problems": 4 if settings.toy else 64,
        "eval_samples": 1,
        "diagnose": 0,
        "checkpoint_every": 20,
        "keep_checkpoints": 1,
    }
    if settings.weights is not None:
        base |= {"optimizer.lr": 1e-5, "sampler.max_new_tokens": 256}
    names = METHODS[:1] + METHODS[3:4] if settings.toy else METHODS
    return {
        "task": base["model"] if settings.weights is None else settings.weights.name,
        "base": base,
        "methods": {name: {"config": str((CONFIGS / f"{name}.yaml").resolve())} for name in names},
        "reporting": {"seeds": [0] if settings.toy else [0, 1, 2], "reference": "grpo"},
        "evaluation": {"problems": 4 if settings.toy else 256, "samples": 2 if settings.toy else 4, "ks": [1, 2]},
        "processes": {"at_once": 1 if settings.toy else 5, "threads": 1 if settings.toy else 3},
    }


def compare(plan: Path, output: Path, minutes: float) -> Row:
    """`iapo compare` for as long as the part has; interrupted as by Ctrl-C, it leaves checkpoints behind."""
    command = [sys.executable, "-m", "iapo.cli", "compare", str(plan), "--output", str(output)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        try:
            text, _ = process.communicate(timeout=max(10, 60 * minutes - 30))
        except subprocess.TimeoutExpired:
            process.send_signal(2)
            text, _ = process.communicate()
            raise OutOfTimeError(f"the end of {output.name}, which goes on from its checkpoints") from None
    if process.returncode:
        raise RuntimeError(text.strip()[-280:])
    return {"result": f"{output.name}/report.md"}
