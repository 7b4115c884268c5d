"""A whole comparison with real training, killed on the way and resumed; then what its folder holds."""

import json
import os
import re
import shutil
import signal
import time
from pathlib import Path
from threading import Thread

import pytest
import yaml
from sealed_files import rewrite

from iapo.commands.compare import compare
from iapo.comparison.running.evaluate import evaluate_run, forced_answers
from iapo.comparison.running.problems import problems_path, write_problems
from iapo.comparison.running.protocol import run_job
from iapo.comparison.running.read_plan import read_plan
from iapo.comparison.running.results import BASE_FOLDER
from iapo.comparison.running.runner import Outcome, run_jobs
from iapo.comparison.running.settings import instantiate
from iapo.ops.json_files import read_sealed

COMPARISON = {
    "base": {
        **{"steps": 2, "prompts_per_step": 4, "group_size": 2, "limit": 64, "device": "cpu"},
        **{"sampler.max_new_tokens": 40, "eval_problems": 2, "eval_samples": 1, "checkpoint_every": 1},
        "rewards": {"accuracy": {"class_path": "iapo.rewards.ExactAnswer"}},
    },
    "methods": {"grpo": {"assigner": "GroupRelative", "estimator": "NoInformation"}},
    "reporting": {"seeds": [0]},
    "evaluation": {"problems": 6, "samples": 4, "batch": 8, "budget_samples": 2, "answer_tokens": 4},
    "processes": {"at_once": 1},
}


def children() -> list[int]:
    """Processes that this one started."""
    return [int(pid) for pid in Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split()]


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> tuple[Path, Path, Outcome]:
    """The comparison file, its folder, and how the first run went when it was killed after a step."""
    root = tmp_path_factory.mktemp("compare")
    file, folder = root / "compare.yaml", root / "out"
    file.write_text(yaml.safe_dump(COMPARISON))
    folder.mkdir()
    plan = read_plan(file)
    write_problems(plan, folder, instantiate(plan.evaluation.settings)["rewards"])
    run = plan.reporting_runs(plan.untuned())[0]
    before = set(children())

    def kill_behind_the_first_update() -> None:  # in a thread: the jobs are looked at more rarely than updates end
        while not (folder / run.folder / "checkpoint-1").exists():
            time.sleep(0.001)
        for pid in set(children()) - before:
            os.kill(pid, signal.SIGKILL)

    # In this process, so that one Python less is started; the other run is evaluated in a process of its own.
    (folder / BASE_FOLDER).mkdir()
    evaluate_run(problems_path(folder, "test"), folder / BASE_FOLDER)
    Thread(target=kill_behind_the_first_update, daemon=True).start()
    killed = run_jobs([run_job(plan, folder, run)], 1, 2)[run.folder]
    assert compare(comparison=str(file), output=str(folder), only_report=False, override=True) == 0
    return file, folder, killed


def test_a_killed_run_has_failed_and_is_then_resumed(finished):
    _, folder, killed = finished
    assert killed.state == "failed"
    assert "signal 9" in killed.message
    steps = [
        json.loads(line)["step"] for line in (folder / "grpo/default/seed-0/metrics.jsonl").read_text().splitlines()
    ]
    assert steps == [1, 2]
    assert (folder / "grpo/default/seed-0/output.log").read_text().count("$ ") == 3


def test_a_run_that_went_on_with_other_threads_is_named(finished):
    _, folder, _ = finished
    told = "grpo/default/seed-0 after update [12]: threads: saved 2, now 1"
    assert re.search(f"- not one run throughout, by --override: {told}\n", (folder / "report.md").read_text())
    assert re.search(f"<dt>not one run throughout, by --override</dt><dd>{told}<", (folder / "index.html").read_text())


