"""The settings of `iapo eval` that follow from others."""

import pytest

from iapo.commands.evaluate import EvaluationSettings


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
