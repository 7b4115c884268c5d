"""The killable worker with real processes: functions that hang, die, raise, or return what cannot be sent."""

import copy
import gc
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import iapo.rewards
from iapo.rewards import Failure, KillableWorker

REWARDS = Path(iapo.rewards.__file__).parent
ACTIONS = Path(__file__).with_name("actions.py")


@pytest.fixture(scope="module")
def worker():
    with KillableWorker(ACTIONS, "act", time_limit=0.5) as worker:
        yield worker


def gone(pid):
    """Whether a process ends within ten seconds."""
    status = Path(f"/proc/{pid}/stat")
    for _ in range(100):
        try:
            if status.read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except (FileNotFoundError, ProcessLookupError):
            return True
        time.sleep(0.1)
    return False


def run_script(tmp_path, text):
    script = tmp_path / "script.py"
    script.write_text(
        "import os, sys, threading\nfrom pathlib import Path\n"
        f"ACTIONS = Path({str(ACTIONS)!r})\n"
        f"sys.path.append({str(REWARDS)!r})\nfrom worker import KillableWorker\n"  # without the seconds torch takes
        + text
    )
    return subprocess.run([sys.executable, "-W", "error", script], capture_output=True, text=True)


def test_results_come_in_order_from_one_process(worker):
    assert worker.map(["a", "b", "c"]) == ["A", "B", "C"]
    assert worker.apply("pid") == worker.apply("pid") != os.getpid()


@pytest.mark.parametrize(
    ("order", "reason"),
    [
        ("hang", "timeout"),
        ("freeze", "timeout"),
        ("factorial", "timeout"),
        ("die", "crash"),
        ("exit", "crash"),
        ("abort", "crash"),
        ("segfault", "crash"),
        ("raise", "error"),
        ("unsendable", "error"),
        ("fill", "error"),
    ],
)
def test_whatever_happens_the_next_item_is_served(worker, order, reason):
    if order == "fill" and sys.platform != "linux":
        pytest.skip("the memory limit is Linux's")
    first, failure, last = worker.map(["first", order, "last"])
    assert (first, last) == ("FIRST", "LAST")
    assert isinstance(failure, Failure)
    assert failure.reason == reason


@pytest.mark.skipif(sys.platform != "linux", reason="the memory limit is Linux's")
def test_memory_is_limited(worker):
    assert 0 < worker.apply("limit") <= 4 << 30


def test_failures_say_what_happened(worker):
    assert worker.apply("raise") == Failure("error", "act raised ValueError: bad item")
    assert worker.apply("spin") == Failure("timeout", "took longer than 0.5 s")
    assert worker.apply("die") == Failure("crash", "the worker process died with exit code 7")
    assert worker.apply("segfault").message.endswith(f"exit code -{int(signal.SIGSEGV)}")


def test_the_limit_of_a_function_that_computes_is_of_its_computing(monkeypatch):
    monkeypatch.setattr("iapo.rewards.worker._PATIENCE", 300)
    with KillableWorker(ACTIONS, "act", time_limit=0.2, computes=True) as worker:
        assert worker.map(["slow", "slow"]) == ["SLOW", "SLOW"]  # 0.3 s pass, as they would on a busy machine
        for order in ("spin", "freeze", "hang"):
            assert worker.map([order, "next"]) == [Failure("timeout", "computed longer than 0.2 s"), "NEXT"]
    monkeypatch.setattr("iapo.rewards.worker._PATIENCE", 3)
    with KillableWorker(ACTIONS, "act", time_limit=0.2, computes=True) as worker:
        assert worker.apply("wait") == Failure("timeout", "took longer than 0.6 s")


def test_printed_text_is_neither_an_answer_nor_shown(worker, capfd):
    assert worker.map(["talk", "x"]) == ["TALK", "X"]
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("text", ["\ud800", "a\nb\x00\u2028", "x" * 2_000_000])
def test_any_text_travels(worker, text):
    assert worker.apply(text) == text.upper()


def test_a_process_killed_between_items_is_replaced(worker):
    os.kill(worker.apply("pid"), signal.SIGKILL)
    time.sleep(0.1)
    assert worker.apply("next") == "NEXT"


