"""Accuracy at a budget, from runs whose reasoning was cut."""

import pytest
from comparison_folders import asking_at_budgets, write_comparison
from sealed_files import rewrite
from summaries import made_up_comparison, summary_of

from iapo.comparison.running.results import evaluation_file
from iapo.comparison.showing.page import render_page
from iapo.comparison.showing.report import render_report
from iapo.ops.json_files import read_sealed, write_sealed


@pytest.fixture(scope="module")
def made_up(tmp_path_factory):
    return made_up_comparison(tmp_path_factory.mktemp("comparison"))


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
    write_sealed(
        path, {name: value for name, value in read_sealed(path).items() if name not in ("at_budget", "truncated")}
    )
    methods = {method.name: method for method in summary_of(plan, tmp_path).methods}
    assert not methods["grpo"].by_budget
    assert not {"budget_area", "truncated"} & set(methods["grpo"].measures)
    assert list(methods["iapo"].by_budget) == [0, 10, 30]
    assert "budget_area" not in methods["iapo"].differences
    assert (
        "| grpo |" not in render_report(summary_of(plan, tmp_path)).split("## Accuracy at a budget")[1].split("##")[0]
    )


def test_it_is_said_how_answers_were_asked_for(made_up):
    plan, folder, plain = made_up
    asking = asking_at_budgets(plan)
    name, said = "answers at budgets", "of 3 of these samples at most, asked for with </think><answer>"
    assert f"- {name}: {said}" in render_report(summary_of(asking, folder))
    assert name not in plain.metadata


def test_runs_cut_at_other_budgets_are_not_put_together(tmp_path):
    plan = write_comparison(tmp_path)
    path = tmp_path / "grpo/default/seed-1" / evaluation_file("test")
    rewrite(path, at_budget=read_sealed(path)["at_budget"] | {"budgets": [0, 10, 31]})
    with pytest.raises(ValueError, match=r"seed-1/evaluation-test.json: cut at the budgets \(0, 10, 31\), others at"):
        summary_of(plan, tmp_path)
