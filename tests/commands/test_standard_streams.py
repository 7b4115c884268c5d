"""Standard streams that are missing, full or read by nobody: one line, a code, and all files are written."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from iapo.cli import main

FEW = ["--sampler.max_new_tokens", "8", "--samples", "1"]


def closed() -> None:
    for number in (0, 1, 2):
        os.close(number)


def test_files_do_not_take_the_places_of_missing_streams(tmp_path: Path) -> None:
    program = """
import os, subprocess, sys
from iapo.commands.standard_streams import open_missing_streams
open_missing_streams()
with open(sys.argv[1], "w") as file:
    print("on standard output", flush=True)
    print("on standard error", file=sys.stderr, flush=True)
    os.write(1, b"from C"), os.write(2, b"from C")
    ended = subprocess.run([sys.executable, "-c", "print('of a child', flush=True)"])
    file.write(f"{sys.stdin.read()!r} {ended.returncode}")
"""
    file = tmp_path / "file"
    command = [sys.executable, "-c", program, str(file)]
    assert subprocess.run(command, preexec_fn=closed, check=False).returncode == 0
    assert file.read_text() == "'' 0"


def test_a_command_without_standard_streams_ends_well() -> None:
    assert subprocess.run([sys.executable, "-m", "iapo.cli", "--help"], preexec_fn=closed, check=False).returncode == 0


@pytest.mark.parametrize("flag", ["--version", "--help"])
def test_output_that_cannot_be_written_is_an_error_of_one_line(flag: str) -> None:
    buffered = os.environ | {"PYTHONUNBUFFERED": ""}
    with open("/dev/full", "w") as full:
        command = [sys.executable, "-m", "iapo.cli", flag]
        ended = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False, env=buffered)
    assert ended.returncode == 1
    assert ended.stderr.startswith("iapo: [Errno 28] No space left on device: 'standard output'; make room")
    assert len(ended.stderr.splitlines()) == 1


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_reader_that_goes_away_is_no_error_with_and_without_a_buffer(unbuffered: str) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    environment = os.environ | {"PYTHONUNBUFFERED": unbuffered}
    command = [sys.executable, "-m", "iapo.cli", "--version"]
    ended = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, check=False, env=environment)
    os.close(writing)
    assert (ended.returncode, ended.stderr) == (0, b"")


@pytest.mark.parametrize("lost", ["full", "closed"])
def test_files_that_were_asked_for_are_written(lost: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Standard output is that of a disk that is full, or of a pipe that nobody reads."""
    page, numbers = tmp_path / "page.html", tmp_path / "numbers.json"
    evaluate = ["eval", *FEW, "--problems", "1", "--ks", "[1]", "--budgets", "[]", "--output", str(numbers)]
    codes = []
    for command in (["inspect", *FEW, "--html", str(page)], evaluate, ["show", str(numbers)]):
        reading, writing = os.pipe()
        os.close(reading)
        with open("/dev/full", "w") if lost == "full" else os.fdopen(writing, "w") as stream:
            monkeypatch.setattr(sys, "stdout", stream)
            codes.append(main(command))
            monkeypatch.undo()
    assert page.exists()
    assert numbers.exists()
    assert numbers.with_suffix(".jsonl").exists()
    assert codes == ([1, 1, 1] if lost == "full" else [0, 0, 0])


REWARD = """
import os, signal
from collections.abc import Iterator
from pathlib import Path

def reward(completions, **_):
    if Path({numbers!r}).exists():
        os.kill(os.getpid(), signal.SIGINT)
    return [1.0 for _ in completions]
"""


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Ctrl-C interrupts this process, also where it was started in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_models_that_are_evaluated_are_kept_when_the_next_is_interrupted(tmp_path: Path, capsys, interruptible) -> None:
    reward, numbers = tmp_path / "reward.py", tmp_path / "numbers.json"
    reward.write_text(REWARD.format(numbers=str(numbers)))
    few = [*FEW, "--problems", "1", "--ks", "[1]", "--budgets", "[]", "--rewards", f"{reward}:reward"]
    from iapo.embedded import model_path

    models = f"[embedded, {model_path()}]"
    assert main(["eval", *few, "--models", models, "--output", str(numbers)]) == 130
    said = capsys.readouterr()
    assert f"{model_path()} not evaluated, the others are in {numbers}; run the same" in said.err.splitlines()[-1]
    assert "| accuracy |" in said.out
    assert main(["show", str(numbers)]) == 0
