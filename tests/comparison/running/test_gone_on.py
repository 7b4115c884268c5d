"""A comparison that goes on, or is reported again: nothing in its folder is taken for what the plan says now."""

import json
import shutil
from pathlib import Path

import pytest
import yaml
from safetensors.torch import load_file, save_file
from saved_runs import save

from iapo.commands.compare import compare
from iapo.comparison.running.begun import check_begun
from iapo.comparison.running.evaluate import last_checkpoint
from iapo.comparison.running.plan import Plan
from iapo.comparison.running.problems import check_problems, write_problems
from iapo.comparison.running.protocol import check_folders, run_job
from iapo.comparison.running.read_plan import read_plan
from iapo.comparison.running.settings import instantiate
from iapo.embedded import generate_problems, model_path, rows
from iapo.training.configuration.plain_files import digests

RUN = "grpo/default/seed-0"


@pytest.fixture
def content(tmp_path: Path) -> dict:
    """A plan on a file of data, with a reward from a file."""
    (tmp_path / "own.py").write_text("def right(completions, **_):\n    return [1.0] * len(completions)\n")
    data = "".join(json.dumps(row) + "\n" for row in rows(generate_problems(24, seed=1)))
    (tmp_path / "sums.jsonl").write_text(data)
    base = {"data": str(tmp_path / "sums.jsonl"), "steps": 1, "rewards": f"{tmp_path / 'own.py'}:right"}
    return {
        "base": {**base, "prompts_per_step": 2, "sampler.max_new_tokens": 4, "answer_style": "AnswerTags"},
        "methods": {"grpo": {"assigner": "GroupRelative", "estimator": "NoInformation"}},
        "reporting": {"seeds": [0]},
        "evaluation": {"problems": 4, "samples": 2, "budgets": []},
    }


def planned(content: dict, folder: Path) -> Plan:
    (folder / "plan.yaml").write_text(yaml.safe_dump(content))
    return read_plan(folder / "plan.yaml")


@pytest.fixture
def begun(content: dict, tmp_path: Path) -> tuple[Plan, Path]:
    """The plan, and its folder with a run that was trained, as far as a comparison looks."""
    plan, folder = planned(content, tmp_path), tmp_path / "out"
    check_begun(plan, folder_of(folder), check_folders(plan, folder))
    write_problems(plan, folder, instantiate(plan.evaluation.settings)["rewards"])
    run_job(plan, folder, plan.reporting_runs(plan.untuned())[0])
    config = {"files": digests([f"{tmp_path / 'own.py'}:right"])}
    (folder / RUN / "config.json").write_text(json.dumps(config))
    return plan, folder


