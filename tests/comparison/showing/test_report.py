"""Choice, summary, report and rows from finished runs that were made up."""

import dataclasses
import json
import re
from pathlib import Path

import pytest
import torch
from comparison_folders import write_comparison
from sealed_files import rewrite
from summaries import choices_and_results, made_up_comparison, summary_of

from iapo.comparison.running.problems import problems_path
from iapo.comparison.running.results import BASE_FOLDER, SETTINGS, evaluation_file, is_evaluated, made_from
from iapo.comparison.showing.page import render_page
from iapo.comparison.showing.report import render_report, results_json
from iapo.comparison.showing.statistics import difference_interval, mean_interval
from iapo.comparison.showing.summary import summarize
from iapo.ops.json_files import read_sealed
from iapo.training.reporting.log import METRICS, metrics_digest


@pytest.fixture(scope="module")
def made_up(tmp_path_factory):
    return made_up_comparison(tmp_path_factory.mktemp("comparison"))


def test_right_and_wrong_completions_are_told_apart(made_up):
    _, folder, summary = made_up
    report = render_report(summary)
    for method in summary.methods:
        samples = {True: [], False: []}
        for run in method.runs:
            found = json.loads((folder / run.folder / evaluation_file("test")).read_text())
            for pairs in map(zip, found["correct"], found["lengths"]):
                for right, length in pairs:
                    samples[right].append(length)
        for right, name in ((True, "length_right"), (False, "length_wrong")):
            assert method.measures[name].value == pytest.approx(sum(samples[right]) / len(samples[right]))
        share = len(samples[False]) / len(samples[True] + samples[False])
        assert method.measures["truncated"].value == pytest.approx(share)
        shown = (method.measures[name] for name in ("length_right", "length_wrong", "truncated"))
        assert f"| {method.name} | {next(shown):.1f} | {next(shown):.1f} | {next(shown):.1%} |" in report


def test_every_measure_has_its_interval_over_runs_and_problems(made_up):
    _, folder, summary = made_up
    tables = {}
    for method in summary.methods:
        files = [json.loads((folder / run.folder / evaluation_file("test")).read_text()) for run in method.runs]
        names = ("correct", "lengths", "greedy_correct", "greedy_lengths", "shortest")
        right, tokens, greedy, greedy_tokens, shortest = (
            torch.tensor([each[name] for each in files], dtype=torch.float64) for name in names
        )
        accuracy, length = right.mean(2), tokens.mean(2)
        tables[method.name] = accuracy, length
        wanted = {
            "accuracy": mean_interval(accuracy),
            "accuracy_hard": mean_interval(accuracy[:, [2, 5]]),
            "mean_length": mean_interval(length),
            "excess": mean_interval(length - shortest),
            "greedy_accuracy": mean_interval(greedy),
            "greedy_length": mean_interval(greedy_tokens),
            "length_right": mean_interval((right * tokens).sum(2), right.sum(2)),
            "length_wrong": mean_interval(((1 - right) * tokens).sum(2), (1 - right).sum(2)),
            "truncated": mean_interval(1 - accuracy),
            "pass@1": mean_interval(accuracy),
            "ratio@1": mean_interval(accuracy, length),
            "pass@4": mean_interval(right.amax(2)),
            "ratio@4": mean_interval(right.amax(2), length),
            "budget_area": mean_interval(accuracy * 5 / 6),
        }
        same({name: method.measures[name] for name in wanted}, wanted)
        same(method.by_budget, {0: mean_interval(0 * accuracy), 10: wanted["accuracy"], 30: wanted["accuracy"]})
        for level, pair in method.by_difficulty.items():
            of = [i for i in range(6) if 2 + i % 3 == level]
            same(dict(enumerate(pair)), dict(enumerate(mean_interval(each[:, of]) for each in (accuracy, length))))
        filler = {"needed": mean_interval(length * 0 + 10), "filler": mean_interval(length - 10)}
        same(method.classes, filler)
    for method in summary.methods:
        (accuracy, length), (other, others) = tables[method.name], tables["grpo"]
        wanted = {
            "accuracy": difference_interval(accuracy, other),
            "accuracy_hard": difference_interval(accuracy[:, [2, 5]], other[:, [2, 5]]),
            "mean_length": difference_interval(length, others, relative=True),
            "budget_area": difference_interval(accuracy * 5 / 6, other * 5 / 6),
        }
        same(method.differences, {} if method.name == "grpo" else wanted)


