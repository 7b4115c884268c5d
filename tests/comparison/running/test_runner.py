"""Processes: order, failures, signals, the lock. Real processes of a bare Python, not of training."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from iapo.comparison.running.runner import Job, Listener, Stage, run_jobs
from iapo.ops.lock import locked
from iapo.training.interruption import EXIT_CODE


def script(folder: Path, code: str, done: str = "done") -> Stage:
    """Run Python code in a folder; finished when the file ``done`` is there."""
    return Stage((sys.executable, "-S", "-c", f"import os; os.chdir({str(folder)!r})\n{code}"), (folder / done).exists)


def job(root: Path, name: str, *codes: str) -> Job:
    folder = root / name
    stages = tuple(script(folder, code, f"done{i}") for i, code in enumerate(codes))
    return Job(name, folder, stages, lambda: (0.0, ""))


GOOD = "open('done0', 'w').write(os.environ['OMP_NUM_THREADS'])"


def test_jobs_run_once_and_are_kept(tmp_path):
    jobs = [job(tmp_path, name, GOOD) for name in ("a", "b", "c")]
    events: list[tuple[str, str]] = []
    listener = Listener(event=lambda job, what, reason: events.append((job.name, what)))
    first = run_jobs(jobs, 2, 3, listener=listener)
    assert {name: outcome.state for name, outcome in first.items()} == dict.fromkeys("abc", "finished")
    assert (tmp_path / "a" / "done0").read_text() == "3"
    assert [what for name, what in events if name == "c"] == ["started", "finished"]
    again = run_jobs(jobs, 2, 3)
    assert {outcome.state for outcome in again.values()} == {"kept"}
    assert (tmp_path / "a" / "output.log").read_text().count("$ ") == 1


def test_no_more_run_at_once_than_allowed(tmp_path):
    most = 0

    def poll(running: list[Job]) -> None:
        nonlocal most
        most = max(most, len(running))

    # Long enough for two to be there at once on a busy machine.
    slow = f"import time; time.sleep(0.5); {GOOD}"
    run_jobs([job(tmp_path, f"{i}", slow) for i in range(4)], 2, 1, listener=Listener(poll=poll))
    assert most == 2


def test_stages_follow_each_other_and_finished_ones_are_kept(tmp_path):
    second = "assert os.path.exists('done0'); open('done1', 'w')"
    jobs = [job(tmp_path, "a", GOOD + "; open('count', 'a').write('x')", second)]
    assert run_jobs(jobs, 1, 1)["a"].state == "finished"
    (tmp_path / "a" / "done1").unlink()
    assert run_jobs(jobs, 1, 1)["a"].state == "finished"
    assert (tmp_path / "a" / "count").read_text() == "x"


def test_a_failure_has_its_last_lines_and_others_go_on(tmp_path):
    bad = "print('early'); [print('noise', i) for i in range(30)]; raise ValueError('what went wrong')"
    told: list[tuple[str, str, str]] = []
    listener = Listener(event=lambda job, what, reason: told.append((job.name, what, reason)))
    found = run_jobs([job(tmp_path, "bad", bad, GOOD), job(tmp_path, "good", GOOD)], 1, 1, listener=listener)
    assert told[:3] == [
        ("bad", "started", ""),
        ("bad", "failed", "ValueError: what went wrong"),
        ("good", "started", ""),
    ]
    assert found["good"].state == "finished"
    assert found["bad"].state == "failed"
    assert found["bad"].message.splitlines()[-1] == "ValueError: what went wrong"
    assert found["bad"].message.startswith("exit code 1: ")
    assert "early" not in found["bad"].message.splitlines()
    assert not (tmp_path / "bad" / "done1").exists()
    (tmp_path / "bad" / "done0").touch()
    (tmp_path / "bad" / "done1").touch()
    assert run_jobs([job(tmp_path, "bad", bad, GOOD)], 1, 1)["bad"].state == "kept"


@pytest.mark.parametrize("stage", [0, 1])
def test_a_job_that_cannot_be_started_has_failed_and_others_go_on(tmp_path, stage):
    """The others were killed, and all that they had not saved was lost."""
    first = f"{GOOD}; os.remove('output.log'); os.mkdir('output.log')" if stage else GOOD
    if not stage:
        (tmp_path / "bad").touch()
    slow = f"import time; time.sleep(1); {GOOD}"
    found = run_jobs([job(tmp_path, "good", slow), job(tmp_path, "bad", first, "")], 2, 1)
    assert {name: outcome.state for name, outcome in found.items()} == {"good": "finished", "bad": "failed"}
    assert re.fullmatch(rf"cannot be started: .*{tmp_path / 'bad'}.*", found["bad"].message)


def test_ending_well_without_the_result_is_a_failure(tmp_path):
    found = run_jobs([job(tmp_path, "a", "print('nothing done')")], 1, 1)["a"]
    assert found.state == "failed"
    assert found.message.endswith("nothing done")


def test_a_killed_process_differs_from_one_that_saved(tmp_path):
    killed = job(tmp_path, "killed", "os.kill(os.getpid(), 9)")
    saved = job(tmp_path, "saved", f"os._exit({EXIT_CODE})")
    found = run_jobs([killed, saved], 1, 1)
    assert found["killed"].state == "failed"
    assert found["killed"].reason.startswith("ended by signal 9")
    assert "signal 9" in found["killed"].message
    assert found["saved"].state == "interrupted"


SAVES = f"""
import signal, sys, time
def stop(*_):
    open('saved', 'w'); sys.exit({EXIT_CODE})
