"""The plan: what a good file says, and every bad one refused with the key that is wrong."""

import copy
import json
from datetime import date
from pathlib import Path

import pytest
import yaml

from iapo.comparison.running.entries import setting_name
from iapo.comparison.running.problems import choose_problems, problems_path, write_problems
from iapo.comparison.running.read_plan import read_plan
from iapo.comparison.running.settings import instantiate
from iapo.embedded import model_path, split_of
from iapo.evaluation import ForcedAnswers
from iapo.ops.text_files import file_digest
from iapo.tasks import FileTask, ReasoningGymTask, hold_out, load_rows

GOOD = {
    "base": {"steps": 2, "prompts_per_step": 4, "sampler.max_new_tokens": 24},
    "methods": {
        "grpo": {"assigner": "GroupRelative", "estimator": "NoInformation"},
        "iapo": {"preset": "strong", "tune": {"assigner.alpha": [0.1, 0.5]}},
    },
    "tuning": {"seeds": [100], "eval_problems": 8},
    "reporting": {"seeds": [0, 1], "reference": "grpo"},
    "evaluation": {"problems": 8, "samples": 4},
    "processes": {"at_once": 2, "threads": 1},
}


def written(tmp_path: Path, content: object) -> Path:
    path = tmp_path / "compare.yaml"
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    return path


def test_a_plan_lists_its_runs(tmp_path):
    content = copy.deepcopy(GOOD)
    content["methods"]["iapo"]["tune"]["warmup_steps"] = [0, 1]
    plan = read_plan(written(tmp_path, content))
    assert [run.folder for run in plan.tuning_runs()] == [
        f"iapo/assigner.alpha={alpha},warmup_steps={warmup}/seed-100" for alpha in (0.1, 0.5) for warmup in (0, 1)
    ]
    assert [run.folder for run in plan.reporting_runs(plan.untuned())] == ["grpo/default/seed-0", "grpo/default/seed-1"]
    grpo, iapo = plan.methods
    assert (iapo.method, iapo.preset, grpo.preset) == ("iapo", "strong", "default")
    assert grpo.settings["default"]["assigner"]["class_path"].endswith(".GroupRelative")
    tuned = iapo.settings["assigner.alpha=0.5,warmup_steps=1"]
    assert (tuned["assigner"]["init_args"]["alpha"], tuned["warmup_steps"], tuned["steps"]) == (0.5, 1, 2)
    assert tuned["sampler"]["init_args"]["max_new_tokens"] == 24
    assert plan.evaluation.ks == (1, 2, 4)
    assert "seed" not in tuned
    assert "output" not in tuned


def test_overrides_beat_a_methods_file_which_beats_base(tmp_path):
    (tmp_path / "mine.yaml").write_text("group_size: 4\nprompts_per_step: 5\noutput: elsewhere\n")
    content = copy.deepcopy(GOOD)
    content["methods"]["grpo"] |= {"config": "mine.yaml", "group_size": 6}
    settings = read_plan(written(tmp_path, content)).methods[0].settings["default"]
    assert (settings["group_size"], settings["prompts_per_step"], settings["steps"]) == (6, 5, 2)


def test_the_rewards_of_the_evaluation_are_those_of_base(tmp_path):
    content = copy.deepcopy(GOOD)
    content["methods"]["grpo"]["rewards"] = {
        "accuracy": {"class_path": "iapo.rewards.ExactAnswer"},
        "format": {"class_path": "iapo.rewards.MathAnswer"},
    }
    plan = read_plan(written(tmp_path, content))
    assert list(plan.methods[0].settings["default"]["rewards"]) == ["accuracy", "format"]
    assert list(plan.evaluation.settings["rewards"]) == ["accuracy"]
    content["evaluation"]["sampler.max_new_tokens"] = 30
    assert read_plan(written(tmp_path, content)).evaluation.settings["sampler"]["init_args"]["max_new_tokens"] == 30


