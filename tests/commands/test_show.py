"""`iapo show`: what a new user reads of a run, by which choice, in a terminal and in a pipe."""

import dataclasses
import json

import pytest
import torch

from iapo.cli import main
from iapo.commands.show import ShowSettings, show
from iapo.evaluation import EvaluationResult, Sample, lines_of, read_samples


def sample(tokens: int, correct: bool, text: str = "text") -> Sample:
    score = float(correct)
    return Sample(0, "1+1=", text, "2", None, {"accuracy": score}, score, correct, tokens, True)


SAMPLES = [sample(tokens, tokens % 3 == 0) for tokens in range(1, 13)]


@pytest.mark.parametrize(
    ("settings", "lengths"),
    [
        ({}, [3, 12, 1, 11]),
        ({"wrong": True, "longest": True, "count": 2}, [11, 10]),
        ({"right": True, "shortest": True, "count": 2}, [3, 6]),
        ({"longest": True, "count": 1}, [12]),
        ({"right": True, "count": 9}, [3, 6, 9, 12]),
        ({"count": 1}, [3]),
    ],
)
def test_the_choice(settings, lengths):
    assert [each.tokens for each in ShowSettings(**settings).choose(SAMPLES)] == lengths


def test_without_right_ones_all_places_go_to_wrong_ones():
    wrong = [each for each in SAMPLES if not each.correct]
    assert [each.tokens for each in ShowSettings().choose(wrong)] == [1, 4, 8, 11]


def test_samples_come_back_from_their_file(tmp_path):
    hostile = sample(2, True, "a\u2028b\n\x1b[2J \ud800")
    path = tmp_path / "evaluation-3.jsonl"
    path.write_bytes(lines_of([hostile, SAMPLES[0]], model="m").encode("utf-8", "surrogatepass"))
    (first, one), (_, two) = read_samples(path)
    assert (first, two) == ({"model": "m"}, SAMPLES[0])
    assert one.completion.startswith("a\u2028b\n\x1b[2J")
    path.write_text(path.read_bytes().decode("utf-8", "replace")[:-9])
    assert len(read_samples(path)) == 1, "a line that was cut off is left out"


def test_a_damaged_line_is_named(tmp_path, capsys):
    (tmp_path / "evaluation-0.jsonl").write_text(lines_of(SAMPLES[:1]) + "{}\n")
    assert main(["show", str(tmp_path)]) == 1
    assert "line 2 is no sample" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("tokens", None, "tokens is None, want a whole number"),
        ("tokens", "3", "tokens is '3', want a whole number"),
        ("prompt", [{"role": "user", "content": "1+1="}], r"prompt is \[.*, want a text"),
        ("completion", None, "completion is None, want a text"),
        ("correct", "no", "correct is 'no', want true or false"),
        ("rewards", [1.0], r"rewards is \[1.0\], want an object"),
        ("rewards", {"accuracy": "1"}, "rewards has '1' for accuracy, want a number or null"),
        ("reward", "1", "reward is '1', want a number or null"),
        ("advantage", [1.0], r"advantage is \[1.0\], want an object or null"),
        ("advantage", {"mean": 1.0, "min": None}, "advantage has None for min, want a number"),
    ],
)
def test_a_field_of_another_kind_is_named(tmp_path, field, value, said):
    lines = lines_of([*SAMPLES[:1], dataclasses.replace(SAMPLES[0], **{field: value})])
    (tmp_path / "a.jsonl").write_text(lines)
    with pytest.raises(ValueError, match=rf"a\.jsonl: line 2 is no sample .*: {said}"):
        show(str(tmp_path / "a.jsonl"), ShowSettings())


def test_a_whole_last_line_counts_without_its_end_and_a_byte_order_mark_does_not_matter(tmp_path):
    (tmp_path / "a.jsonl").write_bytes(b"\xef\xbb\xbf" + lines_of(SAMPLES[:2]).rstrip().encode())
    assert [each for _, each in read_samples(tmp_path / "a.jsonl")] == SAMPLES[:2]


@pytest.mark.parametrize("context", [{}, {"step": "4"}])
def test_a_sample_of_an_update_without_its_step_is_named(tmp_path, context):
    (tmp_path / "samples.jsonl").write_text(lines_of(SAMPLES[:1], step=3) + lines_of(SAMPLES[:1], **context))
    with pytest.raises(ValueError, match=r"samples\.jsonl: sample 1 has the step (None|'4'), want a whole number"):
        show(str(tmp_path), ShowSettings(training=True))


def test_it_is_plain_in_a_pipe_and_nothing_in_it_acts_on_a_terminal(tmp_path, capsys):
    long = "word " * 60 + "\x1b[2J"
    (tmp_path / "evaluation-7.jsonl").write_text(lines_of([sample(9, False, long)]))
    (tmp_path / "evaluation-12.jsonl").write_text(lines_of([sample(9, True, "newest")]))
    (tmp_path / "samples.jsonl").write_text(lines_of([sample(5, True, "of an update")], step=4))
    assert main(["show", str(tmp_path)]) == 0
    assert "newest" in capsys.readouterr().out
    assert main(["show", str(tmp_path), "--step", "7"]) == 0
    out = capsys.readouterr().out
    assert "wrong · reward 0 (accuracy 0) · 9 tokens · no answer read, reference '2'" in out
    assert "word " * 60 in out
    assert "\x1b" not in out
    for choice in (["--step", "4"], ["--training"]):
        assert main(["show", str(tmp_path), *choice]) == 0
        assert "of an update" in capsys.readouterr().out


