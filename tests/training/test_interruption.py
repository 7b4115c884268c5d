"""Signals, by real processes: what can be repeated is left at once, what cannot is finished, and nothing is lost."""

import contextlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import interrupted_runs
import pytest

from iapo.training import interruption
from iapo.training.interruption import Interrupted, listening


@pytest.fixture(scope="module")
def interrupted(tmp_path_factory: pytest.TempPathFactory) -> dict:
    """What `interrupted_runs.py` reports when it is run as a program."""
    command = [sys.executable, interrupted_runs.__file__, str(tmp_path_factory.mktemp("interrupted"))]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert max(found["reward_std"]) > 0, "a run that learns nothing would be the same whatever is lost"
    return found["trials"]


@pytest.mark.parametrize("phase", ["sampling", "estimating"])
def test_what_comes_before_the_update_is_left_within_one_forward(interrupted: dict, phase: str) -> None:
    trial = interrupted[phase]
    assert trial["code"] == 75
    assert trial["after"] == []
    wanted = [f"checkpoint-{trial['logged']}"] if trial["logged"] else []
    assert trial["saved"] == wanted, "the state before the update, also between two saves"


def test_an_update_is_finished_and_saved(interrupted: dict) -> None:
    trial = interrupted["updating"]
    assert (trial["code"], interrupted["sampling"]["logged"]) == (75, 1)
    assert all(phases == ["updating"] for phases in trial["after"])
    assert f"checkpoint-{trial['logged']}" in trial["saved"]


def test_the_diagnosis_behind_an_update_is_left_within_one_forward(interrupted: dict) -> None:
    trial = interrupted["diagnosing"]
    assert (trial["code"], trial["after"]) == (75, [])
    assert f"checkpoint-{trial['logged']}" in trial["saved"]


@pytest.mark.parametrize("phase", interrupted_runs.PHASES)
def test_the_run_that_goes_on_is_the_whole_run_bit_for_bit(interrupted: dict, phase: str) -> None:
    assert interrupted[phase]["again"] == 0
    assert interrupted[phase]["same"]


@pytest.mark.parametrize("phase", interrupted_runs.PHASES)
def test_one_line_says_how_to_go_on(interrupted: dict, phase: str) -> None:
    trial = interrupted[phase]
    name = "SIGINT" if phase in ("sampling", "updating") else "SIGTERM"
    last = trial["output"].splitlines()[-1]
    assert last.startswith(f"iapo train: interrupted by {name} ")
    assert f" after step {trial['logged']}" in last
    kept = f"/checkpoint-{trial['logged']} is saved" if trial["logged"] else "nothing is trained yet"
    assert last.endswith(f"{kept}; the same command with --resume goes on")
    assert "Traceback" not in trial["output"]


def test_a_second_signal_has_its_usual_effect() -> None:
    program = (
        f"import os, signal, sys\nsys.path.append({str(Path(interruption.__file__).parent)!r})\n"
        "from interruption import listening\n"
        "with listening() as interruption:\n"
        "    os.kill(os.getpid(), signal.SIGTERM)\n"
        "    assert interruption.signal == signal.SIGTERM\n"
        "    os.kill(os.getpid(), signal.SIGTERM)\n"
        "    print('still here')\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (-signal.SIGTERM, "")
    with listening():
        signal.raise_signal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


def test_a_signal_that_a_launcher_passes_on_is_not_the_second() -> None:
    with listening(passed_on=True) as noted:
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGTERM)
        assert noted.signal == signal.SIGTERM
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


def test_outside_of_blocks_to_leave_a_signal_is_only_noted() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with listening() as noted:
        with noted.leaving():
            pass
        signal.raise_signal(signal.SIGTERM)
        assert noted
        with pytest.raises(Interrupted, match="SIGTERM"), noted.leaving():
            raise AssertionError("a signal that has come leaves the next block before it begins")
    assert signal.getsignal(signal.SIGTERM) is before


def test_code_that_catches_what_leaves_a_block_does_not_keep_it() -> None:
    def swallow() -> None:
        with contextlib.suppress(BaseException):
            signal.raise_signal(signal.SIGTERM)

    def rename() -> None:
        try:
            signal.raise_signal(signal.SIGTERM)
        except BaseException as error:
            raise ValueError("the reward did not work") from error

    for catch in (swallow, rename):
        with listening() as noted, pytest.raises(Interrupted, match="SIGTERM"), noted.leaving():
            catch()


def test_a_terminal_that_goes_is_a_signal_and_does_not_abort_by_a_second_one() -> None:
    before = signal.getsignal(signal.SIGHUP)
    try:
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
        with listening() as noted:
            signal.raise_signal(signal.SIGHUP)
            assert noted.signal == signal.SIGHUP
            signal.raise_signal(signal.SIGHUP)
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_DFL
        signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does
        with listening() as noted:
            signal.raise_signal(signal.SIGHUP)
            assert not noted
    finally:
        signal.signal(signal.SIGHUP, before)
