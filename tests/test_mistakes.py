"""Mistakes of a new user: each ends in one line that says what is wrong, where, and what to do, and in no traceback."""

import shlex
import shutil
import signal
import sys
from pathlib import Path

import pytest
from mistakes import MISTAKES, TINY, write_desk

from iapo.cli import main
from iapo.training.reporting.progress import CommandProgress
from iapo.training.session import Session


@pytest.fixture(scope="module")
def desk(tmp_path_factory) -> Path:
    """A folder with the files that the mistakes are about."""
    folder = tmp_path_factory.mktemp("desk")
    write_desk(folder)
    return folder


@pytest.fixture
def call(desk, monkeypatch, capsys):
    """A command line in that folder, without a network: its exit code, and what it wrote."""
    monkeypatch.chdir(desk)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)

    def call(line: str) -> tuple[int, str, str]:
        words = shlex.split(TINY + line[1:] if line.split()[:1] == ["T"] else line)
        try:
            code = main(words)
        except SystemExit as ended:
            code = int(ended.code or 0)
        return code, *capsys.readouterr()

    yield call
    shutil.rmtree(desk / "out", ignore_errors=True)


def test_there_are_many():
    lines = [line for line, _, _ in MISTAKES]
    assert len(set(lines)) == len(lines) >= 70


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize(("line", "code", "wanted"), MISTAKES, ids=[line or "(nothing)" for line, _, _ in MISTAKES])
def test_a_mistake_is_told_in_one_line(line, code, wanted, call, desk):
    ended, out, err = call(line)
    # What a command is at is told after a second, on a busy machine of what is refused too.
    at_work = tuple(f"iapo {what} " for what in ("train: setting up", "train: sampling", "train: evaluating"))
    at_work += ("iapo inspect: loading and sampling ",)
    others = ("prompt: ", "first ", *at_work)
    told = [each for each in err.splitlines() if "warning:" not in each and not each.startswith(others)]
    assert len(told) == 1, err
    assert ended == code
    for text in wanted:
        assert text in told[0]
    assert told[0].startswith("iapo")
    assert "Traceback" not in out + err
    assert "Parser key" not in told[0]
    assert len(told[0]) < 900
    assert not (desk / "out" / "report.md").exists()


@pytest.mark.parametrize("package", ["peft"])
def test_a_package_that_is_missing_is_named_with_its_extra(package, call, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    code, _, err = call("T --lora.r 2")
    assert code == 1
    assert f"{package} is missing: install the extra, pip install 'iapo[train]'" in err


def test_a_reward_in_the_current_folder_needs_no_path(call):
    assert call("T --rewards mine.py:fine")[0] == 0


@pytest.mark.filterwarnings("default")
def test_what_is_accepted_and_does_nothing_is_told(call):
    code, _, err = call("T --assigner InformationAware --estimator NoInformation")
    assert code == 0
    assert "warning: estimator: NoInformation measures nothing, and InformationAware reads what is measured" in err


def test_a_hub_that_cannot_be_reached_is_told_without_noise(call):
    code, _, err = call("T --model some/model")
    assert (code, len(err.splitlines())) == (2, 1)


PHASES = {
    "loading": ("iapo.training.run.open_run", 130, ["before there was anything to save"]),
    "the first evaluation": ("iapo.training.session.evaluate", 75, ["before the first update", "--resume goes on"]),
    "training": ("iapo.training.session.diagnosed_update", 75, ["before the first update", "--resume goes on"]),
}


@pytest.mark.parametrize("phase", PHASES)
def test_ctrl_c_says_what_was_saved_and_how_to_go_on(phase, call, monkeypatch):
    place, code, wanted = PHASES[phase]

    def interrupted(*arguments, **named):
        leaving = [each for each in arguments if getattr(each, "__name__", "") == "leaving"]
        with leaving[0]() if leaving else CommandProgress("iapo").phase("nothing"):
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(place, interrupted)
    ended, _, err = call("T")
    assert ended == code
    last = err.splitlines()[-1]
    for text in ["interrupted by SIGINT", *wanted]:
        assert text in last
    assert "Traceback" not in err


def test_ctrl_c_in_the_last_evaluation_keeps_all_updates(call, monkeypatch, desk):
    evaluate = Session.evaluate

    def interrupted(session, rows, step, *arguments):
        if step:
            signal.raise_signal(signal.SIGINT)
        return evaluate(session, rows, step, *arguments)

    monkeypatch.setattr(Session, "evaluate", interrupted)
    code, _, err = call("T")
    assert code == 75
    last = err.splitlines()[-1]
    assert "in the evaluation after step 1, the last; out/checkpoint-1 is saved" in last
    assert last.endswith("the same command with --resume goes on")
    monkeypatch.undo()
    monkeypatch.chdir(desk)
    assert call("T --resume")[0] == 0
    assert (desk / "out" / "report.md").exists()


def test_ctrl_c_in_an_evaluation_says_that_nothing_was_written(call, monkeypatch):
    def interrupted(*arguments, **named):
        raise KeyboardInterrupt

    monkeypatch.setattr("iapo.commands.evaluate.evaluate", interrupted)
    code, _, err = call("eval --problems 2 --samples 1 --ks [1] --output e.json")
    assert code == 130
    assert "embedded not evaluated, nothing was written to e.json; run the same command again" in err.splitlines()[-1]


def test_the_table_is_printed_even_where_its_file_cannot_be_written(call, monkeypatch):
    def full(path, text):
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr("iapo.commands.evaluate.write_text", full)
    code, out, err = call(
        "eval --problems 2 --samples 1 --ks [1] --budgets [] --sampler.max_new_tokens 8 --output e.json"
    )
    assert code == 1
    assert "| accuracy |" in out
    assert "No space left" in err.splitlines()[-1]
