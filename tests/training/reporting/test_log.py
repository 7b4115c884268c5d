"""The metrics of a run, a line an update."""

import math
import warnings
from pathlib import Path

import pytest

from iapo.cli import main
from iapo.training.reporting.log import (
    append_metrics,
    metrics_digest,
    read_metrics,
    settled_digest,
    truncate,
    truncate_metrics,
)

TINY = (
    "--steps 2 --prompts_per_step 2 --group_size 2 --limit 16 --eval_problems 2 --eval_samples 1 --diagnose 0 "
    "--sampler.max_new_tokens 4 --answer_style AnswerTags --assigner GroupRelative"
)


def test_a_line_of_metrics_that_a_crash_cut_is_left_out_and_a_damaged_one_named(tmp_path):
    file = tmp_path / "metrics.jsonl"
    for step in (1, 2, 3):
        append_metrics(file, step, {"reward": 0.5})
    content = file.read_bytes()
    for cut in range(len(content)):
        file.write_bytes(content[:cut])
        assert [row["step"] for row in read_metrics(file)] == list(range(1, content[:cut].count(b"\n") + 1))
    file.write_bytes(content)
    truncate(file, 2)
    assert [row["step"] for row in read_metrics(file)] == [1, 2]
    for damage in (b"\x00" * 9, b"\xff", b"[1]", b"{}", b'{"step": "x"}', b"[" * 100_000):
        file.write_bytes(damage + b"\n" + content)
        with pytest.raises(ValueError, match=r"metrics\.jsonl: line 1 is damaged .*; put the file back, or remove it"):
            read_metrics(file)


def test_updates_without_metrics_are_told(tmp_path) -> None:
    file = tmp_path / "metrics.jsonl"
    digests = {}
    for step in (1, 2, 4):
        append_metrics(file, step, {"reward": 0.5})
        digests[step] = settled_digest(file)
    with pytest.warns(UserWarning, match=r"metrics of 2 of 5 updates are not there \(the first: 3\)"):
        truncate_metrics(file, 5, digests[4])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        truncate_metrics(file, 2, digests[2])
    assert metrics_digest(file) == digests[2]


@pytest.mark.parametrize("change", [("0.5", "0.6"), ('{"step": 1, "reward": 0.5}\n', ""), ("reward", "rewards")])
def test_metrics_that_a_run_did_not_write_are_refused(tmp_path, change) -> None:
    """Its report was of them."""
    file = tmp_path / "metrics.jsonl"
    for step in (1, 2):
        append_metrics(file, step, {"reward": 0.5})
    digest = settled_digest(file)
    append_metrics(file, 3, {"reward": math.nan})
    text = file.read_text().replace(*change, 1)
    file.write_text(text)
    with pytest.raises(ValueError, match=r"up to update 2 are not those that this run wrote; put the file back, or"):
        truncate_metrics(file, 2, digest)
    assert file.read_text() == text
    file.unlink()
    for _ in range(2):
        with pytest.warns(UserWarning, match="metrics of 2 of 2 updates are not there"):
            truncate_metrics(file, 2, digest)


def test_what_a_checkpoint_knows_of_metrics_is_on_the_disk(tmp_path, monkeypatch) -> None:
    flushed = []
    monkeypatch.setattr("iapo.training.reporting.log.flush", flushed.append)
    assert settled_digest(tmp_path / "metrics.jsonl") == metrics_digest(tmp_path / "metrics.jsonl")
    append_metrics(tmp_path / "metrics.jsonl", 1, {"reward": 0.5})
    settled_digest(tmp_path / "metrics.jsonl")
    assert flushed == [tmp_path / "metrics.jsonl"]


@pytest.mark.filterwarnings("always::UserWarning")
def test_a_resumed_run_says_that_metrics_are_lost(tmp_path, capsys) -> None:
    run = tmp_path / "run"
    assert main(["train", "--output", str(run), *TINY.split()]) == 0
    text = (run / "metrics.jsonl").read_text()
    (run / "metrics.jsonl").write_text(text.replace("0", "1", 1))
    (run / "report.md").unlink()
    capsys.readouterr()
    assert main(["train", "--output", str(run), "--resume", *TINY.split()]) == 1
    assert f"{run / 'metrics.jsonl'}: is damaged or of another run" in capsys.readouterr().err
    (run / "metrics.jsonl").write_text(text)
    assert main(["train", "--output", str(run), "--resume", *TINY.split()]) == 0
    assert "metrics" not in capsys.readouterr().err
    (run / "metrics.jsonl").unlink()
    for _ in range(2):
        (run / "report.md").unlink()
        assert main(["train", "--output", str(run), "--resume", *TINY.split()]) == 0
        assert "the metrics of 2 of 2 updates are not there (the first: 1)" in capsys.readouterr().err


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_a_full_disk_names_the_file():
    with pytest.raises(OSError, match=r"No space left on device: '/dev/full'"):
        append_metrics(Path("/dev/full"), 1, {"reward": 0.5})
