"""What a user sees of a comparison that runs: runs done, what each is at, and the time left."""

from pathlib import Path

import pytest

from iapo.comparison.running import progress
from iapo.comparison.running.progress import Pace, display
from iapo.comparison.running.runner import Job


class Clock:
    """Seconds that a test moves."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


def job(name: str, share: float) -> Job:
    return Job(name, Path(name), (), lambda: (share, f"update {share * 10:.0f} of 10  [b] 41 tokens/s"))


def test_the_time_left_follows_from_what_was_done_now():
    clock = Clock()
    pace = Pace(4, clock)
    assert pace.left({}) == ""
    pace.settle("kept")
    pace.see("resumed", 0.5)
    pace.see("new", 0.0)
    assert pace.left({"resumed": 0.5, "new": 0.0}) == "", "nothing was done yet"
    clock.now += 60
    # 0.25 + 0.25 in 60 s; left are 0.25, 0.75 and a whole one.
    assert pace.left({"resumed": 0.75, "new": 0.25}) == ", about 4 min left"
    pace.settle("resumed")
    clock.now += 60
    assert pace.left({"new": 0.5}) == ", about 3 min left", "1.0 in 120 s, 1.5 are left"
    pace.settle("new")
    pace.settle("last")
    assert pace.left({}) == ""


def test_a_job_that_failed_is_no_work_done():
    clock = Clock()
    pace = Pace(3, clock)
    pace.see("failed", 0.0)
    clock.now += 10
    pace.settle("failed", finished=False)
    assert pace.left({}) == "", "nothing was done, so there is no pace"
    pace.see("good", 0.0)
    clock.now += 50
    assert pace.left({"good": 0.5}) == ", about 3 min left", "0.5 in 60 s, 1.5 are left"


def test_without_a_terminal_there_is_a_line_now_and_then(monkeypatch, capsys):
    clock = Clock()
    monkeypatch.setattr(progress.time, "monotonic", clock)
    with display("reporting", 2) as listener:
        listener.event(job("grpo/seed-0", 0.0), "started", "")
        for _ in range(60):
            clock.now += 1
            listener.poll([job("grpo/seed-0", 0.5)])
        listener.event(job("grpo/seed-0", 1.0), "finished", "")
        listener.event(job("grpo/seed-1", 0.0), "failed", "iapo train: [b] too few problems")
    lines = capsys.readouterr().err.rstrip("\n").split("\n")  # some releases of rich end with an empty line
    assert lines[0] == "iapo compare: reporting, 0 of 2 runs done: grpo/seed-0 started"
    at = "iapo compare: reporting, 0 of 2 runs done, about 30 s left; grpo/seed-0 50% update 5 of 10  [b] 41 tokens/s"
    assert lines[1] == at
    assert lines[-2:] == [
        "iapo compare: reporting, 1 of 2 runs done: grpo/seed-0 finished",
        "iapo compare: reporting, 1 of 2 runs done, 1 failed or interrupted: grpo/seed-1 failed: "
        "iapo train: [b] too few problems",
    ]
    assert len(lines) == 5, "pauses double"


@pytest.mark.parametrize("name", ["grpo/[x]/seed-0"])
def test_in_a_terminal_there_are_bars(name, monkeypatch, capsys):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    with display("tuning", 1) as listener:
        listener.event(job(name, 0.0), "started", "")
        listener.poll([job(name, 0.5)])
    shown = capsys.readouterr().err
    assert "0 of 1 runs done" in shown
    assert shown[shown.rindex("tuning") :].count(" 50%") == 2, "of all runs, and of the one that runs"
    assert "[b] 41 tokens/s" in shown
