"""The real command line in processes of its own: train, kill, resume, signals, eval, inspect, and what it refuses."""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from itertools import accumulate
from pathlib import Path

import pytest

from iapo.cli import COMMANDS, main
from iapo.commands.flags import parser_of
from iapo.embedded import generate_problems, rows
from iapo.training.configuration.problem_source import ProblemSource
from iapo.training.configuration.settings import RunSettings

TINY = [
    *("--steps", "4", "--prompts_per_step", "4", "--group_size", "2", "--limit", "64"),
    *("--sampler.max_new_tokens", "24", "--eval_problems", "8", "--eval_samples", "2", "--checkpoint_every", "2"),
]


def command(*arguments: str, **options) -> subprocess.CompletedProcess:
    environment = os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    line = [sys.executable, "-m", "iapo.cli", *arguments]
    return subprocess.run(line, capture_output=True, text=True, env=environment, timeout=300, **options)


@pytest.fixture
def call(capsys):
    """The command line in this process, where nothing is killed: its exit code, and what it printed."""

    def call(*arguments: str) -> subprocess.CompletedProcess:
        try:
            code = main(arguments)
        except SystemExit as ended:
            code = ended.code
        return subprocess.CompletedProcess(arguments, code, *capsys.readouterr())

    return call


def weights(folder: Path) -> str:
    return hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()


def steps(folder: Path) -> list[dict]:
    """The logged metrics without what a clock measured."""
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in row.items() if "time" not in name} for row in rows]


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    """A run that nothing interrupted."""
    folder = tmp_path_factory.mktemp("run") / "whole"
    done = command("train", "--output", str(folder), *TINY)
    assert done.returncode == 0, done.stderr
    return folder


def test_a_run_leaves_everything_behind(whole):
    report = (whole / "report.md").read_text()
    for word in ("accuracy", "length", "ratio@1", "95% interval", "seconds per update"):
        assert word in report
    assert (whole / "curves.png").read_bytes()[:4] == (whole / "before_after.png").read_bytes()[:4] == b"\x89PNG"
    logged = steps(whole)
    assert [row["step"] for row in logged] == [1, 2, 3, 4]
    wanted = {"reward", "reward_std", "frac_reward_zero_std", "rewards/accuracy/mean", "completions/mean_length"}
    wanted |= {"completions/clipped_ratio", "entropy", "num_tokens", "grad_norm", "learning_rate", "loss"}
    wanted |= {"clip_ratio/low_mean", "clip_ratio/high_mean", "clip_ratio/region_mean", "iapo/information_per_token"}
    assert wanted <= set().union(*logged)
    assert [row["iapo/tokens_sampled"] for row in logged] == list(accumulate(row["num_tokens"] for row in logged))
    assert json.loads((whole / "config.json").read_text())["group_size"] == 2
    files = {path.suffix for path in (whole / "checkpoint-4").iterdir()}
    assert files <= {".json", ".safetensors", ".jinja", ".txt"}


def test_a_finished_run_is_not_overwritten(whole, call):
    again = call("train", "--output", str(whole), *TINY)
    assert again.returncode == 1
    assert "holds a finished run already" in again.stderr


def test_more_steps_after_a_finished_run_go_on(whole, tmp_path, call):
    folder = tmp_path / "run"
    assert call("train", "--output", str(folder), *TINY, "--steps", "2").returncode == 0
    refused = call("train", "--output", str(folder), *TINY)
    assert refused.returncode == 1
    assert "go on with --resume (a finished run with more --steps)" in refused.stderr
    assert (folder / "report.md").exists()
    done = call("train", "--output", str(folder), "--resume", *TINY)
    assert done.returncode == 0, done.stderr
    assert steps(folder) == steps(whole)
    assert weights(folder / "checkpoint-4") == weights(whole / "checkpoint-4")
    assert "updates: 4" in (folder / "report.md").read_text()
    again = call("train", "--output", str(folder), "--resume", *TINY)
    assert (again.returncode, steps(folder)) == (0, steps(whole)), "nothing is left to do"
    told = [line for line in again.stderr.splitlines() if "nothing is left to train" in line]
    assert len(told) == 1
    assert "has 4 updates" in told[0]
    assert "not less than --steps 4" in told[0]
    assert "nothing is left" not in done.stderr


