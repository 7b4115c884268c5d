"""Choice, summary, page and rows from finished runs that were made up."""

import dataclasses
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import pytest
import yaml
from comparison_folders import SETTINGS, made_up_plan, write_comparison, write_evaluation, write_problems, write_run

from iapo.comparison.running.choice import choose
from iapo.comparison.running.plan import Method, Plan, Run
from iapo.comparison.running.problems import problems_path
from iapo.comparison.running.protocol import check_folders, run_plan, run_settings
from iapo.comparison.running.results import (
    BASE_FOLDER,
    RunResult,
    evaluation_file,
    is_evaluated,
    read_finished,
    read_reporting,
)
from iapo.comparison.running.runner import Job, Outcome
from iapo.comparison.showing.figures import Series, chart, mean_curve
from iapo.comparison.showing.page import render_page
from iapo.comparison.showing.report import render_report, results_json
from iapo.comparison.showing.summary import Summary, summarize
from iapo.evaluation import ForcedAnswers
from iapo.evaluation.result import read_content


def summary_of(plan: Plan, folder: Path, outcomes: dict[str, Outcome] | None = None) -> Summary:
    return summarize(plan, folder, *choices_and_results(plan, folder), outcomes or {})


def choices_and_results(plan: Plan, folder: Path) -> tuple[dict[str, str], list[RunResult]]:
    tuning = read_finished(folder, plan.tuning_runs())
    choices = choose(plan, tuning)
    return choices, [*read_reporting(plan, folder, choices), *tuning]


def asking_at_budgets(plan: Plan, budgets: tuple[int, ...] | None = None) -> Plan:
    """The same plan, its reasoning cut at budgets; ``None``: those that follow from the base model's lengths."""
    forced = ForcedAnswers("</think><answer>", "</answer>", budgets, samples=3)
    return dataclasses.replace(plan, evaluation=dataclasses.replace(plan.evaluation, forced=forced))


@pytest.fixture(scope="module")
def made_up(tmp_path_factory) -> tuple[Plan, Path, Summary]:
    folder = tmp_path_factory.mktemp("comparison")
    plan = write_comparison(folder)
    return plan, folder, summary_of(plan, folder)


