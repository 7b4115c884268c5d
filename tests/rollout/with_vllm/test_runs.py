"""The loop and the command line with the sampler: the gap is logged, weights correct for it, a run resumes bitwise."""

import json

import pytest
import torch
from engines import needs_vllm, sampler_of, tokenizer, wide

from iapo.advantages import InformationAware
from iapo.cli import main
from iapo.embedded import generate_problems, rows
from iapo.embedded.heads import main as write_wide
from iapo.estimators import AnswerLikelihood
from iapo.losses import ClippedPolicyLoss
from iapo.optimizers import ClippedOptimizer
from iapo.rewards import ExactAnswer
from iapo.training.components import Components, UpdateSettings
from iapo.training.loop import update

pytestmark = needs_vllm


def updated(loss, steps=1, **settings):
    """The metrics of updates of the wide embedded model."""
    torch.manual_seed(0)
    model, names = wide(), tokenizer()
    components = Components(
        sampler_of(model, 64, **settings),
        {"exact": ExactAnswer()},
        AnswerLikelihood.from_text(names, temperature=settings.get("temperature", 1.0)),
        InformationAware(),
        loss,
        ClippedOptimizer(torch.optim.AdamW(model.parameters(), lr=1e-3)),
    )
    problems = rows(generate_problems(4, seed=1))
    return [update(problems, model, names, components, UpdateSettings(4, 8)) for _ in range(steps)]


def test_the_gap_is_logged_and_is_rounding_after_every_update():
    for metrics in updated(ClippedPolicyLoss(), steps=3):
        assert metrics["sampling/logp_difference"] <= metrics["sampling/logp_difference_max"] < 1e-4


def test_a_gap_of_precision_shows_and_is_corrected():
    (metrics,) = updated(ClippedPolicyLoss(sampler_ratio_cap=2.0), dtype="bfloat16")
    assert 1e-4 < metrics["sampling/logp_difference"] < 0.2
    assert metrics["sampling/importance_sampling_ratio/mean"] == pytest.approx(1.0, abs=0.2)
    assert metrics["sampling/importance_sampling_ratio/mean"] != 1.0


def test_without_log_probabilities_there_is_no_gap_and_no_correction():
    (metrics,) = updated(ClippedPolicyLoss(), temperature=0.7, top_p=0.9)
    assert "sampling/logp_difference" not in metrics
    with pytest.raises(ValueError, match="sampler_logprobs: got None"):
        updated(ClippedPolicyLoss(sampler_ratio_cap=2.0), temperature=0.7, top_p=0.9)


def lines(folder):
    """The metrics of a run without its times."""
    found = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in line.items() if "time" not in name} for line in found]


def test_a_run_of_the_command_line_resumes_bit_for_bit(tmp_path, capsys):
    write_wide([str(tmp_path / "wide")])

    sampler = {"max_new_tokens": 32, "enforce_eager": True, "cache_gib": 0.0625}
    settings = {"prompts_per_step": 2, "group_size": 4, "eval_problems": 2, "eval_samples": 1, "diagnose": 2}
    settings |= {"loss": {"sampler_ratio_cap": 2}, "optimizer": {"lr": 1e-3}}
    settings["sampler"] = {"class_path": "VLLMSampler", "init_args": sampler}
    (tmp_path / "run.yaml").write_text(json.dumps(settings))

    def run(folder, steps, *more):
        places = ["--model", str(tmp_path / "wide"), "--output", str(tmp_path / folder)]
        main(["train", "--config", str(tmp_path / "run.yaml"), *places, "--steps", str(steps), *more])

    run("whole", 2)
    run("parts", 1)
    run("parts", 2, "--resume")
    capsys.readouterr()
    assert len(lines(tmp_path / "whole")) == 2
    assert lines(tmp_path / "parts") == lines(tmp_path / "whole")