def folder_of(folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    return folder


def test_a_comparison_that_is_as_it_was_goes_on(begun):
    plan, folder = begun
    assert check_folders(plan, folder)
    check_begun(plan, folder, True)
    check_problems(plan, folder)


def test_data_that_changed_are_refused_once_something_is_trained(begun, tmp_path):
    """Finished runs were kept, and evaluated on problems that they had trained on."""
    plan, folder = begun
    lines = (tmp_path / "sums.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "sums.jsonl").write_text("".join(lines[1:]))
    with pytest.raises(ValueError, match=r"out holds runs that were trained on other rows of .*sums\.jsonl than"):
        check_begun(plan, folder, True)
    check_begun(plan, folder, False)
    check_begun(plan, folder, True)


def test_a_model_that_changed_is_refused_once_something_is_trained(content, tmp_path):
    """The methods before had begun from other weights than those to come."""
    model = shutil.copytree(model_path(), tmp_path / "model")
    plan, folder = planned({**content, "base": content["base"] | {"model": str(model)}}, tmp_path), tmp_path / "out"
    folder.mkdir()
    check_begun(plan, folder, False)
    (model / "README.md").write_text("A model.")
    check_begun(plan, folder, True)
    weights = load_file(model / "model.safetensors")
    save_file({name: weight * 1.001 for name, weight in weights.items()}, model / "model.safetensors")
    with pytest.raises(ValueError, match=r"out holds runs that began from other files of .*model than there are now"):
        check_begun(plan, folder, True)


@pytest.mark.parametrize("text", ["", "[1]", "{", "null", "{}"])
def test_damaged_digests_of_data_and_model_are_named(begun, text):
    plan, folder = begun
    (folder / "begun.json").write_text(text)
    with pytest.raises(ValueError, match=r"begun\.json: is damaged.*; put the file back, or remove it if neither"):
        check_begun(plan, folder, True)
    assert (folder / "begun.json").read_text() == text


def test_code_that_changed_is_refused_once_something_is_trained(begun, tmp_path):
    """Runs that were finished had the reward before, those to come the one after."""
    plan, folder = begun
    (tmp_path / "own.py").write_text("def right(completions, **_):\n    return [0.0] * len(completions)\n")
    with pytest.raises(ValueError, match=rf"{RUN} holds a run with other settings \(.*own\.py has changed since\)"):
        check_folders(plan, folder)
    (tmp_path / "own.py").unlink()
    with pytest.raises(ValueError, match=r"own\.py has changed since"):
        check_folders(plan, folder)


@pytest.mark.parametrize("text", ["a: [b\n c: '", "- \0"])
def test_damaged_settings_of_a_run_are_named(begun, text):
    plan, folder = begun
    (folder / RUN / "settings.yaml").write_text(text)
    with pytest.raises(ValueError, match=r"(?s)settings\.yaml: is damaged .*remove the folder of the run"):
        check_folders(plan, folder)


def test_a_run_that_no_comparison_made_is_not_taken_for_its_own(begun):
    plan, folder = begun
    (folder / RUN / "settings.yaml").unlink()
    with pytest.raises(ValueError, match=rf"{RUN} holds a run of somebody else, it has no settings\.yaml"):
        check_folders(plan, folder)


@pytest.mark.parametrize("name", ["config.json", "metrics.jsonl"])
def test_the_folder_of_a_run_is_none_of_a_comparison(content, tmp_path, name):
    """The report of the run was replaced by that of the comparison."""
    (folder_of(tmp_path / "out") / name).write_text("{}")
    planned(content, tmp_path)
    with pytest.raises(ValueError, match="out is the folder of a run, whose report a comparison would take the place"):
        compare(comparison=str(tmp_path / "plan.yaml"), output=str(tmp_path / "out"), only_report=False)


@pytest.mark.parametrize("name", ["index.html", "report.md", "results.json"])
def test_a_page_of_somebody_else_is_kept(content, tmp_path, name):
    (folder_of(tmp_path / "out") / name).write_text("mine")
    planned(content, tmp_path)
    with pytest.raises(ValueError, match=rf"out has {name}, which is of no comparison and whose place"):
        compare(comparison=str(tmp_path / "plan.yaml"), output=str(tmp_path / "out"), only_report=False)
    assert (tmp_path / "out" / name).read_text() == "mine"


@pytest.mark.parametrize(
    ("key", "name", "value", "told"),
    [
        ("base", "steps", 500, r"other settings \(steps is 1, not 500\)"),
        ("evaluation", "samples", 8, r"evaluated by another plan \(samples: saved 2, now 8\)"),
        ("evaluation", "problems", 5, r"evaluated by another plan \(problems: saved 4, now 5\)"),
        ("evaluation", "seed", 3, r"evaluated by another plan \(seed: saved 0, now 3\)"),
        ("evaluation", "budgets", [4], r"evaluated by another plan \(forced\.answer_tokens: saved nothing, now 32"),
        ("base", "postfix", "<answer>", r"evaluated by another plan \(settings\.postfix: saved null, now \"<answer>\""),
    ],
)
def test_a_report_alone_is_of_the_plan_that_was_carried_out(begun, content, tmp_path, key, name, value, told):
    """The page called the runs by settings that they did not have."""
    _, folder = begun
    planned({**content, key: {**content[key], name: value}}, tmp_path)
    with pytest.raises(ValueError, match=told):
        compare(comparison=str(tmp_path / "plan.yaml"), output=str(folder), only_report=True)
    assert not (folder / "index.html").exists()


@pytest.mark.parametrize("when", ["while runs are at work", "after them"])
def test_a_folder_that_is_moved_is_not_made_again(content, tmp_path, monkeypatch, when):
    """The next runs were started, and the page was written, in an empty folder of the old name."""
    planned(content, tmp_path)

    def move(*given):
        (tmp_path / "out").rename(tmp_path / "moved")
        if when == "while runs are at work":
            given[-1].poll([])
            pytest.fail("runs go on")
        return {}

    monkeypatch.setattr(f"iapo.commands.compare.run_{'jobs' if when.startswith('while') else 'plan'}", move)
    with pytest.raises(FileNotFoundError, match="out was moved, removed, emptied or replaced while this process was"):
        compare(comparison=str(tmp_path / "plan.yaml"), output=str(tmp_path / "out"), only_report=False)
    assert not (tmp_path / "out").exists()
    assert (tmp_path / "moved" / "problems-test.json").exists()


def test_a_report_alone_of_damaged_problems_is_refused(begun):
    """It took the place of the page with one of no runs."""
    plan, folder = begun
    whole = (folder / "problems-test.json").read_text()
    for text in ("", "[]", "{}", '{"split": "test"}', whole[:-9], whole.replace("1", "2", 1)):
        (folder / "problems-test.json").write_text(text)
        with pytest.raises(ValueError, match=r"problems-test\.json: is damaged"):
            check_problems(plan, folder)


def test_a_run_is_evaluated_at_its_end_or_not_at_all(tmp_path):
    """The policy of an earlier update was evaluated, with a word in the log alone."""
    assert last_checkpoint(tmp_path) is None
    for step in (1, 2, 3):
        save(tmp_path, step)
    (tmp_path / "metrics.jsonl").write_text("".join(f'{{"step": {step}}}\n' for step in (1, 2, 3)))
    assert last_checkpoint(tmp_path) == tmp_path / "checkpoint-3"
    (tmp_path / "checkpoint-3" / "model.safetensors").write_bytes(b"")
    at_its_end = r"at its end, after update 3, and its newest complete checkpoint is checkpoint-2"
    with pytest.warns(UserWarning, match="taking checkpoint-2"), pytest.raises(FileNotFoundError, match=at_its_end):
        last_checkpoint(tmp_path)
    shutil.rmtree(tmp_path / "checkpoint-3")
    with pytest.raises(FileNotFoundError, match=at_its_end):
        last_checkpoint(tmp_path)
    (tmp_path / "metrics.jsonl").write_text('{"step": 1}\n')  # a crash of the machine took the others
    assert last_checkpoint(tmp_path) == tmp_path / "checkpoint-2"


@pytest.mark.parametrize("text", ["garbage\n", '{"step": 1}\n', '{"step": 1, "num_tokens": "many", "step_time": 1}\n'])
def test_metrics_that_cannot_be_read_stop_no_other_run(begun, text):
    """What is asked while runs go on ended the comparison, and killed them."""
    plan, folder = begun
    job = run_job(plan, folder, plan.reporting_runs(plan.untuned())[0])
    (folder / RUN / "metrics.jsonl").write_text(text)
    assert job.progress() == (0.0, "its metrics cannot be read")