def same(found, wanted):
    """Intervals by name, or anything else that they are found by."""
    assert set(found) == set(wanted)
    for name, interval in wanted.items():
        ends = found[name].value, found[name].low, found[name].high
        assert ends == pytest.approx((interval.value, interval.low, interval.high), abs=1e-12), name


def test_the_summary_says_what_was_compared(made_up):
    assert made_up[2].metadata == {
        "model": "embedded",
        "data": "embedded",
        "budget of a run": "3 updates",
        "reporting seeds": "0, 1",
        "evaluated on": "6 problems, 4 samples of each",
        "tuning seeds": "7",
        "tuned on": "4 other problems, 2 samples of each",
        "chosen": "the shortest setting whose accuracy is at most 0.02 below the best of its grid",
        "unequal budgets": "iapo sampled 6,000 tokens a run, grpo 9,000",
    }


def test_rows_have_their_fields_and_numbers(made_up):
    _, folder, summary = made_up
    rows = json.loads(results_json(summary))
    key = ("method", "preset", "setting", "seed", "split")
    assert len({tuple(row[name] for name in key) for row in rows}) == len(rows) == 1 + 2 + 6
    for row in rows:
        found = json.loads((folder / row["run"] / evaluation_file(row["split"])).read_text())
        samples = [value for problem in found["correct"] for value in problem]
        assert row["accuracy"] == pytest.approx(sum(samples) / len(samples))
        assert row["ratio_at_k"]["2"] == pytest.approx(row["pass_at_k"]["2"] / row["length_at_k"]["2"])
        assert row["length_at_k"]["1"] == row["mean_length"]
        hard = [value for i in (2, 5) for value in found["correct"][i]]
        assert row["accuracy_hard"] == pytest.approx(sum(hard) / len(hard))
        assert row["shortest_length"] == 16
        assert (row["problems"], row["samples"]) == (6, 4 if row["split"] == "test" else 2)
        assert (row["greedy_accuracy"], row["greedy_length"]) == (1, found["greedy_lengths"][0])
        assert sum(row["token_classes"].values()) == pytest.approx(row["mean_length"])
        if row["split"] == "test":
            assert row["accuracy_at_budget"] == {"0": 0, "10": row["accuracy"], "30": row["accuracy"]}
            assert row["budget_area"] == pytest.approx(row["accuracy"] * 5 / 6)
            assert row["truncated"] == pytest.approx(1 - row["accuracy"])
            by_verdict = {True: row["length_right"], False: row["length_wrong"]}
            assert (by_verdict[False] is None) == (row["accuracy"] == 1)
            shares = {True: row["accuracy"], False: 1 - row["accuracy"]}
            parts = [shares[right] * length for right, length in by_verdict.items() if length is not None]
            assert sum(parts) == pytest.approx(row["mean_length"])
        else:
            assert row["accuracy_at_budget"] is row["budget_area"] is row["truncated"] is row["length_wrong"] is None
        assert row["task"] == "sums"
        assert not Path(row["run"]).is_absolute()
    grpo = next(row for row in rows if row["method"] == "grpo" and row["seed"] == 1)
    assert (grpo["tokens_sampled"], grpo["seconds"], grpo["split"]) == (9000, 1.5, "test")
    paper = [row for row in rows if row["preset"] == "paper"]
    assert [(row["method"], row["seed"]) for row in paper] == [("iapo", 0), ("iapo", 1)]
    tuning = [row for row in rows if row["split"] == "validation"]
    assert {row["setting"] for row in tuning} == {"alpha=0.1", "alpha=0.5"}
    assert set(tuning[0]["pass_at_k"]) == {"1", "2"}


def test_the_report_says_what_was_chosen_and_against_what(made_up):
    report = render_report(made_up[2])
    for row in made_up[2].tuning:
        assert [run.folder for run in row.runs] == [f"iapo/{row.setting}/seed-7"]
    assert re.search(r"\| iapo \| alpha=0\.5 \| 1\.000 \| (19|20)\.\d \| chosen \|", report)
    assert "## Against grpo" in report
    assert "Not finished" not in report
    iapo = next(method for method in made_up[2].methods if method.name == "iapo")
    assert iapo.differences["mean_length"].value == pytest.approx(20 / 30 - 1, abs=0.03)
    assert iapo.measures["excess"].value == pytest.approx(4, abs=0.4)


def test_difficulty_has_its_table_with_intervals(made_up):
    report = render_report(made_up[2])
    assert "| method |  | 2 | 3 | 4 |" in report
    grpo = next(method for method in made_up[2].methods if method.name == "grpo")
    cells = [re.escape(f"{pair[1].value:.1f} ({pair[1].low:.1f} to ") for pair in grpo.by_difficulty.values()]
    assert re.search(rf"\| grpo \| mean length \| {cells[0]}.*{cells[1]}.*{cells[2]}", report)


