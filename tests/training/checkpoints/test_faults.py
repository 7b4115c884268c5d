"""Checkpoints after faults: a process that dies at any operation on files, a signal at any time, a full disk."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import injected_faults
import pytest


@pytest.fixture(scope="module")
def injected(saved: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list]:
    """What `injected_faults.py` reports when it is run as a program."""
    run = Path(shutil.copytree(saved, tmp_path_factory.mktemp("injected") / "run"))
    paths = os.pathsep.join([str(Path(__file__).parents[3]), str(Path(__file__).parents[2])])
    command = [sys.executable, injected_faults.__file__, str(run)]
    environment = {**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}
    finished = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=120)
    assert finished.returncode == 0, finished.stderr
    return json.loads(finished.stdout.splitlines()[-1])


def test_killed_at_any_operation_the_newest_complete_one_loads(injected: dict[str, list]) -> None:
    kills = injected["kills"]
    assert len(kills) > 30
    assert all(kill["intact"] for kill in kills)
    steps = [kill["step"] for kill in kills]
    assert set(steps) == {2, 3}
    assert steps == sorted(steps), "once the new one is complete, it stays"
    assert all(kill["saved_after"] for kill in kills)


def test_killed_by_a_signal_at_any_time(injected: dict[str, list]) -> None:
    assert all(kill["intact"] and kill["step"] in (2, 3) for kill in injected["signals"])


def test_full_disk_leaves_nothing_behind(injected: dict[str, list]) -> None:
    failures = injected["full"]
    assert len(failures) >= 5
    assert all(failure["raised"] and failure["names"] == ["checkpoint-1", "checkpoint-2"] for failure in failures)
    assert all(failure["intact"] and failure["step"] == 2 for failure in failures)