def test_answers_are_asked_for_at_budgets_in_the_style_of_the_task(tmp_path):
    def forced(base: dict | None = None, **evaluation) -> ForcedAnswers | None:
        # Of components that need no answer themselves.
        content = {"base": GOOD["methods"]["grpo"] | (base or {}), "methods": {"grpo": {}}}
        content |= {"reporting": {"seeds": [0]}, "evaluation": evaluation}
        return read_plan(written(tmp_path, content)).evaluation.forced

    assert forced() == ForcedAnswers("</think><answer>", "</answer>", None, answer_tokens=32, samples=8)
    given = forced(budgets=[16, 4], answer_tokens=3, budget_samples=2)
    assert given == ForcedAnswers("</think><answer>", "</answer>", (0, 4, 16), answer_tokens=3, samples=2)
    texts = {"postfix": "<answer>", "closing": ""}
    assert forced(texts, budgets=[1]) == ForcedAnswers("<answer>", "", (0, 1), samples=8)
    assert forced({"postfix": ""}, budgets=[]) is None
    with pytest.raises(ValueError, match=r"evaluation\.postfix: got an empty text, so that nothing asks for an answer"):
        forced({"postfix": ""})


def changed(path: str, value: object) -> dict:
    content = copy.deepcopy(GOOD)
    *parents, last = path.split("/")
    section = content
    for parent in parents:
        section = section[parent]
    if value is None:
        del section[last]
    else:
        section[last] = value
    return content


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("bogus", {}, r"comparison\.bogus: unknown key"),
        ("methods", None, "methods: got none"),
        ("methods/base", {}, r"methods\.base: want another name"),
        ("methods/a b", {}, r"methods\.a b: want a name"),
        ("methods/..", {}, r"methods\.\.\.: want a name"),
        ("methods/" + "a" * 81, {}, "methods.*: want a name of at most 80"),
        ("methods/index.html", {}, r"methods\.index\.html: want another name"),
        ("methods/problems-test.json", {}, r"methods\.problems-test\.json: want another name"),
        ("methods/grpo/bogus", 3, r"methods\.grpo: --bogus is no flag"),
        ("methods/grpo/stpes", 3, r"methods\.grpo: --stpes is no flag; did you mean --steps\?"),
        ("methods/grpo/assigner", {"class_path": "GRPOs"}, r"methods\.grpo: assigner: no assigner is called 'GRPOs'"),
        (
            "methods/grpo/assigner",
            {"class_path": "GroupRelative", "init_args": {"scal": "none"}},
            r"methods\.grpo: assigner: iapo\.GroupRelative has no parameter 'scal'; did you mean scale\?",
        ),
        (
            "methods/grpo/task",
            "nothing.Task",
            r"methods\.grpo: task: there is no module 'nothing'; want one that is ins",
        ),
        ("methods/grpo/estimator", {"class_path": "no.such"}, r"methods\.grpo: estimator: there is no module 'no'"),
        ("methods/grpo/steps", "many", r"methods\.grpo: .*steps"),
        ("methods/grpo/steps", 3, r"methods\.grpo\.steps: got 3, want that of base, 2"),
        ("methods/grpo/data", "other.jsonl", r"methods\.grpo\.data: got 'other.jsonl'"),
        ("methods/grpo/seed", 3, r"methods\.grpo\.seed: a comparison sets it"),
        ("methods/grpo/preset", "strong", None),
        ("methods/iapo/method", "grpo", None),
        ("methods/iapo/loss.clip_low", -1, r"methods\.iapo: .*clip_low"),
        ("methods/iapo/tune", {"assigner.alpha": 0.1}, r"methods\.iapo\.tune\.assigner\.alpha: got 0\.1"),
        ("methods/iapo/tune", {"assigner.alpha": [0.1]}, r"methods\.iapo\.tune\.assigner\.alpha: got \[0\.1\]"),
        ("methods/iapo/tune", {"assigner.alpha": [0.1, -2.0]}, r"methods\.iapo: .*alpha"),
        ("methods/iapo/tune", {"assigner.alpha": [0.1, 0.1]}, r"methods\.iapo\.tune: the same values"),
        ("base/output", "x", r"base\.output: a comparison sets it"),
        ("base/model", "./nope", r"base: model: \./nope cannot be loaded"),
        ("base/bogus", 1, r"base: --bogus is no flag"),
        ("tuning", {}, r"tuning\.seeds: got none, but methods\.iapo\.tune needs them"),
        ("tuning/bogus", 1, r"tuning\.bogus: unknown key"),
        ("tuning/tolerance", 2, r"tuning\.tolerance: got 2"),
        ("tuning/eval_problems", 0, r"tuning\.eval_problems: got 0"),
        ("reporting", None, r"reporting\.seeds: got None"),
        ("reporting/seeds", [], r"reporting\.seeds: got \[\]"),
        ("reporting/seeds", [2**63], r"reporting\.seeds: got \[9223372036854775808\].* below 2\^63"),
        ("reporting/seeds", [0, 0], r"reporting\.seeds: got \[0, 0\]"),
        ("reporting/seeds", [0, 100], r"reporting\.seeds: \[100\] are tuning\.seeds too"),
        ("reporting/reference", "nobody", r"reporting\.reference: got 'nobody'"),
        ("evaluation/ks", [1, 5], r"evaluation\.ks: got \[1, 5\]"),
        ("evaluation/ks", [True], r"evaluation\.ks: got \[True\]"),
        ("evaluation/seed", 2**63, r"evaluation\.seed: got 9223372036854775808, want an integer .* below 2\^63"),
        ("evaluation/seed", True, r"evaluation\.seed: got True"),
        ("base/steps", date(2026, 1, 2), r"base\.steps: got datetime\.date\(2026, 1, 2\), want a text \(in quotes\)"),
        ("base/steps", b"4", r"base\.steps: got b'4', want"),
        ("methods/iapo/tune", {"assigner.alpha": [{1}, 2]}, r"methods\.iapo\.tune\.assigner\.alpha\.0: got \{1\}"),
        ("evaluation/samples", "4", r"evaluation\.samples: got '4'"),
        ("evaluation/rewards", "NoSuchReward", r"evaluation: "),
        ("evaluation/budgets", "all", r"evaluation\.budgets: got 'all', want auto or a list"),
        ("evaluation/budgets", [4, True], r"evaluation\.budgets: got \[4, True\]"),
        ("evaluation/budgets", [4, -1], r"evaluation\.budgets: got \(4, -1\)"),
        ("evaluation/budget_samples", 0, r"evaluation\.budget_samples: got 0"),
        ("evaluation/answer_tokens", "few", r"evaluation\.answer_tokens: got 'few'"),
        ("processes/at_once", True, r"processes\.at_once: got True"),
        ("processes/workers", 2, r"processes\.workers: unknown key"),
    ],
)
def test_bad_plans_name_their_key(tmp_path, path, value, message):
    file = written(tmp_path, changed(path, value))
    if message is None:
        read_plan(file)
    else:
        with pytest.raises(ValueError, match=f"(?s){message}"):
            read_plan(file)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("base: {steps: 2026-13-45}", "comparison: .* is no YAML: month must be in 1..12"),
        ("base: {steps: &a [*a]}", r"base\.steps\.0: is inside of itself"),
        ("base: &b {x: {y: *b}}", r"base\.x\.y: is inside of itself"),
    ],
)
def test_what_yaml_reads_as_something_else_is_named(tmp_path, text, message):
    (tmp_path / "plan.yaml").write_text(text)
    with pytest.raises(ValueError, match=message):
        read_plan(tmp_path / "plan.yaml")