def test_it_leaves_rows_page_and_report(finished):
    _, folder, _ = finished
    rows = json.loads((folder / "results.json").read_text())
    assert [(row["method"], row["seed"], row["split"]) for row in rows] == [
        ("base", 0, "test"),
        ("grpo", 0, "test"),
    ]
    for row in rows:
        assert sum(row["token_classes"].values()) == pytest.approx(row["mean_length"])
        assert row["shortest_length"] == int(row["shortest_length"] * 6) / 6
        metrics = folder / row["run"] / "metrics.jsonl"
        tokens = (
            [json.loads(line)["num_tokens"] for line in metrics.read_text().splitlines()] if metrics.exists() else []
        )
        assert row["tokens_sampled"] == sum(tokens)
    page = (folder / "index.html").read_text()
    for link in re.findall(r'href="([^"#]+)"', page):
        assert (folder / link).exists()
    assert "| grpo" in (folder / "report.md").read_text()


def test_the_last_checkpoint_is_evaluated(finished):
    _, folder, _ = finished
    assert json.loads((folder / "grpo/default/seed-0/evaluation-test.json").read_text())["model"] == "checkpoint-2"
    assert json.loads((folder / "base/evaluation-test.json").read_text())["model"] == "embedded"
    found = json.loads((folder / "grpo/default/seed-0/evaluation-test.json").read_text())
    assert [len(row) for row in found["correct"]] == [4] * 6


def test_all_runs_are_cut_at_the_budgets_of_the_base_model(finished, tmp_path):
    _, folder, _ = finished
    curves = [
        json.loads((folder / run / "evaluation-test.json").read_text())["at_budget"]
        for run in (BASE_FOLDER, "grpo/default/seed-0")
    ]
    assert curves[0]["budgets"] == curves[1]["budgets"]
    assert len(curves[0]["budgets"]) > 3
    found = forced_answers(problems_path(folder, "test"), folder / "grpo/default/seed-0").budgets
    assert list(found) == curves[0]["budgets"]
    assert forced_answers(problems_path(folder, "test"), folder / BASE_FOLDER).budgets is None
    for curve in curves:
        assert [len(sample) for sample in curve["correct"]] == [2] * 6
    assert "## Accuracy at a budget" in (folder / "report.md").read_text()
    assert "Accuracy at a budget" in (folder / "index.html").read_text()
    problems, run = problems_path(tmp_path, "test"), tmp_path / "grpo/default/seed-0"
    shutil.copy(problems_path(folder, "test"), problems)
    with pytest.raises(FileNotFoundError, match="base: not evaluated, and the budgets of all runs follow from its"):
        forced_answers(problems, run)
    rewrite(problems, forced=read_sealed(problems)["forced"] | {"budgets": [0, 5]})
    assert forced_answers(problems, run).budgets == (0, 5)


def test_a_run_without_checkpoints_is_not_evaluated_as_its_base(finished, tmp_path):
    _, folder, _ = finished
    run = tmp_path / "seed-0"
    shutil.copytree(
        folder / "grpo/default/seed-0", run, ignore=shutil.ignore_patterns("checkpoint-*", "evaluation-test*")
    )
    with pytest.raises(FileNotFoundError, match=r"seed-0: this run was trained and has no checkpoint left"):
        evaluate_run(problems_path(folder, "test"), run)
    assert not list(run.glob("evaluation-test*"))


def test_finished_runs_are_kept_and_the_page_is_rewritten(finished, monkeypatch):
    file, folder, _ = finished
    page = (folder / "index.html").read_text()
    (folder / "index.html").unlink()
    monkeypatch.setattr("subprocess.Popen", None)
    assert compare(comparison=str(file), output=str(folder), only_report=False) == 0
    assert (folder / "index.html").read_text() == page
    (folder / "index.html").unlink()
    assert compare(comparison=str(file), output=str(folder), only_report=True) == 0
    assert (folder / "index.html").read_text() == page


def test_nothing_to_report_is_an_error(finished, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"output: .* holds no comparison"):
        compare(comparison=str(finished[0]), output=str(tmp_path), only_report=True)


def test_other_settings_are_refused_in_the_same_folder(finished, tmp_path):
    _, folder, _ = finished
    content = {**COMPARISON, "base": {**COMPARISON["base"], "group_size": 4}}
    (tmp_path / "other.yaml").write_text(yaml.safe_dump(content))
    with pytest.raises(ValueError, match="group_size is 2, not 4"):
        compare(comparison=str(tmp_path / "other.yaml"), output=str(folder), only_report=False)