@pytest.mark.parametrize(("tokens", "said"), [(9400, None), (10000, "iapo sampled 9,000 tokens a run, grpo 10,000")])
def test_unequal_budgets_are_said(made_up, tokens, said):
    plan, folder, _ = made_up
    choices, results = choices_and_results(plan, folder)
    step = next(result.steps[0] for result in results if result.steps)
    sampled = {"base": [], "grpo": [{**step, "num_tokens": tokens}]}
    rest = [{**step, "num_tokens": 9000}]
    results = [dataclasses.replace(result, steps=sampled.get(result.name, rest)) for result in results]
    summary = summarize(plan, folder, choices, results, {})
    assert summary.metadata.get("unequal budgets") == said
    for shown in (render_page(summary), render_report(summary)):
        assert ("unequal budgets" in shown) == bool(said)


@pytest.mark.filterwarnings("ignore:.*was made with other problems than this run has; it does not count")
def test_a_run_evaluated_on_other_problems_does_not_count(tmp_path):
    plan = write_comparison(tmp_path)
    run = plan.reporting_runs(plan.untuned())[0]
    assert is_evaluated(tmp_path, run.folder, "test")
    rewrite(problems_path(tmp_path, "test"), seed=1)
    assert not is_evaluated(tmp_path, run.folder, "test")
    summary = summary_of(plan, tmp_path)
    assert run.folder in summary.missing
    assert not summary.methods
    assert run.folder in render_page(summary)


def test_each_evaluation_is_parsed_once(tmp_path, monkeypatch):
    plan = write_comparison(tmp_path)
    parsed = []
    monkeypatch.setattr(
        "iapo.comparison.running.results.read_sealed", lambda path: parsed.append(path) or read_sealed(path)
    )
    results = choices_and_results(plan, tmp_path)[1]
    found = sorted(path for path in parsed if path.parent != tmp_path)
    assert found == sorted(tmp_path / run.folder / evaluation_file(run.split) for run in results)


@pytest.mark.filterwarnings("ignore:.*metrics")
@pytest.mark.parametrize("left", [None, 0, 1, 2])
def test_what_a_run_spent_is_unknown_where_its_metrics_are_gone(tmp_path, left):
    """It was called 0 tokens and 0 seconds, or those of the updates whose metrics were left."""
    plan = write_comparison(tmp_path)
    run = plan.reporting_runs(plan.untuned())[0].folder
    evaluation, metrics = tmp_path / run / "evaluation-test.json", tmp_path / run / METRICS
    lines = metrics.read_text().splitlines(keepends=True)
    assert {"grpo": 9000, "base": 0}.items() <= {
        m.name: m.tokens_sampled for m in summary_of(plan, tmp_path).methods
    }.items()
    if left is None:
        metrics.unlink()
    else:
        metrics.write_text("".join(lines[:left] + lines[left + 1 :]))
    rewrite(evaluation, metrics=metrics_digest(metrics))  # as the run itself went on without them
    with pytest.warns(
        UserWarning, match=rf"metrics\.jsonl: has the metrics of {0 if left is None else 2} of 3 updates"
    ):
        summary = summary_of(plan, tmp_path)
    row = next(row for row in json.loads(results_json(summary)) if row["run"] == run)
    assert row["tokens_sampled"] is row["seconds"] is None
    line = next(line for line in render_report(summary).splitlines() if line.startswith("| grpo "))
    assert line.endswith("| – | – | 2 |")
    render_page(summary)


@pytest.mark.parametrize("flip", [True, False])
def test_metrics_that_the_run_did_not_write_are_none_of_its_own(tmp_path, flip):
    """Tokens and time of another run, or with another digit, stood in the tables."""
    plan = write_comparison(tmp_path)
    run, other = (each.folder for each in plan.reporting_runs({"grpo": "default", "iapo": "alpha=0.5"})[1:3])
    metrics = tmp_path / run / METRICS
    text = metrics.read_text()
    metrics.write_text(text.replace("3000.0", "3001.0", 1) if flip else (tmp_path / other / METRICS).read_text())
    assert metrics.read_text() != text
    with pytest.warns(UserWarning, match=rf"{run}/metrics\.jsonl: is not what the run wrote, so that the tokens"):
        rows = json.loads(results_json(summary_of(plan, tmp_path)))
    assert {row["run"] for row in rows if row["tokens_sampled"] is None} == {run}


