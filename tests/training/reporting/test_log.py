"""The metrics of a run, a line an update."""

import json
import warnings
from pathlib import Path

import pytest

from iapo.cli import main
from iapo.training.reporting.log import append_metrics, read_metrics, truncate, truncate_metrics

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
        with pytest.raises(ValueError, match=r"metrics\.jsonl: line 1 is damaged .*; remove the line"):
            read_metrics(file)


def test_updates_without_metrics_are_told(tmp_path) -> None:
    file = tmp_path / "metrics.jsonl"
    for step in (1, 2, 4):
        append_metrics(file, step, {"reward": 0.5})
    with pytest.warns(UserWarning, match=r"metrics of 2 of 5 updates are not there \(the first: 3\)"):
        truncate_metrics(file, 5)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        truncate_metrics(file, 2)


@pytest.mark.filterwarnings("always::UserWarning")
def test_a_resumed_run_says_that_metrics_are_lost(tmp_path, capsys) -> None:
    run = tmp_path / "run"
    assert main(["train", "--output", str(run), *TINY.split()]) == 0
    (run / "metrics.jsonl").write_text(json.dumps({"step": 1, "reward": 0.0}) + "\n")
    (run / "report.md").unlink()
    capsys.readouterr()
    assert main(["train", "--output", str(run), "--resume", *TINY.split()]) == 0
    assert "the metrics of 1 of 2 updates are not there (the first: 2)" in capsys.readouterr().err


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_a_full_disk_names_the_file():
    with pytest.raises(OSError, match=r"No space left on device: '/dev/full'"):
        append_metrics(Path("/dev/full"), 1, {"reward": 0.5})