@pytest.fixture(scope="module")
def killed(tmp_path_factory) -> Path:
    """A run that was killed in its third or fourth step."""
    folder = tmp_path_factory.mktemp("killed") / "run"
    environment = os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    line = [sys.executable, "-m", "iapo.cli", "train", "--output", str(folder), *TINY]
    process = subprocess.Popen(line, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    metrics = folder / "metrics.jsonl"
    while process.poll() is None and (not metrics.exists() or len(metrics.read_text().splitlines()) < 3):
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert len(metrics.read_text().splitlines()) >= 3
    return folder


@pytest.mark.parametrize("saved", [True, False], ids=["", "before the first checkpoint"])
def test_killed_and_resumed_it_is_the_same_run(whole, killed, tmp_path, call, saved):
    folder = Path(shutil.copytree(killed, tmp_path / "run"))
    if not saved:
        for checkpoint in folder.glob("checkpoint-*"):
            shutil.rmtree(checkpoint)
    resumed = call("train", "--output", str(folder), "--resume", *TINY)
    assert resumed.returncode == 0, resumed.stderr
    assert steps(folder) == steps(whole)
    assert weights(folder / "checkpoint-4") == weights(whole / "checkpoint-4")


def test_a_signal_finishes_the_step_saves_and_says_so(whole, tmp_path):
    folder = tmp_path / "stopped"
    environment = os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    line = [sys.executable, "-m", "iapo.cli", "train", "--output", str(folder), *TINY, "--steps", "400"]
    process = subprocess.Popen(line, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    for _ in range(3000):
        if (folder / "metrics.jsonl").exists() and (folder / "metrics.jsonl").read_text():
            break
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    assert process.wait(300) == 75
    last = steps(folder)[-1]["step"]
    assert last < 400
    assert (folder / f"checkpoint-{last}" / "model.safetensors").exists()
    assert steps(folder)[:4] == steps(whole)[: len(steps(folder)[:4])]


def test_a_token_budget_ends_a_run_and_resumes_to_the_bit(tmp_path, call):
    budget = ("--resample", "2", "--steps", "50", "--max_tokens", "1600")
    whole, halves = tmp_path / "whole", tmp_path / "halves"
    done = call("train", "--output", str(whole), *TINY, *budget)
    assert done.returncode == 0, done.stderr
    logged = steps(whole)
    assert logged[-2]["iapo/tokens_sampled"] < 1600 <= logged[-1]["iapo/tokens_sampled"]
    assert any(row["iapo/resample/rounds"] for row in logged[:2]), "prompts were drawn that no update is named after"
    assert (whole / f"checkpoint-{logged[-1]['step']}").exists()
    assert f"tokens sampled: {logged[-1]['iapo/tokens_sampled']}" in (whole / "report.md").read_text()
    assert call("train", "--output", str(halves), *TINY, *budget, "--steps", "2").returncode == 0
    (halves / "report.md").unlink()
    resumed = call("train", "--output", str(halves), "--resume", *TINY, *budget)
    assert resumed.returncode == 0, resumed.stderr
    assert steps(halves) == logged
    last = f"checkpoint-{logged[-1]['step']}"
    assert weights(halves / last) == weights(whole / last)


def test_resuming_with_other_settings_is_refused(tmp_path, call):
    folder = tmp_path / "run"
    assert call("train", "--output", str(folder), *TINY, "--steps", "2").returncode == 0
    (folder / "report.md").unlink()
    changed = call("train", "--output", str(folder), "--resume", *TINY, "--group_size", "4")
    assert changed.returncode == 1
    assert "group_size" in changed.stderr


def test_eval_compares_checkpoints(whole, tmp_path, call):
    output = tmp_path / "eval.json"
    models = json.dumps(["embedded", str(whole / "checkpoint-4")])
    done = call(
        *("eval", "--models", models, "--problems", "8", "--samples", "4", "--ks", "[1,4]", "--limit", "64"),
        *("--sampler.max_new_tokens", "24", "--budget_samples", "1", "--output", str(output)),
    )
    assert done.returncode == 0, done.stderr
    assert "| pass@4 |" in done.stdout
    content = json.loads(output.read_text())
    budgets, results = content["settings"]["budgets"], content["results"]
    assert set(results) == {"embedded", str(whole / "checkpoint-4")}
    assert budgets[0] == 0
    wanted = {"accuracy", "length", "truncated", "greedy_accuracy", "ratio@4", "budget_area"}
    for measures in results.values():
        assert wanted | {f"accuracy_at_budget_{budget}" for budget in budgets} <= set(measures)


def test_eval_replaces_only_its_own_files(tmp_path, call):
    """The texts beside sums.json took the place of the data in sums.jsonl."""
    rows = "".join(json.dumps({"prompt": f"{i}+1=", "answer": str(i + 1)}) + "\n" for i in range(4))
    (tmp_path / "sums.jsonl").write_text(rows)
    flags = "--problems=2", "--samples=1", "--sampler.max_new_tokens=4", "--budgets=[]", "--answer_style=AnswerTags"
    evaluate = "eval", "--data", str(tmp_path / "sums.jsonl"), *flags
    refused = call(*evaluate, "--output", str(tmp_path / "sums.json"))
    assert refused.returncode == 1
    assert "sums.jsonl is there and is none of iapo eval, whose numbers or texts would take its place" in refused.stderr
    assert (tmp_path / "sums.jsonl").read_text() == rows
    (tmp_path / "run.json").write_text('{"correct": []}')
    assert call(*evaluate, "--output", str(tmp_path / "run.json")).returncode == 1
    for _ in range(2):
        assert call(*evaluate, "--output", str(tmp_path / "own.json")).returncode == 0
    (tmp_path / "own.json").unlink()
    assert call(*evaluate, "--output", str(tmp_path / "own.json")).returncode == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--postfix", ""), "postfix: got an empty text"),
        (("--budgets", "[3,-1]"), "budgets"),
        (("--answer_tokens", "0"), "answer_tokens"),
    ],
)
def test_eval_refuses_budgets_that_it_cannot_ask_at(arguments, message, call):
    done = call("eval", "--problems", "2", "--samples", "1", "--ks", "[1]", *arguments)
    assert done.returncode in (1, 2)
    assert message in done.stderr


