"""What an engine hands over: tensors that do not belong to the completions are named, and nothing broadcasts."""

import dataclasses

import pytest
import torch
from jaxtyping import TypeCheckError

from iapo.advantages import GTPO, GivenOutcome, GroupRelative, InformationAware
from iapo.embedded import generate_problems, model_path
from iapo.estimators import NextTokenEntropy
from iapo.integrations.core import TokenAdvantages
from iapo.policy import load_model
from iapo.rollout import ScriptedSampler
from iapo.types import TokenSignals

ROWS, WIDTH = 4, 12
MODEL, TOKENIZER = load_model(str(model_path()), torch.device("cpu"))
PROMPTS = [each.prompt for each in generate_problems(2, seed=3)]
# As many tokens as completions would let a vector pass for a row.
COMPLETIONS = {tuple(TOKENIZER.encode(prompt)): [[5] * WIDTH, [6] * 3] for prompt in PROMPTS}
ROLLOUT = ScriptedSampler(COMPLETIONS)([list(ids) for ids in COMPLETIONS], 2)
REWARDS = torch.tensor([1.0, 0.0, 1.0, 0.0])
OUTCOME = REWARDS[:, None].expand(ROWS, WIDTH)


def credit(assigner=None, **changed):
    """What the completions get if an engine hands over something else than it should."""
    assigner = InformationAware(GivenOutcome(), applies_to="all") if assigner is None else assigner
    given = {"rollout": ROLLOUT, "rewards": REWARDS, "outcome": OUTCOME} | changed
    return TokenAdvantages(TOKENIZER, NextTokenEntropy(), assigner)(MODEL, **given)


def read(**changed):
    names = ("prompt_ids", "prompt_mask", "completion_ids", "completion_mask", "group_ids")
    given = {name: getattr(ROLLOUT, name) for name in names} | changed
    return TokenAdvantages(TOKENIZER, NextTokenEntropy(), InformationAware(GivenOutcome())).read(**given)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("rewards", REWARDS[:, None]),
        ("rewards", REWARDS.long()),
        ("outcome", REWARDS),
        ("outcome", REWARDS[:3, None].expand(3, WIDTH)),
        ("written", ROLLOUT.completion_mask.long()),
        ("written", torch.ones(ROWS, 1, dtype=torch.bool)),
    ],
)
def test_another_shape_or_dtype_is_named(name, value):
    with pytest.raises(TypeCheckError, match=f"parameter '{name}'"):
        credit(**{name: value})


@pytest.mark.parametrize("temperature", [0.0, float("nan"), None])
def test_a_temperature_without_a_distribution_is_named(temperature):
    with pytest.raises(ValueError, match=f"temperature: got {temperature}, want a positive number"):
        TokenAdvantages(TOKENIZER, NextTokenEntropy(), GroupRelative(), temperature)


def test_references_that_nobody_asks_about_are_refused():
    with pytest.raises(ValueError, match="answer: got 'reference', and NextTokenEntropy asks for no answer"):
        TokenAdvantages(TOKENIZER, NextTokenEntropy(), InformationAware(GivenOutcome()), answer="reference")


@pytest.mark.parametrize("value", [torch.ones(ROWS, 1, dtype=torch.bool), torch.ones(WIDTH, dtype=torch.bool)])
def test_written_tokens_do_not_broadcast(value):
    with pytest.raises(TypeCheckError, match="parameter 'written'"):
        read(written=value)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"rewards": REWARDS[:3], "outcome": OUTCOME[:3]}, r"rewards: got shape \(3,\), want \(4,\)"),
        ({"outcome": REWARDS[:, None]}, r"outcome: got shape \(4, 1\), want \(4, 12\)"),
        ({"written": torch.ones(ROWS, WIDTH, dtype=torch.bool)}, r"written: True outside .* in rows \[1, 3\]"),
        (
            {"written": ROLLOUT.completion_mask & (torch.arange(ROWS) % 2 == 0)[:, None]},
            r"written: False at tokens of the reasoning in rows \[1, 3\]",
        ),
        ({"known": {"policy_logprob": OUTCOME}}, r"known: got \['policy_logprob'\], want names of signals"),
    ],
)
def test_what_does_not_belong_to_the_completions_is_named(changed, message):
    with pytest.raises(ValueError, match=message):
        credit(**changed)