def test_an_interrupted_items_answer_is_not_the_next_items(worker):
    def interrupt(*_):
        raise KeyboardInterrupt

    worker.apply("warm")
    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.1)
        with pytest.raises(KeyboardInterrupt):
            worker.apply("slow")
    finally:
        signal.signal(signal.SIGALRM, before)
    assert worker.apply("next") == "NEXT"


def test_threads_take_turns_and_outlive_their_starter():
    with KillableWorker(ACTIONS, "act", time_limit=5) as worker:
        words = [f"w{i}" for i in range(40)]
        with ThreadPoolExecutor(4) as pool:
            assert list(pool.map(worker.apply, words)) == [word.upper() for word in words]
        results = []
        starter = threading.Thread(target=lambda: (worker.close(), results.append(worker.apply("pid"))))
        starter.start()
        starter.join()
        time.sleep(0.1)
        assert worker.apply("pid") == results[0]


def test_copies_and_forks_start_their_own_process(tmp_path, worker):
    pid = worker.apply("pid")
    for twin in (copy.deepcopy(worker), pickle.loads(pickle.dumps(worker))):
        with twin:
            assert twin.apply("pid") != pid
    assert worker.apply("pid") == pid
    done = run_script(
        tmp_path,
        "worker = KillableWorker(ACTIONS, 'act', 5)\n"
        "pid = worker.apply('pid')\n"
        "child = os.fork()\n"
        "if child == 0:\n"
        "    raise SystemExit(0 if worker.apply('pid') != pid else 1)\n"
        "assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0\n"
        "assert worker.apply('pid') == pid\n",
    )
    assert done.returncode == 0, done.stderr


def test_a_forgotten_worker_leaves_no_process():
    worker = KillableWorker(ACTIONS, "act", time_limit=5)
    pid = worker.apply("pid")
    del worker
    gc.collect()
    assert gone(pid)


def test_a_script_without_main_guard_leaves_no_process(tmp_path):
    done = run_script(tmp_path, "print(KillableWorker(ACTIONS, 'act', 5).apply('pid'))\n")
    assert (done.returncode, done.stderr) == (0, "")
    assert gone(int(done.stdout))


@pytest.mark.parametrize("order", ["x", "hang"])
def test_no_process_outlives_a_killed_parent(tmp_path, order):
    done = run_script(
        tmp_path,
        "worker = KillableWorker(ACTIONS, 'act', 60)\n"
        "print(worker.apply('pid'), flush=True)\n"
        f"threading.Thread(target=worker.apply, args=[{order!r}], daemon=True).start()\n"
        "threading.Event().wait(0.2)\n"
        "os.kill(os.getpid(), 9)\n",
    )
    assert gone(int(done.stdout))


def test_a_process_of_a_thread_ends_after_a_killed_parent(tmp_path):
    done = run_script(
        tmp_path,
        "worker = KillableWorker(ACTIONS, 'act', 1)\n"
        "begun = threading.Event()\n"
        "def work():\n"
        "    print(worker.apply('pid'), flush=True)\n"
        "    begun.set()\n"
        "    worker.apply('freeze')\n"
        "threading.Thread(target=work, daemon=True).start()\n"
        "begun.wait()\n"
        "threading.Event().wait(0.2)\n"
        "os.kill(os.getpid(), 9)\n",
    )
    assert gone(int(done.stdout))


def test_the_time_limit_must_be_positive():
    for limit in (0, -1.0, float("nan")):
        with pytest.raises(ValueError, match="time_limit: got"):
            KillableWorker(ACTIONS, "act", time_limit=limit)


@pytest.mark.parametrize(
    ("source", "name", "message"),
    [
        ("import no_such_module\n", "act", "No module named 'no_such_module'"),
        ("x = 1\n", "act", "has no attribute 'act'"),
        ("import os\nos._exit(1)\n", "act", "could not start act of .*broken.py"),
    ],
)
def test_a_file_that_cannot_be_loaded_is_named(tmp_path, source, name, message):
    (tmp_path / "broken.py").write_text(source)
    with pytest.raises(RuntimeError, match=message):
        KillableWorker(tmp_path / "broken.py", name, time_limit=1).apply("x")