def test_eval_measures_no_budget_unless_it_is_wanted(tmp_path, call):
    small = ["eval", "--problems", "2", "--samples", "1", "--ks", "[1]", "--limit", "8"]
    small += ["--sampler.max_new_tokens", "9"]
    output = tmp_path / "eval.json"
    assert "budget" not in call(*small, "--budgets", "[]", "--postfix", "", "--output", str(output)).stdout
    assert "budgets" not in json.loads(output.read_text())["settings"]
    assert "| accuracy_at_budget_4 |" in call(*small, "--budgets", "[4]").stdout


def test_inspect_prints_and_writes_a_page(tmp_path, call):
    page = tmp_path / "page.html"
    done = call("inspect", "--samples", "2", "--html", str(page), "--sampler.max_new_tokens", "24")
    assert done.returncode == 0, done.stderr
    assert "nats" in done.stdout
    assert "</html>" in page.read_text(encoding="utf-8")
    refined = ("--estimator", "Refined", "--estimator.estimator", "EarlyExitEntropy")
    own = call("inspect", "--prompt", "3+8=", "--samples", "1", *refined)
    assert own.returncode == 0, own.stderr
    assert "H(answer | prefix)" in own.stdout


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--bogus", "3"], 2, "bogus"),
        (["--estimator", "iapo.NoSuch"], 2, "estimator"),
        (["--assigner.alpha", "-1"], 1, "alpha: got -1.0"),
        (["--data", "none.jsonl"], 1, "no file none.jsonl"),
        (["--prompt_column", "question"], 1, "no column ['question'], it has ['answer', 'difficulty', 'prompt']"),
        (["--group_size", "1"], 2, "group_size"),
        (["--max_tokens", "0"], 2, "max_tokens"),
        (["--resample", "-1"], 2, "resample"),
        (["--prompts_per_step", "100000"], 1, "prompts_per_step: got 100000"),
        (
            ["--rewards", "{gym: {class_path: iapo.rewards.ReasoningGymAnswer, init_args: {task: x}}}"],
            1,
            "'gym' needs the column",
        ),
        (["--device", "cuda"], 1, "no CUDA device"),
        (["--sampler.temperature", "0"], 1, "sampler.temperature: got 0.0"),
    ],
)
def test_bad_settings_are_named_before_any_work(arguments, code, message, tmp_path, call):
    done = call("train", "--output", str(tmp_path / "run"), "--limit", "64", "--eval_problems", "8", *arguments)
    assert done.returncode == code, done.stderr
    assert message in done.stderr
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("program", ["train", "eval", "compare"])
def test_references_that_cannot_be_read_are_named_before_any_work(program, tmp_path, call):
    problems = [{"prompt": f"{i} + 1 = ?", "answer": str(i + 1)} for i in range(20)]
    problems[7]["answer"] = "2 + ("
    data, output = tmp_path / "data.jsonl", tmp_path / "out"
    data.write_text("".join(json.dumps(row) + "\n" for row in problems))
    plan = tmp_path / "plan.yaml"
    plan.write_text(
        f"base: {{data: {data}, rewards: {{accuracy: {{class_path: iapo.rewards.MathAnswer}}}}}}\n"
        "methods: {grpo: {assigner: GroupRelative, estimator: NoInformation}}\n"
        "reporting: {seeds: [0]}\nevaluation: {problems: 18, samples: 1}\n"
    )
    arguments = {
        "train": ["--data", str(data), "--output", str(output)],
        "eval": ["--data", str(data)],
        "compare": [str(plan), "--output", str(output)],
    }
    done = call(program, *arguments[program])
    assert done.returncode == 1
    assert "reward 'accuracy' cannot read the references of 1 of" in done.stderr
    assert "7 + 1 = ?" in done.stderr
    assert "'answer': '2 + ('" in done.stderr
    assert program == "compare" or f"20 rows, first that of row 7 (line 8) of {data}:" in done.stderr