def test_labels_must_differ(tmp_path):
    content = changed("methods/iapo/method", "grpo")
    content["methods"]["iapo"]["preset"] = "default"
    with pytest.raises(ValueError, match=r"methods\.grpo: another entry has method 'grpo' and preset 'default'"):
        read_plan(written(tmp_path, content))


def test_missing_files_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"methods\.grpo\.config: no file none\.yaml"):
        read_plan(written(tmp_path, changed("methods/grpo/config", "none.yaml")))
    with pytest.raises(FileNotFoundError, match="comparison: no file"):
        read_plan(tmp_path / "none.yaml")
    (tmp_path / "broken.yaml").write_text("a: [")
    with pytest.raises(ValueError, match="is no YAML"):
        read_plan(tmp_path / "broken.yaml")


def test_settings_are_folders_of_different_names():
    long = {"rewards": {"a": "x" * 200}}
    other = {"rewards": {"a": "x" * 199 + "y"}}
    names = [setting_name(chosen) for chosen in (long, other, {"a": "b/c"}, {"a": "b_c"}, {"a": "../b"})]
    assert len(set(names)) == len(names)
    assert all("/" not in name and len(name) < 100 for name in names)


def test_the_embedded_task_has_a_split_for_each_purpose(tmp_path):
    settings = read_plan(written(tmp_path, GOOD)).evaluation.settings
    chosen = choose_problems(settings, {"validation": 20, "test": 30}, 0, (0, 1))
    assert {split_of(row["prompt"]) for row in chosen["validation"]} == {"validation"}
    assert {split_of(row["prompt"]) for row in chosen["test"]} == {"test"}
    assert len(chosen["test"]) == 30


