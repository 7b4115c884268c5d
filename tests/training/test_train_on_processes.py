"""`iapo train` on two processes: one folder, a resumed run that repeats the other bitwise, and errors of one."""

import contextlib
import io
import json
import os
import socket
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import multiprocessing

from iapo.cli import main

SETTINGS = (
    "--prompts_per_step 3 --group_size 4 --micro_batch 4 --eval_problems 4 --eval_samples 2 --checkpoint_every 1 "
    "--keep_checkpoints 9 --limit 60 --sampler.max_new_tokens 40 --diagnose 2"
).split()


class Judge:
    """A reward that is gone on the second process."""

    def __call__(self, completions, **columns):
        if os.environ.get("RANK") == "1":
            raise OSError("the judge is gone")
        return [0.0 for _ in completions]


RUNS = {
    "begun": ["--output", "{folder}/resumed", "--steps", "2"],
    "resumed": ["--output", "{folder}/resumed", "--steps", "3", "--resume"],
    "straight": ["--output", "{folder}/straight", "--steps", "3"],
    "sharded begun": ["--output", "{folder}/sharded-resumed", "--steps", "2", "--shard", "true"],
    "sharded resumed": ["--output", "{folder}/sharded-resumed", "--steps", "3", "--shard", "true", "--resume"],
    "sharded": ["--output", "{folder}/sharded", "--steps", "3", "--shard", "true"],
    "there already": ["--output", "{folder}/straight", "--steps", "3"],
    "no such flag value": ["--output", "{folder}/none", "--steps", "3", "--device", "cuda:0"],
    "judge": ["--output", "{folder}/judge", "--rewards", '{"judge": {"class_path": "test_train_on_processes.Judge"}}'],
}


def work(index: int, ports: list[int], folder: str) -> None:
    """All runs, one after the other."""
    os.environ.update(MASTER_ADDR="127.0.0.1", WORLD_SIZE="2", RANK=str(index), LOCAL_RANK=str(index))
    torch.set_num_threads(1)
    told = {}
    for port, (name, arguments) in zip(ports, RUNS.items(), strict=True):
        os.environ["MASTER_PORT"] = str(port)
        with contextlib.redirect_stderr(io.StringIO()) as errors:
            code = main(["train", *SETTINGS, *(each.replace("{folder}", folder) for each in arguments)])
        told[name] = (code, errors.getvalue())
    Path(folder, f"{index}.json").write_text(json.dumps(told))


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """The folder of the runs, and of both processes the exit codes and what they wrote to standard error."""
    folder = tmp_path_factory.mktemp("runs")
    with contextlib.ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in RUNS]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        ports = [int(each.getsockname()[1]) for each in sockets]
    multiprocessing.spawn(work, (ports, str(folder)), nprocs=2)
    return folder, [json.loads((folder / f"{index}.json").read_text()) for index in (0, 1)]


def steps_of(run: Path) -> list[dict]:
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in line.items() if "time" not in name} for line in lines]


@pytest.mark.parametrize("kind", ["", "sharded-"])
def test_a_resumed_run_repeats_the_other_bitwise(runs, kind):
    folder, told = runs
    names = ["begun", "resumed", "straight"] if not kind else ["sharded begun", "sharded resumed", "sharded"]
    assert [told[index][name][0] for index in (0, 1) for name in names] == [0] * 6, told
    resumed = folder / f"{kind}resumed"
    straight = folder / (f"{kind}resumed".replace("-resumed", "") if kind else "straight")
    assert steps_of(resumed) == steps_of(straight)
    assert [step["step"] for step in steps_of(straight)] == [1, 2, 3]
    for file in ("model.safetensors", "state.safetensors"):
        one, other = (load_file(run / "checkpoint-3" / file) for run in (resumed, straight))
        assert one.keys() == other.keys()
        assert all(torch.equal(one[name], other[name]) for name in one)