@pytest.mark.parametrize(
    ("name", "value", "wanted"),
    [
        *((name, 0, ">0") for name in ("steps", "prompts_per_step", "micro_batch", "epochs")),
        *((name, 0, ">0") for name in ("eval_problems", "eval_samples", "checkpoint_every", "keep_checkpoints")),
        ("group_size", 1, "≥2"),
        ("max_tokens", 0, ">0"),
        ("limit", 0, ">0"),
        ("warmup_steps", -1, "≥0"),
        ("resample", -1, "≥0"),
        ("diagnose", -1, "≥0"),
        ("max_grad_norm", 0.0, ">0 and finite"),
    ],
)
def test_a_number_out_of_range_is_named_before_any_work(name, value, wanted, tmp_path, call):
    done = call("train", "--output", str(tmp_path / "run"), f"--{name}", str(value))
    assert done.returncode == 2
    number = "a number" if name == "max_grad_norm" else "a whole number"
    null = " or null" if name in ("max_tokens", "limit") else ""
    assert f"{name}: got {value}, want {number} {wanted}{null}; iapo train --help" in done.stderr
    assert not (tmp_path / "run").exists()
    kind = ProblemSource if name == "limit" else RunSettings
    with pytest.raises(ValueError, match=f"{name}: got {value}, want an? .*{wanted}"):
        kind(**{name: value})