def test_the_task_is_named_after_the_data_by_default(tmp_path):
    assert read_plan(written(tmp_path, GOOD)).task == "embedded"
    assert read_plan(written(tmp_path, {**GOOD, "task": "sums"})).task == "sums"


def test_a_task_of_ones_own_is_the_data_of_all_methods(tmp_path):
    data = tmp_path / "problems.jsonl"
    data.write_text("".join(json.dumps({"prompt": f"{i}", "answer": "1"}) + "\n" for i in range(60)))
    task = {"class_path": "iapo.tasks.FileTask", "init_args": {"path": str(data)}}
    plan = read_plan(written(tmp_path, changed("base", {**GOOD["base"], "task": task})))
    assert plan.task == plan.data == str(data)
    assert {settings["eval_problems"] for method in plan.methods for settings in method.settings.values()} == {16}
    with pytest.raises(ValueError, match=r"methods\.grpo\.task: got .*FileTask.* want that of base, None"):
        read_plan(written(tmp_path, changed("methods/grpo/task", task)))


def test_problems_of_a_file_are_held_out_of_training(tmp_path):
    data = tmp_path / "problems.jsonl"
    data.write_text("".join(json.dumps({"prompt": f"{i}+1=", "answer": str(i + 1)}) + "\n" for i in range(60)))
    content = changed("base", {**GOOD["base"], "data": str(data), "prompt_template": "Work out {prompt}"})
    plan = read_plan(written(tmp_path, content))
    for method in plan.methods:
        assert {settings["eval_problems"] for settings in method.settings.values()} == {16}
    chosen = choose_problems(plan.evaluation.settings, {"validation": 8, "test": 8}, 0, (0, 1, 100))
    tuning, reporting = ({row["prompt"] for row in chosen[split]} for split in ("validation", "test"))
    trained = {row["prompt"] for row in hold_out(load_rows(FileTask(str(data))), 16)[0]}
    assert len(tuning) == len(reporting) == 8
    assert not tuning & reporting
    assert not (tuning | reporting) & trained
    assert len(trained) == 44


@pytest.mark.parametrize("where", ["base", "methods/grpo"])
def test_another_number_of_held_out_problems_is_refused(where, tmp_path):
    data = tmp_path / "problems.jsonl"
    data.write_text("".join(json.dumps({"prompt": f"{i}+1=", "answer": str(i + 1)}) + "\n" for i in range(60)))
    content = changed("base", {**GOOD["base"], "data": str(data)})
    (content if where == "base" else content["methods"])[where.rpartition("/")[2]]["eval_problems"] = 4
    with pytest.raises(ValueError, match=rf"{where.replace('/', '.')}\.eval_problems: got 4, .* comparison, 16 "):
        read_plan(written(tmp_path, content))


