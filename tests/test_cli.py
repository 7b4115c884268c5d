"""The real command line in processes of its own: train, kill, resume, signals, eval, inspect, and what it refuses."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

TINY = [
    *("--steps", "4", "--prompts_per_step", "4", "--group_size", "2", "--limit", "64"),
    *("--sampler.max_new_tokens", "24", "--eval_problems", "8", "--eval_samples", "2", "--checkpoint_every", "2"),
]


def command(*arguments: str, **options) -> subprocess.CompletedProcess:
    environment = os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    line = [sys.executable, "-m", "iapo.cli", *arguments]
    return subprocess.run(line, capture_output=True, text=True, env=environment, timeout=300, **options)


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
    rows = steps(whole)
    assert [row["step"] for row in rows] == [1, 2, 3, 4]
    wanted = {"reward", "reward_std", "frac_reward_zero_std", "rewards/accuracy/mean", "completions/mean_length"}
    wanted |= {"completions/clipped_ratio", "entropy", "num_tokens", "grad_norm", "learning_rate", "loss"}
    wanted |= {"clip_ratio/low_mean", "clip_ratio/high_mean", "clip_ratio/region_mean", "iapo/information_per_token"}
    assert wanted <= set(rows[0])
    assert json.loads((whole / "config.json").read_text())["group_size"] == 2
    files = {path.suffix for path in (whole / "checkpoint-4").iterdir()}
    assert files <= {".json", ".safetensors", ".jinja", ".txt"}


def test_a_finished_run_is_not_overwritten(whole):
    again = command("train", "--output", str(whole), *TINY)
    assert again.returncode == 1
    assert "holds a run already" in again.stderr


def test_killed_and_resumed_it_is_the_same_run_to_the_bit(whole, tmp_path):
    folder = tmp_path / "killed"
    environment = os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    line = [sys.executable, "-m", "iapo.cli", "train", "--output", str(folder), *TINY]
    process = subprocess.Popen(line, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    for _ in range(3000):
        if (folder / "metrics.jsonl").exists() and len((folder / "metrics.jsonl").read_text().splitlines()) >= 3:
            break
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    resumed = command("train", "--output", str(folder), "--resume", *TINY)
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
    assert process.wait(60) == 75
    last = steps(folder)[-1]["step"]
    assert last < 400
    assert (folder / f"checkpoint-{last}" / "model.safetensors").exists()
    assert steps(folder)[:4] == steps(whole)[: len(steps(folder)[:4])]


def test_resuming_with_other_settings_is_refused_field_by_field(whole, tmp_path):
    folder = tmp_path / "run"
    assert command("train", "--output", str(folder), *TINY, "--steps", "2").returncode == 0
    (folder / "report.md").unlink()
    changed = command("train", "--output", str(folder), "--resume", *TINY, "--group_size", "4")
    assert changed.returncode == 1
    assert "group_size" in changed.stderr


def test_eval_compares_checkpoints(whole, tmp_path):
    output = tmp_path / "eval.json"
    models = json.dumps(["embedded", str(whole / "checkpoint-4")])
    done = command(
        *("eval", "--models", models, "--problems", "8", "--samples", "4", "--ks", "[1,4]", "--limit", "64"),
        *("--sampler.max_new_tokens", "24", "--output", str(output)),
    )
    assert done.returncode == 0, done.stderr
    assert "| pass@4 |" in done.stdout
    results = json.loads(output.read_text())["results"]
    assert set(results) == {"embedded", str(whole / "checkpoint-4")}
    assert {"accuracy", "length", "greedy_accuracy", "ratio@4"} <= set(results["embedded"])


def test_inspect_prints_and_writes_a_page(tmp_path):
    page = tmp_path / "page.html"
    done = command("inspect", "--samples", "2", "--html", str(page), "--sampler.max_new_tokens", "24")
    assert done.returncode == 0, done.stderr
    assert "nats" in done.stdout
    assert "</html>" in page.read_text(encoding="utf-8")
    own = command("inspect", "--prompt", "3+8=", "--samples", "1", "--estimator", "EarlyExitEntropy")
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
        (["--group_size", "1"], 1, "group_size: got 1"),
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
def test_bad_settings_are_named_before_any_work(arguments, code, message, tmp_path):
    done = command("train", "--output", str(tmp_path / "run"), "--limit", "64", "--eval_problems", "8", *arguments)
    assert done.returncode == code, done.stderr
    assert message in done.stderr
    assert not (tmp_path / "run").exists()


def test_print_config_round_trips_through_yaml(tmp_path):
    printed = command("train", "--print_config", "--assigner", "GroupRelative", "--estimator", "NoInformation")
    assert printed.returncode == 0, printed.stderr
    assert "iapo.advantages.GroupRelative" in printed.stdout
    (tmp_path / "settings.yaml").write_text(printed.stdout)
    done = command("train", "--config", str(tmp_path / "settings.yaml"), "--output", str(tmp_path / "run"), *TINY)
    assert done.returncode == 0, done.stderr
    assert "iapo/information_per_token" not in steps(tmp_path / "run")[0]