signal.signal(signal.SIGTERM, stop)
open('ready', 'w')
time.sleep(60)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_lets_processes_save_and_starts_no_more(tmp_path, number):
    jobs = [job(tmp_path, name, SAVES) for name in ("a", "b", "c")]
    before = signal.getsignal(number)

    def poll(running: list[Job]) -> None:
        if len(running) == 2 and all((each.folder / "ready").exists() for each in running):
            for each in running:
                (each.folder / "ready").unlink()
            os.kill(os.getpid(), number)

    found = run_jobs(jobs, 2, 1, listener=Listener(poll=poll))
    assert {name: outcome.state for name, outcome in found.items()} == dict.fromkeys("abc", "interrupted")
    assert (tmp_path / "a" / "saved").exists()
    assert (tmp_path / "b" / "saved").exists()
    assert not (tmp_path / "c").exists()
    assert signal.getsignal(number) is before


def test_a_second_interrupt_kills_what_does_not_stop(tmp_path):
    stubborn = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
    stubborn += "open('pid', 'w').write(str(os.getpid())); os.rename('pid', 'ready'); time.sleep(60)"
    signals = 0

    def poll(running: list[Job]) -> None:
        nonlocal signals
        if (tmp_path / "a" / "ready").exists() and signals < 2:
            signals += 1
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        run_jobs([job(tmp_path, "a", stubborn)], 1, 1, listener=Listener(poll=poll))
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "a" / "ready").read_text()), 0)


def test_processes_have_a_group_of_their_own(tmp_path):
    run_jobs([job(tmp_path, "a", "open('done0', 'w').write(str(os.getpgid(0)))")], 1, 1)
    assert int((tmp_path / "a" / "done0").read_text()) != os.getpgid(0)


def test_processes_of_a_killed_parent_keep_the_folder(tmp_path):
    (tmp_path / "a").mkdir()
    child, parent = tmp_path / "child.py", tmp_path / "parent.py"
    child.write_text(
        f"import os, time\nos.chdir({str(tmp_path / 'a')!r})\nopen('ready', 'w')\n"
        "while not os.path.exists('go'): time.sleep(0.05)\n"
    )
    parent.write_text(
        "import sys\nfrom pathlib import Path\n"
        "from iapo.comparison.running.runner import Job, Stage, run_jobs\n"
        "from iapo.ops.lock import locked\n"
        f"root = Path({str(tmp_path)!r})\n"
        "stage = Stage((sys.executable, '-S', str(root / 'child.py')), lambda: False)\n"
        "with locked(root) as lock: run_jobs([Job('a', root / 'a', (stage,), lambda: (0.0, ''))], 1, 1, (lock,))\n"
    )
    process = subprocess.Popen([sys.executable, str(parent)])
    try:
        for _ in range(600):
            if (tmp_path / "a" / "ready").exists():
                break
            time.sleep(0.05)
        process.kill()
        process.wait()
        with pytest.raises(OSError, match="at work in"), locked(tmp_path):
            pass
    finally:
        process.kill()
        (tmp_path / "a" / "go").touch()
    for _ in range(600):
        try:
            with locked(tmp_path):
                return
        except OSError:
            time.sleep(0.05)
    pytest.fail("the lock outlived the processes")


def test_an_error_is_raised_though_other_processes_have_ended_by_themselves(tmp_path):
    def event(job: Job, what: str, reason: str) -> None:
        if what == "finished":
            raise ZeroDivisionError(job.name)

    def poll(running: list[Job]) -> None:
        deadline = time.monotonic() + 60
        while running and not all(each.finished for each in running) and time.monotonic() < deadline:
            time.sleep(0.05)
        time.sleep(0.5)

    jobs = [job(tmp_path, name, GOOD) for name in ("a", "b")]
    with pytest.raises(ZeroDivisionError):
        run_jobs(jobs, 2, 1, listener=Listener(event, poll))
