"""What is run after what: the base model, tuning, and the chosen settings."""

import pytest
import yaml
from comparison_folders import SETTINGS, asking_at_budgets, made_up_plan, write_problems, write_run

from iapo.comparison.running.protocol import run_plan
from iapo.comparison.running.runner import Job, Outcome


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
