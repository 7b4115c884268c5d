"""Prompts that an evaluation or a comparison refuses for their length before anything is sampled."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from iapo.cli import main
from iapo.comparison.running.problems import write_problems
from iapo.comparison.running.read_plan import read_plan
from iapo.comparison.running.settings import instantiate
from iapo.policy import load_model

GRPO = {"assigner": "GroupRelative", "estimator": "NoInformation"}
ANSWERS = {"assigner": "InformationAware", "estimator": "AnswerLikelihood"}


@pytest.fixture
def longrope(tmp_path: Path) -> str:
    """The embedded model with rotations that turn behind 30 tokens of up to 1000."""
    model, tokenizer = load_model("embedded")
    config = model.config
    factors = [1.0] * (config.hidden_size // config.num_attention_heads // 2)
    config.max_position_embeddings = 1000
    config.rope_parameters = {
        **{"rope_type": "longrope", "rope_theta": 1e4, "original_max_position_embeddings": 30},
        **{"short_factor": factors, "long_factor": [2 * each for each in factors]},
    }
    model.save_pretrained(tmp_path / "longrope")
    tokenizer.save_pretrained(tmp_path / "longrope")
    return str(tmp_path / "longrope")


def test_an_evaluation_samples_no_batch_that_turns(
    longrope: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def evaluate(*_: Any, **__: Any) -> None:
        raise InterruptedError("it evaluates")

    monkeypatch.setattr("iapo.commands.evaluate.evaluate", evaluate)
    command = ["eval", "--models", f"[{longrope}]", "--problems", "2", "--samples", "1", "--ks", "[1]", "--limit", "8"]
    tags = ["--answer_style", "tags", "--reasoning_style", "tags"]
    assert main([*command, *tags, "--sampler.max_new_tokens", "40"]) == 1
    assert "30 positions up to which the model rotates its keys by the same angles" in capsys.readouterr().err
    alone = ["--sampler", "iapo.rollout.TransformersSampler"]
    assert main([*command, *tags, *alone, "--sampler.max_new_tokens", "40"]) == 1
    assert "it evaluates" in capsys.readouterr().err


def problems_written(
    folder: Path, base: dict[str, Any], evaluation: dict[str, Any], most: int, method: dict[str, Any] = GRPO
) -> None:
    """The problems of a comparison whose second method, another one, samples at most ``most`` tokens."""
    content = {
        "base": {"steps": 1, "limit": 64} | base,
        "methods": {
            "grpo": GRPO,
            "longer": method | {"sampler.max_new_tokens": most},
        },
        "reporting": {"seeds": [0, 1]},
        "evaluation": {"problems": 6, "samples": 1, "ks": [1], "budgets": []} | evaluation,
    }
    (folder / "compare.yaml").write_text(yaml.safe_dump(content))
    plan = read_plan(folder / "compare.yaml")
    write_problems(plan, folder, instantiate(plan.evaluation.settings)["rewards"])


def test_a_comparison_finds_what_one_of_its_trainings_would_refuse(tmp_path: Path) -> None:
    base = {"sampler.max_new_tokens": 40}
    problems_written(tmp_path, base, {}, 40)
    with pytest.raises(ValueError, match=r"data: the prompt of row .* with 10000 that may follow it does not fit the "):
        problems_written(tmp_path, base, {}, 10_000)


@pytest.mark.parametrize(
    ("method", "more"),
    [
        (ANSWERS, "</think><answer></answer>"),
        (ANSWERS | {"answer": "reference"}, "</think><answer>7</answer>"),
        (ANSWERS | {"assigner": "GroupRelative"}, ""),
    ],
)
def test_what_a_training_puts_behind_completions_counts(tmp_path: Path, method: dict[str, str], more: str) -> None:
    follow = 10_000 + len(load_model("embedded")[1].encode(more))
    with pytest.raises(ValueError, match=rf"the prompt of row .* with {follow} that may follow it does not fit the "):
        problems_written(tmp_path, {"sampler.max_new_tokens": 40}, {}, 10_000, method)


def test_a_comparison_evaluates_no_batch_that_turns(longrope: str, tmp_path: Path) -> None:
    base, turns = (
        {"model": longrope, "sampler.max_new_tokens": 4},
        "30 positions up to which the model rotates its keys",
    )
    problems_written(tmp_path, base, {}, 5)
    with pytest.raises(ValueError, match=turns):
        problems_written(tmp_path, base, {}, 40)
    longer = {"sampler.max_new_tokens": 40}
    with pytest.raises(ValueError, match=turns):
        problems_written(tmp_path, base, longer, 5)
    problems_written(tmp_path, base, {"sampler": "iapo.rollout.TransformersSampler"} | longer, 5)
