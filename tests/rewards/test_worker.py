"""The killable worker with real processes: functions that hang, die, raise, or return what cannot be sent."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from iapo.rewards import Failure, KillableWorker

ACTIONS = Path(__file__).with_name("actions.py")


@pytest.fixture(scope="module")
def worker():
    worker = KillableWorker(ACTIONS, "act", time_limit=0.5)
    yield worker
    worker.close()


def test_results_come_in_order(worker):
    assert worker.map(["a", "b", "c"]) == ["A", "B", "C"]


@pytest.mark.parametrize(
    ("order", "reason"),
    [
        ("hang", "timeout"),
        ("freeze", "timeout"),
        ("die", "crash"),
        ("segfault", "crash"),
        ("raise", "error"),
        ("unsendable", "error"),
    ],
)
def test_whatever_happens_the_next_item_is_served(worker, order, reason):
    failure = worker.apply(order)
    assert isinstance(failure, Failure)
    assert failure.reason == reason
    assert worker.apply("next") == "NEXT"


def test_an_exception_is_told(worker):
    assert worker.apply("raise") == Failure("error", "ValueError: bad item")


def test_the_time_limit_must_be_positive():
    with pytest.raises(ValueError, match="time_limit: got 0"):
        KillableWorker(ACTIONS, "act", time_limit=0)


@pytest.mark.parametrize("order", ["x", "hang"])
def test_no_process_outlives_its_parent(tmp_path, order):
    script = tmp_path / "parent.py"
    script.write_text(
        "import os, threading\n"
        "from pathlib import Path\n"
        "from iapo.rewards import KillableWorker\n"
        f"worker = KillableWorker(Path({str(ACTIONS)!r}), 'act', 60)\n"
        "assert worker.apply('x') == 'X'\n"
        f"threading.Thread(target=worker.apply, args=[{order!r}], daemon=True).start()\n"
        "print(worker._process.pid, flush=True)\n"
        "os._exit(0)\n"
    )
    pid = int(subprocess.run([sys.executable, script], capture_output=True, text=True, check=True).stdout)
    status = Path(f"/proc/{pid}/stat")
    for _ in range(50):
        if not status.exists() or status.read_text().split()[2] == "Z":
            return
        time.sleep(0.1)
    pytest.fail("the worker still runs")


def test_a_file_that_cannot_be_loaded_is_an_error_with_its_reason(tmp_path):
    (tmp_path / "broken.py").write_text("import no_such_module\n")
    with pytest.raises(RuntimeError, match="No module named 'no_such_module'"):
        KillableWorker(tmp_path / "broken.py", "act", time_limit=1).apply("x")