def test_the_files_of_a_run_hold_every_sample_with_its_reward(tmp_path, capsys):
    run = tmp_path / "run"
    small = (
        "--steps 2 --prompts_per_step 2 --group_size 2 --limit 24 --eval_problems 4 --eval_samples 2 --log_samples 3"
    )
    assert main(["train", "--output", str(run), *small.split(), "--sampler.max_new_tokens", "24"]) == 0
    assert f"iapo show {run}" in capsys.readouterr().err.splitlines()[-1]
    numbers = json.loads((run / "evaluation-2.json").read_text())
    drawn = [each for _, each in read_samples(run / "evaluation-2.jsonl") if not each.greedy]
    assert [each.correct for each in drawn] == [value for row in numbers["correct"] for value in row]
    assert [each.tokens for each in drawn] == [value for row in numbers["lengths"] for value in row]
    assert [not each.finished for each in drawn] == [value for row in numbers["truncated"] for value in row]
    logged = read_samples(run / "samples.jsonl")
    assert [context["step"] for context, _ in logged] == [0, 0, 0, 0, 1, 1, 1, 2, 2, 2], "0: before all updates"
    assert all(each.advantage["min"] <= each.advantage["mean"] <= each.advantage["max"] for _, each in logged[4:])
    assert main(["train", "--output", str(run), "--resume", *small.split(), "--sampler.max_new_tokens", "24"]) == 0
    assert read_samples(run / "samples.jsonl") == logged
    report = (run / "report.md").read_text()
    for text in ("**longest**", "method: LeaveOutPriced", "learning rate: 0.0005", "command: `iapo train"):
        assert text in report


def test_two_evaluations_whose_names_have_a_dot_keep_their_texts(tmp_path, capsys):
    for name, text in (("eval-0.5", "half"), ("eval-0.25", "quarter"), ("eval-0.json", "none")):
        one = torch.ones(1, 1)
        result = EvaluationResult(
            one.bool(), one.long(), one[0].bool(), one[0].long(), samples=(sample(1, True, text),)
        )
        result.save(tmp_path / name)
    for name, text in (("eval-0.5", "half"), ("eval-0.25", "quarter"), ("eval-0.json", "none")):
        assert main(["show", str(tmp_path / name)]) == 0
        out = capsys.readouterr().out
        assert text in out
        assert "not complete" not in out
    assert main(["show", str(tmp_path / "eval-0.5.jsonl")]) == 0
    assert "half" in capsys.readouterr().out


def evaluated(path, count: int) -> None:
    """An evaluation of ``count`` problems with a sample of each, as a run keeps it."""
    samples = tuple(sample(3, index % 2 == 0, f"text {index}") for index in range(2 * count))
    ones = torch.ones(count, 1)
    EvaluationResult(ones.bool(), ones.long(), ones[:, 0].bool(), ones[:, 0].long(), samples=samples).save(path)


def test_texts_that_are_gone_are_told(tmp_path, capsys):
    """Some of them, or an evaluation before, were shown as if they were all there is."""
    for step in (0, 3):
        evaluated(tmp_path / f"evaluation-{step}.json", 4)
    for chosen in ([], ["--step", "0"]):
        assert main(["show", str(tmp_path), *chosen]) == 0
        assert "8 completions, 4 right, 4 wrong\n" in capsys.readouterr().out
    texts = tmp_path / "evaluation-3.jsonl"
    texts.write_text("".join(texts.read_text().splitlines(keepends=True)[:5]))
    assert main(["show", str(tmp_path)]) == 0
    told = "evaluation-3.jsonl: 5 completions, 3 right, 2 wrong (of 8, the texts of the others are gone)\n"
    assert told in capsys.readouterr().out
    texts.unlink()
    assert main(["show", str(tmp_path)]) == 0
    told = "evaluation-0.jsonl: 8 completions, 4 right, 4 wrong (before evaluation-3.json, whose texts are gone)\n"
    assert told in capsys.readouterr().out
    (tmp_path / "evaluation-3.json").write_text("{}")
    assert main(["show", str(tmp_path / "evaluation-0.jsonl")]) == 0


def test_samples_near_what_is_named_are_found(tmp_path, capsys):
    (tmp_path / "run" / "checkpoint-3").mkdir(parents=True)
    evaluated(tmp_path / "run" / "evaluation-3.json", 1)
    for place in (tmp_path, tmp_path / "run" / "checkpoint-3"):
        assert main(["show", str(place)]) == 1
        assert f"{place} holds no samples; there are some in {tmp_path / 'run'}\n" in capsys.readouterr().err


def test_a_file_of_something_else_is_not_to_be_mended(tmp_path, capsys):
    """The metrics of a run were to be removed line by line."""
    (tmp_path / "metrics.jsonl").write_text('{"step": 1, "reward": 0.5}\n')
    assert main(["show", str(tmp_path / "metrics.jsonl")]) == 1
    told = capsys.readouterr().err
    assert "metrics.jsonl: holds something else than samples of iapo, such as" in told
    assert "remove" not in told


def test_what_is_not_there_is_named(tmp_path, capsys):
    for name in ("evaluation-7.jsonl", "evaluation-test.jsonl"):
        (tmp_path / name).write_text(lines_of([sample(9, True)]))
    assert main(["show", str(tmp_path), "--training"]) == 1
    assert f"training: {tmp_path} has no samples of updates" in capsys.readouterr().err
    for choice in (["--training"], ["--step", "7"]):
        assert main(["show", str(tmp_path / "evaluation-7.jsonl"), *choice]) == 1
        assert "run: --step and --training choose among the files of a run, got" in capsys.readouterr().err
    assert main(["show", str(tmp_path), "--step", "3"]) == 1
    assert "evaluations after the steps [7] and of the updates none" in capsys.readouterr().err