@pytest.mark.parametrize("where", ["config", "tune"])
def test_nor_may_a_file_of_settings_or_a_tuned_value_hold_out_others(where, tmp_path):
    data, file = tmp_path / "problems.jsonl", tmp_path / "mine.yaml"
    data.write_text("".join(json.dumps({"prompt": f"{i}+1=", "answer": str(i + 1)}) + "\n" for i in range(60)))
    file.write_text("eval_problems: 4\n")
    content = changed("base", {**GOOD["base"], "data": str(data)})
    content["methods"]["grpo"][where] = str(file) if where == "config" else {"eval_problems": [16, 4]}
    with pytest.raises(ValueError, match=r"methods\.grpo\.eval_problems: got 4, .* comparison, 16 "):
        read_plan(written(tmp_path, content))
    file.write_text("eval_problems: 16\n")
    if where == "config":
        read_plan(written(tmp_path, content))


def test_generated_problems_are_none_that_a_run_trains_on(tmp_path):
    pytest.importorskip("reasoning_gym")
    content = changed("base", {**GOOD["base"], "data": "reasoning-gym:chain_sum", "limit": 40})
    settings = read_plan(written(tmp_path, content)).evaluation.settings
    chosen = choose_problems(settings, {"validation": 5, "test": 6}, 0, (0, 1))
    prompts = [row["prompt"] for split in ("validation", "test") for row in chosen[split]]
    assert len(set(prompts)) == 11
    trained = {
        row["prompt"] for seed in (0, 1) for row in load_rows(ReasoningGymTask("chain_sum"), limit=40, seed=seed)
    }
    assert not trained & set(prompts)


def test_too_few_problems_are_an_error(tmp_path):
    data = tmp_path / "problems.jsonl"
    data.write_text("".join(json.dumps({"prompt": f"{i}", "answer": "1"}) + "\n" for i in range(10)))
    content = changed("base", {**GOOD["base"], "data": str(data)})
    settings = read_plan(written(tmp_path, content)).evaluation.settings
    with pytest.raises(ValueError, match="eval_problems: got 16, want fewer than the 10"):
        choose_problems(settings, {"validation": 8, "test": 8}, 0, (0,))


@pytest.mark.parametrize("path", sorted(Path("configs/compare").glob("*.yaml")), ids=lambda path: path.stem)
def test_the_ready_comparisons_can_be_read(path, tmp_path, monkeypatch):
    path, model = path.resolve(), yaml.safe_load(path.read_text()).get("base", {}).get("model", "embedded")
    monkeypatch.chdir(tmp_path)
    if model != "embedded":  # made by the command in the file's first line, at a path from where it is called
        Path(model).parent.mkdir(parents=True)
        Path(model).symlink_to(model_path())
    assert read_plan(path).reporting_seeds


def test_runs_that_tune_are_not_cut_at_budgets(tmp_path):
    plan = read_plan(written(tmp_path, GOOD))
    write_problems(plan, tmp_path, instantiate(plan.evaluation.settings)["rewards"])
    validation, test = (json.loads(problems_path(tmp_path, split).read_text()) for split in ("validation", "test"))
    assert "forced" not in validation
    assert test["forced"] == {
        **{"postfix": "</think><answer>", "closing": "</answer>", "budgets": None},
        **{"answer_tokens": 32, "samples": 8},
    }


def test_only_what_an_evaluation_depends_on_changes_it(tmp_path):
    def evaluated_on(**base) -> str:
        content = {"base": GOOD["base"] | base, "methods": {"grpo": {}}, "reporting": {"seeds": [0]}}
        plan = read_plan(written(tmp_path, content | {"evaluation": GOOD["evaluation"]}))
        write_problems(plan, tmp_path, instantiate(plan.evaluation.settings)["rewards"])
        return file_digest(problems_path(tmp_path, "test"))

    before = evaluated_on()
    assert evaluated_on(**{"optimizer.lr": 0.5}) == before
    assert evaluated_on(**{"sampler.max_new_tokens": 23}) != before