@pytest.mark.parametrize(("references", "got"), [("1234", "the text '1234'"), (["1", "2"], "2 entries")])
def test_references_are_one_for_each_completion(references, got):
    with pytest.raises(ValueError, match=f"references: got {got}, want one entry for each of 4 completions"):
        read(references=references)


def test_no_tokens_but_the_written_ones_are_probed():
    text = "<think>1+2=3</think><answer>3</answer>"
    rollout = ScriptedSampler(lambda prompt, index: text, TOKENIZER)(PROMPTS, 2)
    given = {
        name: getattr(rollout, name) for name in ("prompt_ids", "prompt_mask", "completion_ids", "completion_mask")
    }
    written = rollout.completion_mask.clone()
    written[0, 2:4], written[1] = False, False
    assert rollout.reasoning_mask[:2, 2:4].all()
    found = read(**given, written=written)
    assert torch.equal(found.reasoning_mask, rollout.reasoning_mask & written)
    assert torch.equal(found.completion_mask, rollout.completion_mask)


def test_references_are_asked_about_in_place_of_own_answers():
    """As they stand in a data set; of one with its solution the answer is read."""
    found = read(references=["4", 12, "5+6=11\n#### 11", "7"])
    asked = [TOKENIZER.decode(ids[mask]) for ids, mask in zip(found.answer_ids, found.answer_mask, strict=True)]
    assert asked == ["4", "12", "11", "7"]


def test_an_outcome_that_is_not_finite_is_named_where_it_would_stay():
    """A completion without a verdict keeps the engine's advantages."""
    rewards = REWARDS.clone()
    rewards[3] = torch.nan
    outcome = OUTCOME.clone()
    outcome[3, 1] = torch.nan
    with pytest.raises(FloatingPointError, match=r"outcome: NaN or infinite advantage in rows \[3\]"):
        credit(rewards=rewards, outcome=outcome)
    assert credit(GroupRelative(), rewards=rewards, outcome=outcome).advantages.isfinite().all(), "nobody reads it"
    outcome[3, 1], outcome[3, 3:] = 0, torch.nan  # behind the completion
    assert credit(rewards=rewards, outcome=outcome).advantages.isfinite().all()


def test_a_completion_without_a_verdict_keeps_the_advantages_of_its_written_tokens():
    """Whatever the engine has elsewhere: at tokens of a tool, say, which the last completion begins with."""
    rewards = REWARDS.clone()
    rewards[3] = torch.nan
    written = ROLLOUT.completion_mask.clone()
    written[3, 0] = False
    rollout = dataclasses.replace(ROLLOUT, reasoning_mask=ROLLOUT.reasoning_mask & written)
    outcome = 2 + torch.arange(ROWS * WIDTH).view(ROWS, WIDTH) / 7
    found = credit(rollout=rollout, rewards=rewards, outcome=outcome, written=written)
    assert torch.equal(found.advantages[3], outcome[3].masked_fill(~written[3], 0))
    assert torch.equal(found.loss_mask[3], written[3])


def test_advantages_carry_no_gradient():
    rewards = REWARDS.masked_fill(torch.tensor([False, False, False, True]), torch.nan)
    found = credit(rewards=rewards, outcome=OUTCOME.clone().requires_grad_())
    assert not found.advantages.requires_grad


def test_a_signal_that_the_engine_has_measured_is_not_measured_again():
    """One that the assigner does not read is left alone."""

    class Forbidden(torch.nn.Module):
        def forward(self, *_, **__):
            raise AssertionError("the engine has measured it")

    given = 1 + torch.arange(ROWS * WIDTH).view(ROWS, WIDTH) / 7
    known = {"policy_entropy": given, "policy_logprobs": -given}
    found = TokenAdvantages(TOKENIZER, NextTokenEntropy(), GTPO())(Forbidden(), ROLLOUT, REWARDS, OUTCOME, known=known)
    signals = TokenSignals(policy_entropy=given)
    expected = GTPO()(REWARDS, ROLLOUT.group_ids, ROLLOUT.completion_mask, signals)
    assert torch.equal(found.advantages, expected.advantages)


def test_a_batch_of_nothing():
    none = ROLLOUT.select(torch.zeros(0, dtype=torch.long))
    width = none.completion_ids.shape[1]
    found = credit(rollout=none, rewards=REWARDS[:0], outcome=torch.zeros(0, width))
    assert found.advantages.shape == found.loss_mask.shape == (0, width)
