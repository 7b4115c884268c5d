"""A program that interrupts small training runs by real signals in different forward passes, and goes on with each.

Every run is a forked process that calls the command line. The program prints as JSON, for each signal, where it came,
the exit code, how many forwards were still begun, what was left, and whether the run that went on is the whole run.
"""

import functools
import hashlib
import json
import os
import signal
import sys
import traceback
from pathlib import Path

import matplotlib.backends.backend_agg  # noqa: F401  (once, before the forks)
from transformers import LlamaForCausalLM

from iapo.cli import main

ARGUMENTS = [
    *("train", "--steps", "3", "--prompts_per_step", "4", "--group_size", "2", "--limit", "32", "--micro_batch", "4"),
    *("--sampler.max_new_tokens", "40", "--eval_problems", "2", "--eval_samples", "2", "--checkpoint_every", "2"),
    *("--diagnose", "2", "--rewards", "{short: {class_path: iapo.rewards.WithinLength, init_args: {max_length: 39}}}"),
]
PHASES = {
    "sampling": {"prepare", "sample"},
    "estimating": {"measure"},
    "updating": {"optimise"},
    "diagnosing": {"after"},
}
"""What a training run calls the model for, by the functions that are then running."""

forward = LlamaForCausalLM.forward


def run(arguments: list[str], folder: Path, at: int = 0, number: int = signal.SIGINT) -> tuple[int, dict]:
    """Exit code of the command line in a forked process that signals itself in forward ``at``; what it noted."""
    notes = folder.with_name("notes.json")
    process = os.fork()
    if process == 0:
        seen: list[list[str]] = []

        @functools.wraps(forward)
        def counted(*values, **names):
            running = {frame.f_code.co_name for frame, _ in traceback.walk_stack(None)}
            seen.append([phase for phase, functions in PHASES.items() if functions <= running])
            if len(seen) == at:
                os.kill(os.getpid(), number)
            return forward(*values, **names)

        LlamaForCausalLM.forward = counted
        os.dup2(os.open(folder.with_name("output.txt"), os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 2)
        code = main([*arguments, "--output", str(folder)])
        sys.stderr.flush()
        notes.write_text(json.dumps(seen))
        os._exit(code)
    code = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    output = folder.with_name("output.txt").read_text()
    return code, {"phases": json.loads(notes.read_text()), "output": output}


def result(folder: Path) -> dict:
    """Weights at the end, and the metrics that no clock measured, without the diagnosis that a signal cuts."""
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    kept = [{k: v for k, v in row.items() if "time" not in k and "/length_change/" not in k} for row in rows]
    newest = max(folder.glob("checkpoint-*"), key=lambda path: int(path.name.split("-")[1]))
    return {"steps": kept, "weights": hashlib.sha256((newest / "model.safetensors").read_bytes()).hexdigest()}


if __name__ == "__main__":
    work = Path(sys.argv[1])
    code, notes = run(ARGUMENTS, work / "whole")
    assert code == 0, notes
    whole, phases = result(work / "whole"), notes["phases"]
    trials = {}
    for index, phase in enumerate(PHASES):
        folder, number = work / f"run-{index}", [signal.SIGINT, signal.SIGTERM][index % 2]
        forwards = [count for count, found in enumerate(phases, 1) if phase in found]
        at = forwards[len(forwards) // 2]  # in the second of three updates; the first and the third are diagnosed
        code, notes = run(ARGUMENTS, folder, at, number)
        saved = sorted(path.name for path in folder.glob("checkpoint-*"))
        logged = len((folder / "metrics.jsonl").read_text().splitlines())
        again, _ = run([*ARGUMENTS, "--resume"], folder)
        left = {"code": code, "after": notes["phases"][at:], "saved": saved, "logged": logged}
        trials[phase] = left | {"output": notes["output"], "again": again, "same": result(folder) == whole}
    rewards = [row["reward_std"] for row in whole["steps"]]
    print(json.dumps({"trials": trials, "reward_std": rewards}))
