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
from iapo.policy.loading import load_model

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


def settings_of(folder: str, *flags: str) -> list[str]:
    return ["--output", f"{{folder}}/{folder}", *flags]


JUDGE = ["--rewards", '{"judge": {"class_path": "test_train_on_processes.Judge"}}']
RUNS = {
    "begun": settings_of("resumed", "--steps", "1"),
    "resumed": settings_of("resumed", "--steps", "2", "--resume"),
    "straight": settings_of("straight", "--steps", "2"),
    "there already": settings_of("straight", "--steps", "2"),
    "one device": settings_of("none", "--device", "cuda:0"),
    "judge": settings_of("judge", *JUDGE),
}
ADAPTED = ["--shard", "true", "--lora.r", "2", "--loss.kl_coef", "0.1"]
SHARDED = {
    "begun": settings_of("resumed", "--steps", "1", *ADAPTED),
    "resumed": settings_of("resumed", "--steps", "2", "--resume", *ADAPTED),
    "straight": settings_of("straight", "--steps", "2", *ADAPTED),
}


def work(index: int, ports: list[int], runs: dict[str, list[str]], folder: str) -> None:
    """All ``runs``, one after the other."""
    os.environ.update(MASTER_ADDR="127.0.0.1", WORLD_SIZE="2", RANK=str(index), LOCAL_RANK=str(index))
    torch.set_num_threads(1)
    told = {}
    for port, (name, arguments) in zip(ports, runs.items(), strict=True):
        os.environ["MASTER_PORT"] = str(port)
        with contextlib.redirect_stderr(io.StringIO()) as errors:
            code = main(["train", *SETTINGS, *(each.replace("{folder}", folder) for each in arguments)])
        told[name] = (code, errors.getvalue())
    Path(folder, f"{index}.json").write_text(json.dumps(told))


def on_two(runs: dict[str, list[str]], folder: Path) -> tuple[Path, list[dict]]:
    """The folder of the runs, and of both processes the exit codes and what they wrote to standard error."""
    with contextlib.ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in runs]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        ports = [int(each.getsockname()[1]) for each in sockets]
    multiprocessing.spawn(work, (ports, runs, str(folder)), nprocs=2)
    return folder, [json.loads((folder / f"{index}.json").read_text()) for index in (0, 1)]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    return on_two(RUNS, tmp_path_factory.mktemp("runs"))


def steps_of(run: Path) -> list[dict]:
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in line.items() if "time" not in name} for line in lines]


def same_bitwise(folder: Path, told: list[dict], weights: str) -> None:
    for name in ("begun", "resumed", "straight"):
        assert [process[name] for process in told] == [[0, told[0][name][1]], [0, ""]], "the second one says nothing"
    resumed, straight = folder / "resumed", folder / "straight"
    assert steps_of(resumed) == steps_of(straight)
    assert [step["step"] for step in steps_of(straight)] == [1, 2]
    for file in (f"{weights}.safetensors", "state.safetensors"):
        one, other = (load_file(run / "checkpoint-2" / file) for run in (resumed, straight))
        assert one.keys() == other.keys()
        assert all(torch.equal(one[name], other[name]) for name in one)


def test_a_resumed_run_repeats_the_other_bitwise(runs):
    same_bitwise(*runs, "model")


@pytest.mark.slow
def test_so_does_one_of_adapters_on_sharded_weights(tmp_path):
    folder, told = on_two(SHARDED, tmp_path)
    same_bitwise(folder, told, "adapter_model")
    changed, _ = load_model(str(folder / "straight" / "checkpoint-2"))
    base, _ = load_model("embedded")
    assert not torch.equal(changed.model.layers[0].mlp.up_proj.weight, base.model.layers[0].mlp.up_proj.weight)


def test_whole_weights_are_saved_and_all_completions_are_counted(runs):
    folder, _ = runs
    saved, _ = load_model(str(folder / "straight" / "checkpoint-2"))
    base, _ = load_model("embedded")
    assert {name: value.shape for name, value in saved.state_dict().items()} == {
        name: value.shape for name, value in base.state_dict().items()
    }
    assert not torch.equal(saved.model.layers[0].mlp.up_proj.weight, base.model.layers[0].mlp.up_proj.weight)
    first = steps_of(folder / "straight")[0]
    assert first["completions/mean_length"] * 12 == pytest.approx(first["num_tokens"]), "three prompts, four of each"


def test_an_error_of_one_process_is_one_of_all(runs):
    _, told = runs
    assert [process["judge"][0] for process in told] == [1, 1]
    assert (
        "process 1 of 2 failed: RuntimeError: reward 'judge' raised OSError: the judge is gone" in told[0]["judge"][1]
    )
    assert "reward 'judge' raised OSError: the judge is gone" in told[1]["judge"][1]
    assert [process["there already"][0] for process in told] == [1, 1]
    assert "holds a finished run already" in told[0]["there already"][1]
    assert all("device: got 'cuda:0' for 2 processes" in process["one device"][1] for process in told)


def test_a_run_of_another_number_of_processes_is_not_resumed(runs, capsys):
    folder, _ = runs
    code = main(["train", *SETTINGS, "--output", str(folder / "straight"), "--steps", "3", "--resume"])
    assert code == 1
    assert "processes: saved 2, now 1" in capsys.readouterr().err
