"""The settings of `iapo eval`: those that follow from others, and the limit of rewards."""

import time

import pytest

from iapo.commands.evaluate import evaluate_models
from iapo.commands.evaluation_settings import EvaluationConfig, EvaluationSettings
from iapo.rollout import CompactingSampler
from iapo.training.configuration.policy_source import PolicySource
from iapo.training.configuration.problem_source import ProblemSource


@pytest.mark.parametrize(
    ("samples", "ks"), [(1, [1]), (2, [1, 2]), (3, [1, 2]), (4, [1, 2, 4]), (32, [1, 2, 4, 8, 16, 32])]
)
def test_fewer_samples_need_no_other_ks(samples, ks):
    assert EvaluationSettings(samples=samples).measured_ks == ks
    assert EvaluationSettings(samples=samples, ks=[1]).measured_ks == [1]
    with pytest.raises(ValueError, match=rf"ks: got \[{samples + 1}\], want 1 to the number of samples, {samples}"):
        EvaluationSettings(samples=samples, ks=[1, samples + 1])


@pytest.mark.parametrize("models", [[], ["embedded", "embedded"]])
def test_there_is_a_model_and_none_twice(models):
    with pytest.raises(ValueError, match=r"models: got .*, want at least one, and each once"):
        EvaluationSettings(models=models)


def test_one_folder_by_two_names_is_one_model(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("one", "other", "embedded"):
        (tmp_path / name).mkdir()
    for again in ("one/", "./one", str(tmp_path / "one"), "other/../one"):
        with pytest.raises(ValueError, match=r"models: got .*, want at least one, and each once"):
            EvaluationSettings(models=["one", again])
    EvaluationSettings(models=["one", "other", "embedded", "./embedded", "owner/one"])


def test_a_reward_may_take_as_long_as_the_settings_say():
    def slow(completions, **_):
        time.sleep(5)
        return [1.0] * len(completions)

    settings = EvaluationSettings(problems=2, samples=1, budgets=[], reward_time_limit=0.1)
    config = EvaluationConfig(
        PolicySource(device="cpu"),
        ProblemSource(limit=8),
        settings,
        lambda model, tokenizer: CompactingSampler(model, tokenizer, 4),
        {"slow": slow},
    )
    with pytest.raises(TimeoutError, match=r"reward 'slow' took longer than 0.1 s .* raise reward_time_limit"):
        evaluate_models(config)
