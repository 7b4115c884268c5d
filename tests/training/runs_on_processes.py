"""Runs of `iapo train` on two processes of this machine."""

import contextlib
import io
import json
import os
import signal
import time
from pathlib import Path

import torch
from ports import held_port
from safetensors.torch import load_file
from torch import multiprocessing

from iapo.cli import main

SIZES = {
    "prompts_per_step": 3,
    "group_size": 4,
    "micro_batch": 4,
    "eval_problems": 2,
    "eval_samples": 2,
    "checkpoint_every": 1,
    "keep_checkpoints": 9,
    "limit": 60,
    "sampler.max_new_tokens": 30,
    "diagnose": 0,
}
SETTINGS = [f"--{name}={value}" for name, value in SIZES.items()]


class Judge:
    """A reward that is gone on the second process."""

    def __call__(self, completions, **columns):
        if os.environ.get("RANK") == "1":
            raise OSError("the judge is gone")
        return [0.0 for _ in completions]


class Preempted:
    """A reward during which the second process gets SIGTERM, and once more, as its launcher passes it on."""

    def __call__(self, completions, **columns):
        if os.environ.get("RANK") == "1" and len(completions) == SIZES["group_size"] * 2:  # in training
            os.kill(os.getpid(), signal.SIGTERM)
            os.kill(os.getpid(), signal.SIGTERM)
        return [float(index % 2) for index in range(len(completions))]


def settings_of(folder: str, *flags: str) -> list[str]:
    return ["--output", f"{{folder}}/{folder}", *flags]


PREEMPTED = ["--rewards", '{"scheduler": {"class_path": "runs_on_processes.Preempted"}}']
JUDGE = ["--rewards", '{"judge": {"class_path": "runs_on_processes.Judge"}}']


def work(
    index: int,
    ports: list[int],
    runs: dict[str, list[str]],
    folder: str,
    environments: dict[str, dict[str, str]],
    apart: bool,
) -> None:
    """All ``runs``, one after the other."""
    os.environ.update(MASTER_ADDR="127.0.0.1", WORLD_SIZE="2", RANK=str(index), LOCAL_RANK=str(index))
    torch.set_num_threads(1)
    if apart:
        os.chdir(Path(folder, f"machine-{index}"))
    told = {}
    for port, (name, arguments) in zip(ports, runs.items(), strict=True):
        for configured in [each for each in os.environ if each.startswith("ACCELERATE_")]:
            del os.environ[configured]
        os.environ |= {"MASTER_PORT": str(port)} | environments.get(name, {})
        with contextlib.redirect_stderr(io.StringIO()) as errors:
            filled = [each.replace("{folder}", folder).replace("{index}", str(index)) for each in arguments]
            code = main(["train", *SETTINGS, *filled])
        told[name] = (code, errors.getvalue())
    Path(folder, f"{index}.json").write_text(json.dumps(told))


def on_two(
    runs: dict[str, list[str]],
    folder: Path,
    environments: dict[str, dict[str, str]] | None = None,
    apart: bool = False,
) -> tuple[Path, list[dict]]:
    """The folder of the runs, and of both processes the exit codes and what they wrote to standard error.

    Args:
        runs: arguments by name; ``{folder}`` in them is the folder, ``{index}`` the number of the process.
        folder: of the runs.
        environments: what a launcher would have set, by name of the run.
        apart: each process works in ``machine-0`` or ``machine-1`` of the folder, as on a machine with its own disk.
    """
    with contextlib.ExitStack() as held:
        ports = [held.enter_context(held_port()) for _ in runs]
        given = (ports, runs, str(folder), environments or {}, apart)
        spawned = multiprocessing.spawn(work, given, nprocs=2, join=False)
        end = time.monotonic() + 600
        while not spawned.join(timeout=10):
            if time.monotonic() > end:  # one waits for the other, which gloo would do for half an hour
                for process in spawned.processes:
                    process.kill()
    return folder, [json.loads((folder / f"{index}.json").read_text()) for index in (0, 1)]


def steps_of(run: Path) -> list[dict]:
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in line.items() if "time" not in name} for line in lines]


def same_bitwise(folder: Path, told: list[dict], weights: str) -> None:
    """The run that was resumed repeats the one that went straight on."""
    for name in ("begun", "resumed", "straight"):
        assert [process[name] for process in told] == [[0, told[0][name][1]], [0, ""]], "the second one says nothing"
    same_runs(folder / "resumed", folder / "straight", weights)


def same_runs(resumed: Path, straight: Path, weights: str) -> None:
    """Two runs of two updates have the same metrics, weights and state, bitwise."""
    assert steps_of(resumed) == steps_of(straight)
    assert [step["step"] for step in steps_of(straight)] == [1, 2]
    for file in (f"{weights}.safetensors", "state.safetensors"):
        one, other = (load_file(run / "checkpoint-2" / file) for run in (resumed, straight))
        assert one.keys() == other.keys()
        assert all(torch.equal(one[name], other[name]) for name in one)