@pytest.mark.filterwarnings("ignore:.*does not count")
@pytest.mark.parametrize("fault", ["cut", "empty", "flipped", "of another run", "of the base model"])
def test_an_evaluation_that_is_not_what_was_made_of_the_run_does_not_count(tmp_path, fault):
    """Other numbers were taken for those of the run; where a file was cut, nothing was said."""
    plan = write_comparison(tmp_path)
    runs = plan.reporting_runs({"grpo": "default"})
    for run in runs:
        (tmp_path / run.folder / SETTINGS).write_text(f"seed: {run.seed}\n")
        path = tmp_path / run.folder / evaluation_file("test")
        rewrite(path, **made_from(problems_path(tmp_path, "test"), path.parent))
    others = {"of another run": runs[1].folder, "of the base model": BASE_FOLDER}
    path = tmp_path / runs[0].folder / evaluation_file("test")
    text = path.read_text()
    texts = {"cut": text[:-20], "empty": "", "flipped": text.replace("false", "true", 1)}
    texts |= {each: (tmp_path / run / evaluation_file("test")).read_text() for each, run in others.items()}
    path.write_text(texts[fault])
    assert path.read_text() != text
    assert not is_evaluated(tmp_path, runs[0].folder, "test")
    told = "was made with other settings than this run has" if fault in others else "is damaged"
    with pytest.warns(UserWarning, match=rf"grpo/default/seed-0/evaluation-test\.json: {told}.*; it does not count"):
        summary = summary_of(plan, tmp_path)
    assert summary.missing == (runs[0].folder,)
    assert is_evaluated(tmp_path, runs[1].folder, "test")


def test_a_base_model_that_is_not_evaluated_is_said(tmp_path):
    plan = write_comparison(tmp_path)
    assert not summary_of(plan, tmp_path).missing
    (tmp_path / BASE_FOLDER / "evaluation-test.json").unlink()
    assert summary_of(plan, tmp_path).missing == (BASE_FOLDER,)
    assert "- base" in render_report(summary_of(plan, tmp_path)).splitlines()


def test_a_setting_without_all_its_runs_is_not_chosen(tmp_path):
    plan = write_comparison(tmp_path)
    assert choices_and_results(plan, tmp_path)[0]["iapo"] == "alpha=0.5"
    (tmp_path / "iapo/alpha=0.5/seed-7/evaluation-validation.json").unlink()
    assert choices_and_results(plan, tmp_path)[0]["iapo"] == "alpha=0.1"
    (tmp_path / "iapo/alpha=0.1/seed-7/evaluation-validation.json").unlink()
    assert "iapo" not in choices_and_results(plan, tmp_path)[0]
    page = render_page(summary_of(plan, tmp_path))
    assert "iapo (no setting could be chosen)" in page


@pytest.mark.parametrize("which", ["*", "grpo", "iapo-paper"])
def test_methods_whose_completions_are_all_empty_are_reported(tmp_path, which):
    """There is nothing to divide by; the page of all methods was lost."""
    plan = write_comparison(tmp_path)
    for path in tmp_path.glob(f"{which}/*/seed-*/evaluation-*.json"):
        rewrite(path, lengths=[[0] * len(row) for row in read_sealed(path)["lengths"]])
    summary = summary_of(plan, tmp_path)
    empty = {"grpo", "iapo", "iapo-paper"} if which == "*" else {which}
    for method in summary.methods:
        assert ("ratio@1" in method.measures) == (method.name not in empty)
        relative = "mean_length" in method.differences
        assert relative == (method.name != "grpo" and "grpo" not in empty)
    for row in json.loads(results_json(summary)):
        assert (row["ratio_at_k"]["1"] is None) == (row["run"].split("/")[0] in empty)
    for shown in (render_page(summary), render_report(summary)):
        assert "nan" not in shown


def test_a_reward_that_is_no_number_is_no_point_of_a_curve(tmp_path):
    """An update in which nothing could be scored; the page of all methods was lost."""
    plan = write_comparison(tmp_path)
    for metrics in tmp_path.glob("grpo/*/seed-*/metrics.jsonl"):
        steps = [json.loads(line) for line in metrics.read_text().splitlines()]
        steps[1]["reward"] = float("nan")
        metrics.write_text("".join(json.dumps(step) + "\n" for step in steps))
        rewrite(metrics.parent / evaluation_file("test"), metrics=metrics_digest(metrics))
    assert "Learning" in render_page(summary_of(plan, tmp_path))