class Links(HTMLParser):
    """Every address on a page, every id, and all text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.ids: set[str] = set()
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        self.ids |= {values["id"]} if "id" in values else set()
        self.links += [values["href"]] if "href" in values else []
        assert tag not in ("script", "link", "img", "iframe", "object")
        assert "style" not in values

    def handle_data(self, data):
        self.text += data


def test_the_page_has_all_methods_and_no_dead_link(made_up):
    _, folder, summary = made_up
    page = Links(render_page(summary))
    for name in ("base", "grpo", "iapo", "iapo-paper", "alpha=0.1", "alpha=0.5", "†"):
        assert name in page.text
    for link in page.links:
        if link.startswith("#"):
            assert link[1:] in page.ids
        else:
            assert not re.match(r"[a-z]+:|/", link)
            assert (folder / unquote(link)).exists(), link
    for result in summary.results:
        assert f"{result.folder}/" in [unquote(link) for link in page.links]
    assert len(page.links) > 100


def test_the_page_shows_all_that_was_promised(made_up):
    page = render_page(made_up[2])
    for title in ("Accuracy at a budget", "Right and wrong"):
        assert f"<h2>{title}</h2>" in page
    for title in ("Accuracy against length", "Several samples", "By difficulty", "What the tokens do", "Learning"):
        assert f"<h2>{title}</h2>" in page
    for label in ("Pass@k", "Length@k, tokens", "Ratio@k, 1 / token", "difficulty", "tokens sampled, thousands"):
        assert label in page
    assert page.count("<svg") == 1 + 1 + 3 + 2 + 1 + 2
    section = page[page.index("<h2>By difficulty</h2>") : page.index("<h2>What the tokens do</h2>")]
    assert section.count('class="bar"') == 2 * 3 * len(made_up[2].methods), "an interval at every level"
    assert "http" not in page.replace("http-equiv", "")
    assert page == render_page(made_up[2])


def test_the_page_begins_with_accuracy_against_length(made_up):
    page = render_page(made_up[2])
    first = page[page.index("<h2>") : page.index("<h2>", page.index("<h2>") + 1)]
    assert "<h2>Accuracy against length</h2>" in first
    assert first.count('class="bar"') == len(made_up[2].methods), "with the intervals of every method"
    assert page.index("Ratio@") > page.index(first) + len(first)


def test_accuracy_at_a_budget_is_shown_with_intervals(made_up):
    summary = made_up[2]
    page, report = render_page(summary), render_report(summary)
    section = page[page.index("<h2>Accuracy at a budget</h2>") : page.index("<h2>Right and wrong</h2>")]
    assert section.count('class="bar"') == 3 * len(summary.methods)
    assert "<th>area</th><th>0</th><th>10</th><th>30</th>" in section
    assert "| method | area | 0 | 10 | 30 |" in report
    for method in summary.methods:
        accuracy = method.measures["accuracy"]
        assert method.by_budget[0].high == 0
        assert method.by_budget[10] == method.by_budget[30] == accuracy
        # Linear from 0 at 0 to the accuracy at 10, which stays: 5/6 of the accuracy, in every resample.
        area = method.measures["budget_area"]
        assert [area.value, area.low, area.high] == pytest.approx(
            [5 / 6 * value for value in (accuracy.value, accuracy.low, accuracy.high)]
        )
        assert f"{accuracy.value:.3f}<small>" in section
        assert f"| {method.name} | {area:.3f} | 0.000 (0.000 to 0.000) | {accuracy:.3f} |" in report
    iapo = next(method for method in summary.methods if method.name == "iapo")
    assert iapo.differences["budget_area"].value == pytest.approx(5 / 6 * iapo.differences["accuracy"].value)


def test_a_method_with_a_run_that_was_not_cut_has_no_curve(tmp_path):
    plan = write_comparison(tmp_path)
    path = tmp_path / "grpo/default/seed-1" / evaluation_file("test")
    found = json.loads(path.read_text())
    path.write_text(
        json.dumps({name: value for name, value in found.items() if name not in ("at_budget", "truncated")})
    )
    methods = {method.name: method for method in summary_of(plan, tmp_path).methods}
    assert not methods["grpo"].by_budget
    assert not {"budget_area", "truncated"} & set(methods["grpo"].measures)
    assert list(methods["iapo"].by_budget) == [0, 10, 30]
    assert "budget_area" not in methods["iapo"].differences
    assert (
        "| grpo |" not in render_report(summary_of(plan, tmp_path)).split("## Accuracy at a budget")[1].split("##")[0]
    )


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


def test_it_is_said_how_answers_were_asked_for(made_up):
    plan, folder, plain = made_up
    asking = asking_at_budgets(plan)
    name, said = "answers at budgets", "of 3 of these samples at most, asked for with </think><answer>"
    assert f"- {name}: {said}" in render_report(summary_of(asking, folder))
    assert name not in plain.metadata


def test_runs_cut_at_other_budgets_are_not_put_together(tmp_path):
    plan = write_comparison(tmp_path)
    path = tmp_path / "grpo/default/seed-1" / evaluation_file("test")
    found = json.loads(path.read_text())
    found["at_budget"]["budgets"] = [0, 10, 31]
    path.write_text(json.dumps(found))
    with pytest.raises(ValueError, match=r"seed-1/evaluation-test.json: cut at the budgets \(0, 10, 31\), others at"):
        summary_of(plan, tmp_path)


def test_hostile_text_stays_text(made_up):
    plan, folder, _ = made_up
    evil = "<script>alert(1)</script>\x1b[2J"
    page = render_page(summary_of(plan, folder, {"grpo/default/seed-0": Outcome("failed", evil)}))
    assert "<script" not in page
    assert "\x1b" not in page
    assert "&lt;script&gt;" in page


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


def test_a_run_evaluated_on_other_problems_does_not_count(tmp_path):
    plan = write_comparison(tmp_path)
    run = plan.reporting_runs(plan.untuned())[0]
    assert is_evaluated(tmp_path, run.folder, "test")
    path = problems_path(tmp_path, "test")
    path.write_text(path.read_text() + "\n")
    assert not is_evaluated(tmp_path, run.folder, "test")
    summary = summary_of(plan, tmp_path)
    assert run.folder in summary.missing
    assert not summary.methods
    assert run.folder in render_page(summary)


def test_each_evaluation_is_parsed_once(tmp_path, monkeypatch):
    plan = write_comparison(tmp_path)
    parsed = []
    monkeypatch.setattr(
        "iapo.comparison.running.results.read_content", lambda path: parsed.append(path) or read_content(path)
    )
    results = choices_and_results(plan, tmp_path)[1]
    assert sorted(parsed) == sorted(tmp_path / run.folder / evaluation_file(run.split) for run in results)


@pytest.mark.filterwarnings("ignore:.*metrics")
@pytest.mark.parametrize("left", [None, 0, 1, 2])
def test_what_a_run_spent_is_unknown_where_its_metrics_are_gone(tmp_path, left):
    """It was called 0 tokens and 0 seconds, or those of the updates whose metrics were left."""
    plan = write_comparison(tmp_path)
    run = plan.reporting_runs(plan.untuned())[0].folder
    evaluation, metrics = tmp_path / run / "evaluation-test.json", tmp_path / run / "metrics.jsonl"
    evaluation.write_text(json.dumps({**json.loads(evaluation.read_text()), "model": "checkpoint-3"}))
    lines = metrics.read_text().splitlines(keepends=True)
    assert {"grpo": 9000, "base": 0}.items() <= {
        m.name: m.tokens_sampled for m in summary_of(plan, tmp_path).methods
    }.items()
    if left is None:
        metrics.unlink()
    else:
        metrics.write_text("".join(lines[:left] + lines[left + 1 :]))
    with pytest.warns(
        UserWarning, match=rf"metrics\.jsonl: has the metrics of {0 if left is None else 2} of 3 updates"
    ):
        summary = summary_of(plan, tmp_path)
    row = next(row for row in json.loads(results_json(summary)) if row["run"] == run)
    assert row["tokens_sampled"] is row["seconds"] is None
    line = next(line for line in render_report(summary).splitlines() if line.startswith("| grpo "))
    assert line.endswith("| – | – | 2 |")
    render_page(summary)


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


def test_reporting_starts_after_tuning_with_the_chosen_setting(tmp_path):
    plan = asking_at_budgets(made_up_plan())
    write_problems(tmp_path)
    runs = {run.folder: run for run in plan.tuning_runs()}
    asked: list[list[str]] = []

    def execute(title: str, jobs: list[Job]) -> dict[str, Outcome]:
        asked.append([job.name for job in jobs])
        for job in jobs:
            if job.name in runs:
                write_run(tmp_path, runs[job.name], 1.0, 30 if "0.1" in job.name else 20, 2)
        return {job.name: Outcome("finished") for job in jobs}

    run_plan(plan, tmp_path, execute)
    assert asked[0] == ["base"]
    assert asked[1][:2] == ["iapo/alpha=0.1/seed-7", "iapo/alpha=0.5/seed-7"]
    assert asked[2] == ["iapo/alpha=0.5/seed-0", "iapo/alpha=0.5/seed-1"]
    settings = yaml.safe_load((tmp_path / asked[2][1] / "settings.yaml").read_text())
    assert settings == {**SETTINGS, "seed": 1}
    assert not (tmp_path / "iapo/alpha=0.1/seed-0").exists()


@pytest.mark.parametrize("budgets", [None, (4, 8)])
def test_nothing_waits_for_the_base_model_where_no_budget_follows_from_it(tmp_path, budgets):
    plan = made_up_plan()
    plan = plan if budgets is None else asking_at_budgets(plan, budgets)
    write_problems(tmp_path)
    asked: list[list[str]] = []

    def execute(title: str, jobs: list[Job]) -> dict[str, Outcome]:
        asked.append([job.name for job in jobs])
        return {job.name: Outcome("finished") for job in jobs}

    run_plan(plan, tmp_path, execute)
    assert asked[0][:2] == ["base", "iapo/alpha=0.1/seed-7"]


@pytest.mark.parametrize("interrupted", ["base", "tuning"])
def test_nothing_is_chosen_from_what_was_interrupted(tmp_path, interrupted):
    plan = asking_at_budgets(made_up_plan())
    write_problems(tmp_path)
    calls = []

    def execute(title: str, jobs: list[Job]) -> dict[str, Outcome]:
        calls.append(title)
        return {job.name: Outcome("interrupted" if title == interrupted else "finished") for job in jobs}

    assert "interrupted" in {outcome.state for outcome in run_plan(plan, tmp_path, execute).values()}
    assert calls == ["base", "tuning"][: ["base", "tuning"].index(interrupted) + 1]


def test_a_folder_with_other_settings_is_refused(tmp_path):
    plan = made_up_plan()
    run = plan.reporting_runs(plan.untuned())[0]
    (tmp_path / run.folder).mkdir(parents=True)
    (tmp_path / run.folder / "settings.yaml").write_text(yaml.safe_dump(run_settings(run)))
    check_folders(plan, tmp_path)
    (tmp_path / run.folder / "settings.yaml").write_text(yaml.safe_dump({**run_settings(run), "steps": 4}))
    with pytest.raises(ValueError, match=r"grpo/default/seed-0 holds a run with other settings \(steps is 4, not 3\)"):
        check_folders(plan, tmp_path)


def test_data_without_difficulty_or_classes_have_fewer_sections(tmp_path):
    method = Method("grpo", "grpo", "default", {"default": SETTINGS})
    plan = made_up_plan((method,))
    content = {"split": "test", "samples": 4, "settings": SETTINGS, "rows": [{"prompt": str(i)} for i in range(6)]}
    problems_path(tmp_path, "test").write_text(json.dumps(content))
    write_evaluation(tmp_path, BASE_FOLDER, "test", 0.5, 20, 4)
    write_run(tmp_path, Run(method, "default", 0, "test"), 0.5, 20, 4)
    known = ("correct", "lengths", "greedy_correct", "greedy_lengths", "problems")
    for run in (BASE_FOLDER, "grpo/default/seed-0"):
        path = tmp_path / run / evaluation_file("test")
        found = json.loads(path.read_text())
        path.write_text(json.dumps({k: v for k, v in found.items() if k in known}))
    summary = summary_of(plan, tmp_path)
    page, row = render_page(summary), json.loads(results_json(summary))[0]
    assert "By difficulty" not in page
    assert "What the tokens do" not in page
    assert "above shortest" not in page
    assert "at a budget" not in page
    assert "<th>area</th>" not in page
    assert "<th>truncated</th>" not in page
    assert row["accuracy_hard"] is row["token_classes"] is row["shortest_length"] is None
    assert render_report(summary)


def test_charts_fit_their_points():
    drawn = chart([Series("a", 0, [(1, 0.5), (2, 0.75), (32, 1.0)], link="a/")], "k", "Pass@k", log_x=True)
    numbers = [float(x) for x in re.findall(r'cx="([\d.]+)"', drawn)]
    assert numbers == sorted(numbers)
    assert (numbers[1] - numbers[0]) * 4 == pytest.approx(numbers[2] - numbers[1], abs=0.5)
    assert all(0 < x < 440 for x in numbers)
    assert 'href="a/"' in drawn
    assert chart([], "x", "y") == ""


def test_a_mean_curve_lies_where_all_curves_are():
    assert mean_curve([]) == []
    assert mean_curve([[(0, 1.0), (1, 1.0)], [(2, 1.0), (3, 1.0)]]) == []
    curve = mean_curve([[(1, 2.0), (5, 2.0)], [(0, 4.0), (4, 4.0)]], points=4)
    assert curve == [(1.0, 3.0), (2.0, 3.0), (3.0, 3.0), (4.0, 3.0)]


@pytest.mark.parametrize("which", ["*", "grpo", "iapo-paper"])
def test_methods_whose_completions_are_all_empty_are_reported(tmp_path, which):
    """There is nothing to divide by; the page of all methods was lost."""
    plan = write_comparison(tmp_path)
    for path in tmp_path.glob(f"{which}/*/seed-*/evaluation-*.json"):
        content = json.loads(path.read_text())
        path.write_text(json.dumps({**content, "lengths": [[0] * len(row) for row in content["lengths"]]}))
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
    assert "Learning" in render_page(summary_of(plan, tmp_path))
