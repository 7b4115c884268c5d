"""A run that goes on keeps what is its own of its folder, and says what it keeps and what differs."""

import json
import re
import shutil
from pathlib import Path

import pytest
import torch
from sealed_files import rewrite
from test_setting_up import SMALL

from iapo.cli import main
from iapo.embedded import model_path
from iapo.ops.json_files import read_sealed
from iapo.ops.shell import quoted_path
from iapo.policy import load_model
from iapo.policy.lora import base_of
from iapo.training.configuration.policy_source import PolicySource
from iapo.training.setup.setting_up import _take_settings

pytestmark = pytest.mark.filterwarnings("always::UserWarning")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of three updates with all its checkpoints; copy it before changing it."""
    folder = tmp_path_factory.mktemp("runs") / "whole one"
    assert train(folder, "--steps", "3") == 0
    return folder


@pytest.fixture
def run(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "run"))


@pytest.fixture
def begun(run: Path) -> Path:
    """A run that was killed after it evaluated the policy, before its first checkpoint."""
    for path in run.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif path.name not in ("config.json", "evaluation-0.json", "evaluation-0.jsonl"):
            path.unlink()
    return run


def train(folder: Path, *arguments: str) -> int:
    fixed = *SMALL.split(), "--checkpoint_every", "1", "--keep_checkpoints", "9"
    return main(["train", "--output", str(folder), *fixed, *arguments])


def mark(evaluation: Path) -> None:
    """Make an evaluation one that nothing would sample: of 1000 tokens a completion."""
    rewrite(evaluation, lengths=[[1000] * len(row) for row in read_sealed(evaluation)["lengths"]])


def is_marked(evaluation: Path) -> bool:
    return json.loads(evaluation.read_text())["lengths"][0][0] == 1000


def rates(folder: Path) -> list[float]:
    return [json.loads(line)["learning_rate"] for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_a_run_without_checkpoints_goes_on_with_its_own_settings_alone(begun, capsys):
    """What it evaluated before training would be taken for that of other settings."""
    mark(begun / "evaluation-0.json")
    other = "--resume", "--steps", "1", "--seed", "5", "--sampler.max_new_tokens", "6"
    assert train(begun, *other) == 1
    told = capsys.readouterr().err
    assert "sampler.init_args.max_new_tokens: saved 4, now 6; seed: saved 0, now 5" in told
    assert is_marked(begun / "evaluation-0.json")
    assert train(begun, *other, "--override") == 0
    assert not is_marked(begun / "evaluation-0.json")


def test_a_run_without_checkpoints_keeps_its_evaluation_and_says_that_it_begins(begun, capsys):
    mark(begun / "evaluation-0.json")
    assert train(begun, "--resume", "--steps", "1") == 0
    assert f"there is no checkpoint in {begun} to go on from" in capsys.readouterr().err
    assert is_marked(begun / "evaluation-0.json")


def test_an_evaluation_of_unknown_settings_is_made_again(begun):
    mark(begun / "evaluation-0.json")
    (begun / "config.json").unlink()
    assert train(begun, "--resume", "--steps", "1") == 0
    assert not is_marked(begun / "evaluation-0.json")


def test_evaluations_after_the_checkpoint_are_made_again(run):
    """They were taken for those of the updates that the run made anew."""
    for step in (0, 3):
        mark(run / f"evaluation-{step}.json")
    for step in (2, 3):
        shutil.rmtree(run / f"checkpoint-{step}")
    assert train(run, "--resume", "--steps", "2") == 0
    assert is_marked(run / "evaluation-0.json")
    assert not list(run.glob("evaluation-3.json*"))
    assert train(run, "--resume", "--steps", "3") == 0
    assert not is_marked(run / "evaluation-3.json")


def test_what_is_overridden_is_told_and_stands_in_the_report(run, capsys):
    mark(run / "evaluation-3.json")
    assert train(run, "--resume", "--override", "--steps", "3", "--micro_batch", "2") == 0
    told = capsys.readouterr().err
    assert f"override: going on with the weights and the optimizer's state of {run / 'checkpoint-3'}" in told
    assert "micro_batch: saved 32, now 2" in told
    assert not is_marked(run / "evaluation-3.json"), "evaluated with the settings before"
    assert train(run, "--resume", "--override", "--steps", "4", "--micro_batch", "2") == 0
    assert "although these differ: micro_batch" in capsys.readouterr().err
    assert train(run, "--resume", "--steps", "5", "--micro_batch", "2") == 0
    assert "differ" not in capsys.readouterr().err
    report = (run / "report.md").read_text()
    assert "- not one run throughout, by --override: after update 3: micro_batch: saved 32, now 2\n" in report


def test_an_overridden_learning_rate_is_that_of_the_next_updates(run):
    """The optimizer's state brought the saved one back, and the report named the other."""
    assert train(run, "--resume", "--override", "--steps", "4", "--optimizer.lr", "0.25", "--warmup_steps", "8") == 0
    # In each update all rewards are equal, so that the schedule did not move.
    assert rates(run) == [5e-4, 5e-4, 5e-4, 0.25 / 8]
    assert "learning rate: 0.25 (AdamW, rising over 8 steps)" in (run / "report.md").read_text()


