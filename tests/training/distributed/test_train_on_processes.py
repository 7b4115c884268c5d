"""`iapo train` on two processes: one folder, a resumed run that repeats the other bitwise, and errors of one."""

import pytest
import torch
from runs_on_processes import JUDGE, SETTINGS, on_two, same_bitwise, settings_of, steps_of

from iapo.cli import main
from iapo.policy.loading import load_model

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


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    return on_two(RUNS, tmp_path_factory.mktemp("runs"))


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
