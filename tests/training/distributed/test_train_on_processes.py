"""`iapo train` on two processes: one folder, a resumed run that repeats the other bitwise, and errors of one."""

import json
import shutil

import pytest
import torch
from runs_on_processes import JUDGE, PREEMPTED, SETTINGS, on_two, same_bitwise, settings_of, steps_of

from iapo.cli import main
from iapo.embedded import generate_problems, rows
from iapo.policy.loading import load_model

RUNS = {
    "begun": settings_of("resumed", "--steps", "1"),
    "resumed": settings_of("resumed", "--steps", "2", "--resume"),
    "straight": settings_of("straight", "--steps", "2"),
    "there already": settings_of("straight", "--steps", "2"),
    "one device": settings_of("none", "--device", "cuda:0"),
    "judge": settings_of("judge", *JUDGE),
    "preempted": settings_of("preempted", *PREEMPTED, "--checkpoint_every", "5"),
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


def test_a_signal_to_one_process_ends_all_after_they_saved(runs):
    folder, told = runs
    assert [process["preempted"][0] for process in told] == [75, 75]
    assert "interrupted by a signal to another process after step 1" in told[0]["preempted"][1]
    assert [step["step"] for step in steps_of(folder / "preempted")] == [1]
    assert (folder / "preempted" / "checkpoint-1").is_dir()


def test_a_run_of_another_number_of_processes_is_not_resumed(runs, capsys):
    folder, _ = runs
    code = main(["train", *SETTINGS, "--output", str(folder / "straight"), "--steps", "3", "--resume"])
    assert code == 1
    assert "processes: saved 2, now 1" in capsys.readouterr().err


APART = {
    "seed": ["--output", "none", "--seed", "{index}"],
    "problems": ["--output", "none", "--data", "problems.jsonl"],
    "weights": ["--output", "none", "--model", "model"],
    "folder": ["--output", "seen by one", "--steps", "3", "--resume"],
    "checkpoint": ["--output", "damaged for one", "--steps", "3", "--resume"],
}


@pytest.fixture(scope="module")
def apart(runs, tmp_path_factory):
    """What two processes say that see other files, as on machines with disks of their own, by name of the run."""
    folder = tmp_path_factory.mktemp("apart")
    problems = [{"prompt": row["prompt"], "answer": row["answer"]} for row in rows(generate_problems(60, seed=5))]
    model, tokenizer = load_model("embedded")
    for index, data in enumerate((problems, problems[::-1])):
        machine = folder / f"machine-{index}"
        machine.mkdir()
        (machine / "problems.jsonl").write_text("".join(json.dumps(row) + "\n" for row in data))
        model.save_pretrained(machine / "model")
        tokenizer.save_pretrained(machine / "model")
        model.lm_head.weight.data += 0.01
        shutil.copytree(runs[0] / "straight", machine / "damaged for one")
    shutil.copytree(runs[0] / "straight", folder / "machine-0" / "seen by one")
    (machine / "damaged for one" / "checkpoint-2" / "state.safetensors").write_bytes(b"")
    _, told = on_two(APART, folder, apart=True)
    return {name: [process[name] for process in told] for name in APART}


@pytest.mark.parametrize(
    ("run", "difference"),
    [
        ("seed", "seed: process 0 has 0, process 1 has 1"),
        ("problems", "problems: process 0 has "),
        ("weights", "weights: process 0 has "),
        (
            "folder",
            'in the run folder: process 0 has ["checkpoint-2", "checkpoint-1", "config.json", "evaluation-0.json"]',
        ),
        ("checkpoint", "updates of the checkpoint: process 0 has 2, process 1 has 1"),
    ],
)
def test_processes_that_see_other_files_do_not_train_together(apart, run, difference):
    for code, error in apart[run]:
        assert code == 1
        assert difference in error
        assert "let them see the same files" in error