def test_settings_that_take_the_place_of_others_stand_at_the_place_of_the_schedule():
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=0.5, momentum=0.9)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min(1.0, (step + 1) / 8))
    for _ in range(3):
        optimizer.step()
        schedule.step()
    _take_settings(schedule, [{"lr": 0.1, "initial_lr": 0.25, "momentum": 0.5}])
    assert [optimizer.param_groups[0][name] for name in ("lr", "momentum")] == [0.25 * 4 / 8, 0.5]
    optimizer.step()
    schedule.step()
    assert optimizer.param_groups[0]["lr"] == 0.25 * 5 / 8


def test_another_precision_of_forwards_is_noticed_where_the_device_chooses_it(run, monkeypatch, capsys):
    """A run went on in bf16 on another device, although only the device's name may change."""
    monkeypatch.setattr(PolicySource, "autocast", lambda policy: torch.bfloat16)
    assert train(run, "--resume", "--steps", "4") == 1
    assert 'these differ (override to go on all the same): forwards: saved "float32", now "bfloat16"' in (
        capsys.readouterr().err
    )


@pytest.mark.parametrize(
    ("other", "told"),
    [
        (
            ("--optimizer", "torch.optim.SGD", "--optimizer.lr", "0.1"),
            'saved "torch.optim.AdamW", now "torch.optim.SGD"',
        ),
        (("--lora.r", "2"), "lora.r: saved 0, now 2"),
    ],
)
def test_what_a_state_is_made_for_cannot_be_overridden(run, other, told, capsys):
    assert train(run, "--resume", "--override", "--steps", "4", *other) == 1
    err = capsys.readouterr().err
    assert told in err
    assert f"start a new run from the weights with --model {run / 'checkpoint-3'}" in err


@pytest.mark.parametrize("flags", [("--lora.r", "2"), ("--loss.kl_coef", "0.1")])
def test_a_model_that_changed_in_its_place_is_noticed(tmp_path, flags, capsys):
    """A run went on with adapters for other weights, or was held near another policy."""
    first, moved, run = tmp_path / "first", tmp_path / "moved", tmp_path / "run"
    shutil.copytree(model_path(), first)
    assert train(run, "--model", str(first), "--steps", "1", *flags) == 0
    model, _ = load_model(str(first))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(1.5)
    first.rename(moved)
    model.save_pretrained(first)
    shutil.copy(moved / "tokenizer.json", first)
    shutil.copy(moved / "tokenizer_config.json", first)
    again = "--resume", "--steps", "2", *flags
    assert train(run, "--model", str(first), *again) == 1
    told = capsys.readouterr().err
    assert "checkpoint-1: the weights of the model that it goes on from" in told
    assert "are others than they were" in told
    assert train(run, "--model", str(first), *again, "--override") == 0
    assert "although these differ: model: other weights below the adapters, or of the" in capsys.readouterr().err
    shutil.rmtree(run / "checkpoint-2")
    assert train(run, "--model", str(moved), *again, "--override") == 0
    told = capsys.readouterr().err
    assert f'although these differ: model: saved "{first}", now "{moved}"\n' in told
    if flags[0] == "--lora.r":
        assert base_of(run / "checkpoint-2") == str(moved)
        shutil.rmtree(first)
        assert main(["eval", "--models", f"[{run / 'checkpoint-1'}]", "--problems", "1", "--limit", "4"]) == 1
        assert f"The adapters in {run / 'checkpoint-1'} belong to it; put it back" in capsys.readouterr().err


