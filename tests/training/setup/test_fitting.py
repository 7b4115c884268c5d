"""Prompts that fit a model and what may follow them."""

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoTokenizer

from iapo.embedded import model_path
from iapo.estimators import AnswerLikelihood, NoInformation, Refined
from iapo.policy.limits import Limits
from iapo.rollout import ScriptedSampler
from iapo.rollout.prompts import encode_prompts
from iapo.training.setup.fitting import PromptSize, Room, forced_tokens, new_tokens

TOKENIZER = AutoTokenizer.from_pretrained(model_path())


def room(positions: int | None, reserved: int = 0, long_prompts: Any = "drop") -> Room:
    return Room(TOKENIZER, Limits(positions, len(TOKENIZER)), reserved, long_prompts)


def sizes(*prompts: str) -> list[PromptSize]:
    return [PromptSize.of(ids) for ids in encode_prompts(prompts, TOKENIZER)]


@given(st.lists(st.integers(1, 12), min_size=1, max_size=8), st.integers(1, 20), st.integers(0, 6))
def test_rows_that_fit_are_kept(lengths: list[int], positions: int, reserved: int) -> None:
    prompts = sizes(*("1" * length for length in lengths))
    fit = [index for index, length in enumerate(lengths) if length + reserved <= positions]
    first = next((index for index in range(len(prompts)) if index not in fit), None)
    if not fit:
        with pytest.raises(ValueError, match=f"row 10 has {lengths[0]} tokens") as caught:
            room(positions, reserved).fitting(prompts, range(10, 10 + len(prompts)))
        assert "--long_prompts drop" not in str(caught.value), "it would leave nothing"
        return
    assert room(positions, reserved).fitting(prompts, range(10, 10 + len(prompts))) == fit
    assert room(None, reserved).fitting(prompts, range(len(prompts))) == list(range(len(prompts)))
    if first is not None:
        numbers = rf"row {first + 10} has {lengths[first]} tokens, and with {reserved} .* the {positions} positions"
        wanted = rf"{numbers}.*--long_prompts drop"
        with pytest.raises(ValueError, match=wanted) as caught:
            room(positions, reserved, "refuse").fitting(prompts, range(10, 10 + len(prompts)))
        long = [str(index + 10) for index in range(len(prompts)) if index not in fit]
        assert f"({len(long)} of {len(prompts)} such rows: {', '.join(long)})" in str(caught.value)
        advice = re.search(r"lower --sampler\.max_new_tokens by (\d+)", str(caught.value))
        assert (advice is not None) == (max(lengths) < positions)
        if advice is not None:
            assert room(positions, reserved - int(advice[1])).fitting(prompts, range(len(prompts))) == list(
                range(len(prompts))
            )


def test_what_is_dropped_is_told(caplog: pytest.LogCaptureFixture) -> None:
    prompts = sizes("1", "1+1=")
    assert room(3).fitting(prompts, [0, 7]) == [0]
    assert "row 7" in caplog.text
    assert "(1 of 2 such rows: 7), which are dropped" in caplog.text


def test_a_sampler_that_does_not_say_its_longest_completion_is_told() -> None:
    own, limits = ScriptedSampler({}), Limits(30, 5)
    with pytest.warns(UserWarning, match="ScriptedSampler has no max_new_tokens.*30 positions.*give it the attribute"):
        assert new_tokens(own, limits) == 0
    assert new_tokens(own, Limits(None, 5)) == 0
    object.__setattr__(own, "max_new_tokens", 7)
    assert new_tokens(own, limits) == 7


def test_a_token_without_an_embedding_is_named() -> None:
    small = Room(TOKENIZER, Limits(None, 5), 0)
    with pytest.raises(ValueError, match=r"the prompt of row 3: the token .* has the id"):
        small.fitting(sizes("1+1="), [3])


def test_tokens_of_an_estimator_that_is_asked() -> None:
    likelihood = AnswerLikelihood((1, 2), (3,))
    assert forced_tokens(likelihood) == [1, 2, 3]
    assert forced_tokens(Refined(likelihood, stride=2)) == [1, 2, 3]
    assert forced_tokens(NoInformation()) == []


def test_texts_that_turn_the_rotations_are_found_before_training() -> None:
    """Nothing is sampled whose log-probabilities are refused afterwards."""
    limits = Limits(100, len(TOKENIZER), turning=5)
    prompts = sizes("1+1=", "1")
    assert Room(TOKENIZER, limits, 2, "drop").fitting(prompts, [0, 1]) == [0, 1]
    assert Room(TOKENIZER, limits.scored, 2, "drop").fitting(prompts, [0, 1]) == [1]
    with pytest.raises(ValueError, match=r"not fit the 5 positions up to which .* \(dynamic or longrope scaling\)"):
        Room(TOKENIZER, limits.scored, 2).fitting(prompts, [0, 1])


@pytest.mark.parametrize(
    ("sampled", "asked", "advice"),
    [
        (20, 2, "lower --sampler.max_new_tokens by 14, or take"),
        (2, 20, "lower --answer_tokens by 14, or take"),
        (11, 11, "lower --sampler.max_new_tokens and --answer_tokens by 14 together, or take"),
    ],
)
def test_what_is_to_be_lowered_can_be(sampled: int, asked: int, advice: str) -> None:
    small = Room(TOKENIZER, Limits(10, len(TOKENIZER)), sampled + asked, answer_tokens=asked)
    with pytest.raises(ValueError, match=advice):
        small.fitting(sizes("11"), [0])
