"""What a user can read of a run before it is done: a report from the first completions on, and sampled texts."""

import json

from iapo.cli import main
from iapo.rollout import CompactingSampler
from iapo.training.session import Session

SMALL = (  # noqa: SIM905
    "--steps 2 --prompts_per_step 2 --group_size 2 --limit 24 --eval_problems 4 --eval_samples 1 --eval_batch 2 "
    "--checkpoint_every 1 --diagnose 0 --sampler.max_new_tokens 24"
).split()


class StopError(RuntimeError):
    """Where a test ends a run."""


def reports(folder, capsys) -> dict[str, str]:
    """The report, and what `iapo show` says, at a moment of a run."""
    capsys.readouterr()
    assert main(["show", str(folder)]) == 0
    return {"report": (folder / "report-so-far.md").read_text(), "shown": capsys.readouterr().out}


def test_there_is_something_to_read_at_every_stage_of_a_run(tmp_path, monkeypatch, capsys):
    folder, found = tmp_path / "run", []
    evaluate, advance = Session.evaluate, Session.advance

    def evaluated(session, rows, step, resolved, see):
        found.append(("opened", reports(folder, capsys)))

        def watched(samples):
            see(samples)
            found.append((f"{len(samples)} after {step}", reports(folder, capsys)))

        return evaluate(session, rows, step, resolved, watched)

    def advanced(session, *arguments):
        found.append((f"before update {session.step + 1}", reports(folder, capsys)))
        return advance(session, *arguments)

    def sampled(sampler, prompts, size):
        first.setdefault("report", (folder / "report-so-far.md").read_text())
        return sample(sampler, prompts, size)

    sample, first = CompactingSampler.__call__, {}
    monkeypatch.setattr(CompactingSampler, "__call__", sampled)
    monkeypatch.setattr(Session, "evaluate", evaluated)
    monkeypatch.setattr(Session, "advance", advanced)
    assert main(["train", "--output", str(folder), *SMALL]) == 0
    stages = [name for name, _ in found]
    parts = ["2", "4", "6", "8"]
    before, after = ([f"{count} after {step}" for count in parts] for step in (0, 2))
    assert first["report"].count("## What is sent") == 1
    assert "first completions are being sampled" in first["report"]
    assert stages == ["opened", *before, "before update 1", "before update 2", "opened", *after]
    seen = dict(found[:-5])
    assert all(each["report"].startswith("# Report so far") for each in seen.values())
    assert "4 first completions are sampled" in seen["opened"]["report"]
    assert "| sampled | 4 |" in seen["opened"]["report"]
    assert "- model: embedded" in seen["opened"]["report"]
    assert "**longest**: " in seen["opened"]["report"]
    assert "step 0 · problem 0" in seen["opened"]["shown"]
    assert "6 of 8 completions of the evaluation before training" in seen["6 after 0"]["report"]
    assert "| greedy | 2 |" in seen["6 after 0"]["report"]
    assert "6 completions" in seen["6 after 0"]["shown"]
    assert "so far (the evaluation is not complete)" in seen["6 after 0"]["shown"]
    assert "## Before training" in seen["before update 1"]["report"]
    assert "so far" not in seen["before update 1"]["shown"]
    assert "1 of 2 updates are made" in seen["before update 2"]["report"]
    assert "advantage" in seen["before update 2"]["report"]
    assert "6 of 8 completions of the evaluation after update 2" in dict(found)["6 after 2"]["report"]
    assert (folder / "report.md").read_text().startswith("# Report\n")
    assert not (folder / "report-so-far.md").exists()


def test_a_report_so_far_is_no_finished_run(tmp_path, monkeypatch, capsys):
    folder = tmp_path / "run"

    def stop(*_, **__):
        raise StopError

    with monkeypatch.context() as patched:
        patched.setattr("iapo.training.diagnosis.optimise", stop)
        assert main(["train", "--output", str(folder), *SMALL]) == 1
    assert not (folder / "report.md").exists()
    assert (folder / "report-so-far.md").read_text().startswith("# Report so far")
    assert main(["train", "--output", str(folder), *SMALL]) == 1
    assert f"{folder} holds a run already" in capsys.readouterr().err
    first = (folder / "samples.jsonl").read_text()
    assert main(["train", "--output", str(folder), "--resume", *SMALL]) == 0
    assert (folder / "report.md").exists()
    assert (folder / "samples.jsonl").read_text().startswith(first), "nothing is sampled twice"
    assert main(["train", "--output", str(folder), *SMALL]) == 1
    assert f"{folder} holds a finished run already" in capsys.readouterr().err
    longer = ["3" if flag == "2" and SMALL[at - 1] == "--steps" else flag for at, flag in enumerate(SMALL)]
    with monkeypatch.context() as patched:
        patched.setattr("iapo.training.diagnosis.optimise", stop)
        assert main(["train", "--output", str(folder), "--resume", *longer]) == 1
    assert not (folder / "report.md").exists(), "the report of two updates is not that of three"


def test_a_run_that_fails_before_its_first_completions_are_scored_leaves_no_report(tmp_path, capsys):
    (tmp_path / "own.py").write_text("def raises(completions, **_):\n    raise KeyError('oh')\n")
    folder = tmp_path / "run"
    assert main(["train", "--output", str(folder), *SMALL, "--rewards", f"{tmp_path}/own.py:raises"]) == 1
    assert "reward 'raises' raised KeyError" in capsys.readouterr().err
    assert not (folder / "report-so-far.md").exists()


def test_first_completions_change_nothing_of_a_run(tmp_path, monkeypatch):
    assert main(["train", "--output", str(tmp_path / "a"), *SMALL]) == 0
    monkeypatch.setattr("iapo.training.setup.opening.choose_style", lambda source, task, *_: source.known(task))
    assert main(["train", "--output", str(tmp_path / "b"), *SMALL]) == 0
    one, other = (
        [json.loads(line) for line in (tmp_path / name / "metrics.jsonl").read_text().splitlines()] for name in "ab"
    )
    timed = lambda row: {name: value for name, value in row.items() if "time" not in name}  # noqa: E731
    assert list(map(timed, one)) == list(map(timed, other))


def test_a_finished_run_without_checkpoints_is_not_begun_anew(tmp_path, capsys):
    """It was trained from the first update on, and lost metrics and report."""
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    (folder / "report.md").write_text("# Report\n")
    (folder / "metrics.jsonl").write_text('{"step": 1}\n')
    assert main(["train", "--output", str(folder), "--resume", *SMALL]) == 1
    assert "holds a finished run whose checkpoints are gone" in capsys.readouterr().err
    assert (folder / "metrics.jsonl").read_text() == '{"step": 1}\n'