def test_the_folder_of_a_model_is_no_run_folder(tmp_path, capsys):
    """Its config.json was replaced by that of the run."""
    shutil.copy(model_path() / "config.json", tmp_path)
    before = (tmp_path / "config.json").read_text()
    for flags in ((), ("--resume",), ("--resume", "--override")):
        assert train(tmp_path, *flags) == 1
        assert f"{tmp_path} is the folder of a model" in capsys.readouterr().err
        assert (tmp_path / "config.json").read_text() == before


def test_the_folder_of_a_comparison_is_no_run_folder(tmp_path, capsys):
    """The report of the comparison was replaced by that of the run."""
    (tmp_path / "problems-test.json").write_text("{}")
    for flags in ((), ("--resume",)):
        assert train(tmp_path, *flags) == 1
        assert f"{tmp_path} is the folder of a comparison" in capsys.readouterr().err


def test_commands_in_a_report_can_be_pasted(whole):
    assert f"`iapo show {quoted_path(whole)}`" in (whole / "report.md").read_text()
    assert "'" in quoted_path(whole)


@pytest.mark.parametrize("flags", [[], ["--resume"]])
def test_a_run_that_ended_behind_its_first_completions_begins_again(tmp_path, flags):
    """Its samples were there before its settings, so that they were taken for somebody else's."""
    folder = tmp_path / "run"

    def killed(*_):
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("iapo.training.setup.opening.forget_evaluations", killed)
        assert train(folder, "--steps", "1", *flags) == 130
    assert (folder / "samples.jsonl").exists()
    assert not (folder / "config.json").exists()
    assert train(folder, "--steps", "1", *flags) == 0


@pytest.mark.parametrize(("content", "fault"), [(None, "missing"), ("{", "damaged.*"), ("{}", "damaged.*")])
def test_an_evaluation_that_cannot_be_made_again_is_named_with_where_to_get_it(run, capsys, content, fault):
    """Who removed a damaged one, as the message said, was told that it is missing."""
    if content is None:
        (run / "evaluation-0.json").unlink()
    else:
        (run / "evaluation-0.json").write_text(content)
    assert train(run, "--resume", "--steps", "4") == 1
    told = capsys.readouterr().err.splitlines()[-1]
    assert re.search(rf"evaluation-0\.json: is {fault}, and the policy of step 0 is not there any more", told)
    assert "a run of the same settings in another folder begins with the same one" in told
    assert "remove it" not in told


def test_an_evaluation_of_another_run_is_not_taken_for_its_own(run, tmp_path, capsys):
    """What others had sampled stood in the report, as before or after training."""
    assert train(tmp_path / "other", "--steps", "1", "--seed", "7") == 0
    before, after = run / "evaluation-0.json", run / "evaluation-3.json"
    kept = before.read_text(), after.read_text()
    for each in (before, after):
        shutil.copy(tmp_path / "other" / "evaluation-0.json", each)
    assert train(run, "--resume", "--steps", "3") == 1
    assert f"{before}: is of a run with other settings, and the policy of step 0" in capsys.readouterr().err
    before.write_text(kept[0])
    assert train(run, "--resume", "--steps", "3") == 0
    assert f"{after}: is of a run with other settings; it is made again" in capsys.readouterr().err
    assert json.loads(after.read_text())["correct"] == json.loads(kept[1])["correct"]


def test_random_numbers_of_python_and_numpy_are_those_of_a_run_that_nobody_killed(run, begun, tmp_path):
    """A reward that drew from them got others where the evaluation before training was kept."""
    assert train(begun, "--resume", "--steps", "1") == 0
    assert train(tmp_path / "again", "--steps", "1") == 0
    rng, expected = (
        json.loads((folder / "checkpoint-1" / "state.json").read_text())["rng"]
        for folder in (begun, tmp_path / "again")
    )
    assert rng == expected


@pytest.mark.parametrize("name", ["report.md", "metrics.jsonl", "samples.jsonl", "curves.png"])
@pytest.mark.parametrize("flags", [[], ["--resume"]])
def test_files_of_somebody_else_are_kept(tmp_path, capsys, name, flags):
    """A run in a folder of notes replaced the report there."""
    (tmp_path / name).write_text("mine")
    assert train(tmp_path, *flags) == 1
    assert f"has {name}, which is of no run and whose place a run's would take" in capsys.readouterr().err
    assert (tmp_path / name).read_text() == "mine"