@pytest.mark.parametrize(
    "arguments", [("eval", "--problems", "0"), ("eval", "--samples", "0"), ("inspect", "--samples", "0")]
)
def test_other_commands_name_a_number_out_of_range(arguments, call):
    done = call(*arguments)
    assert done.returncode == 2
    assert "want a whole number >0" in done.stderr


def test_the_home_is_found_where_a_shell_leaves_it(tmp_path, call, monkeypatch):
    """A folder named ~ was made in the current one: of --output=~/run a shell leaves it so, and YAML does."""
    monkeypatch.setenv("HOME", str(tmp_path))
    found = []
    monkeypatch.setattr("iapo.training.run.train", lambda config: found.append(config.settings.output) or 0)
    monkeypatch.setattr("iapo.commands.compare.compare", lambda **parts: found.extend(parts.values()) or 0)
    assert call("train", "--output=~/run").returncode == 0
    assert call("compare", "~/plan.yaml", "--output=~/out").returncode == 0
    assert found == [f"{tmp_path}/run", f"{tmp_path}/plan.yaml", f"{tmp_path}/out", False, False]


@pytest.mark.filterwarnings("always::UserWarning")
def test_changed_data_is_refused_unless_overridden(tmp_path, call):
    data, run = tmp_path / "sums.jsonl", str(tmp_path / "run")
    problems = rows(generate_problems(64, seed=1))
    data.write_text("".join(json.dumps(row) + "\n" for row in problems))
    arguments = ("train", "--output", run, *TINY, "--data", str(data), "--diagnose", "0")
    assert call(*arguments, "--steps", "2").returncode == 0
    (tmp_path / "run" / "report.md").unlink()
    data.write_text("".join(json.dumps(row) + "\n" for row in problems[::-1]))
    refused = call(*arguments, "--resume")
    assert refused.returncode == 1
    assert "the rows are others" in refused.stderr
    assert "override" in refused.stderr
    resumed = call(*arguments, "--resume", "--override")
    assert resumed.returncode == 0, resumed.stderr
    assert "although these differ: data: other rows to train on" in resumed.stderr
    assert [row["step"] for row in steps(tmp_path / "run")] == [1, 2, 3, 4]


def test_print_config_round_trips_through_yaml(tmp_path, call):
    scheduled = Path(__file__).parents[1] / "configs" / "think_prune.yaml"
    printed = call("train", f"--config={scheduled}", "--print_config", "--assigner.shaping.limit.end", "1")
    assert printed.returncode == 0, printed.stderr
    assert "iapo.advantages.GroupRelative" in printed.stdout
    (tmp_path / "settings.yaml").write_text(printed.stdout)
    done = call("train", "--config", str(tmp_path / "settings.yaml"), "--output", str(tmp_path / "run"), *TINY)
    assert done.returncode == 0, done.stderr
    logged = steps(tmp_path / "run")
    assert "iapo/information_per_token" not in logged[0]
    assert logged[0]["iapo/shaped_reward"] == logged[0]["reward"], "limit 64"
    assert logged[3]["iapo/shaped_reward"] == 0, "limit 17"


@pytest.mark.parametrize("config", [["--config", "iapo://iapo"], ["--config=iapo://iapo"]])
def test_flags_hold_in_front_of_a_file_of_settings_too(config, call):
    flags = ["--output", "mine", "--optimizer.lr", "0.5"]
    before, behind = (call("train", *order, "--print_config") for order in ([*flags, *config], [*config, *flags]))
    assert before.stdout == behind.stdout
    assert "output: mine" in before.stdout.splitlines()


@pytest.mark.parametrize("command", COMMANDS)
def test_flags_are_spelled_as_they_are_told(command):
    """With underscores, as settings in a file."""
    options = [option for action in parser_of(command)._actions for option in action.option_strings]
    assert not [option for option in options if "-" in option.removeprefix("--") and option != "-h"]
