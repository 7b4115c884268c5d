"""Change of length: exact on a policy that can be enumerated, whole and split by the terms of the advantage."""

import math
import statistics
from fractions import Fraction

import pytest
import torch

from iapo import TokenSignals
from iapo.advantages import GroupRelative, InformationAware
from iapo.diagnostics import (
    length_change,
    length_gradient,
    loss_pull,
)
from iapo.losses import CISPO, GSPO, ClippedPolicyLoss
from iapo.policy.logprobs import completion_logprobs
from iapo.rollout import ScriptedSampler
from iapo.testing.tabular import TabularLanguageModel, enumerate_completions

PROMPTS, MAX_TOKENS, EOS = ((1,), (2, 0)), 3, 0
COPIES = 64
"""Completions of a prompt: each exactly as often as the policy below says, so that a batch is its distribution."""
SAMPLE = COPIES / (COPIES - 1)
"""The unbiased covariance of a batch that is a whole distribution, by the covariance of that distribution."""


def dyadic_policy():
    """A table of two tokens whose probabilities are quarters, so that 64 completions hold it exactly."""
    model = TabularLanguageModel(vocab_size=3, order=1, seed=3)
    quarters = torch.tensor([[1, 1, 2], [1, 2, 1], [2, 1, 1], [1, 1, 2]], dtype=torch.float64)
    model.table.data = (quarters / 4).log()
    return model


def whole_distribution(model, halves=1):
    """A rollout in which every half (every other row) holds each completion as often as its probability says."""
    scripted = {}
    for prompt in PROMPTS:
        counts = [
            (list(ids), Fraction(p).limit_denominator(COPIES) * COPIES)
            for ids, p in enumerate_completions(model, prompt, EOS, MAX_TOKENS)
        ]
        assert all(count.denominator == 1 for _, count in counts)
        scripted[prompt] = [ids for ids, count in counts for _ in range(int(count) * halves)]
        assert len(scripted[prompt]) == COPIES * halves
    return ScriptedSampler(scripted)([list(prompt) for prompt in PROMPTS], COPIES * halves)


def expected_length(model):
    """Mean over the prompts of the expected length, by enumeration."""
    return statistics.fmean(
        math.fsum(p * len(ids) for ids, p in enumerate_completions(model, prompt, EOS, MAX_TOKENS))
        for prompt in PROMPTS
    )


def moved(model, step, scale):
    """A copy of the policy with ``scale * step`` added to its table."""
    other = TabularLanguageModel(vocab_size=3, order=1, seed=3)
    other.table.data = model.table.data + scale * step
    return other


def table_step(seed=0):
    return torch.randn(4, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def predicted(model, other, rollout):
    with torch.no_grad():
        before, after = (completion_logprobs(policy, rollout)[0] for policy in (model, other))
    return length_change(before, after, rollout.completion_mask, rollout.group_ids)


@pytest.mark.parametrize("scale", [0.01, 0.3, 2.0])
def test_the_covariance_with_the_ratio_is_the_change_exactly(scale):
    model = dyadic_policy()
    other = moved(model, table_step(), scale)
    found = predicted(model, other, whole_distribution(model)).exact.value / SAMPLE
    assert found == pytest.approx(expected_length(other) - expected_length(model), abs=1e-10)
    assert abs(found) > 1e-4


def test_first_order_is_wrong_by_the_square_of_the_step():
    model, step = dyadic_policy(), table_step()
    rollout = whole_distribution(model)
    errors = []
    for scale in (0.04, 0.02, 0.01):
        other = moved(model, step, scale)
        change = expected_length(other) - expected_length(model)
        errors.append(predicted(model, other, rollout).first_order.value / SAMPLE - change)
        assert abs(errors[-1]) < 0.2 * abs(change)
    assert errors[0] / errors[1] == pytest.approx(4, rel=0.05)
    assert errors[1] / errors[2] == pytest.approx(4, rel=0.05)


def assigned_terms(model, rollout):
    """Advantages of three terms over random signals."""
    generator = torch.Generator().manual_seed(1)
    shape = rollout.completion_mask.shape
    with torch.no_grad():
        logprobs = completion_logprobs(model, rollout)[0]
    signals = TokenSignals(information=torch.randn(shape, generator=generator), policy_logprobs=logprobs)
    rewards = torch.randint(0, 2, shape[:1], generator=generator).double()
    assigner = InformationAware(GroupRelative(), alpha=0.7, beta=0.4)
    return assigner(rewards, rollout.group_ids, rollout.completion_mask, signals)


LOSSES = [
    ClippedPolicyLoss(aggregation="token"),
    ClippedPolicyLoss(aggregation="sequence", kl_coef=0.1),
    ClippedPolicyLoss(aggregation="constant", max_length=7),
    GSPO(),
    CISPO(),
]


@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: f"{type(loss).__name__}-{getattr(loss, 'aggregation', '')}")
def test_each_term_changes_the_length_as_its_value_says(loss):
    model = dyadic_policy()
    rollout = whole_distribution(model, halves=2)
    assigned = assigned_terms(model, rollout)
    pulls = {name: loss_pull(loss, term, assigned.loss_mask) for name, term in assigned.terms.items()}
    pulls["all"] = loss_pull(loss, assigned.advantages, assigned.loss_mask)

    def logprobs(part):
        return completion_logprobs(model, part)[0]

    values = length_gradient(logprobs, [model.table], rollout, pulls, micro_batch=50)
    assert values.pop("all") == pytest.approx(math.fsum(values.values()), abs=1e-9)
    assert set(values) == {"outcome", "information", "exploration"}
    for name, value in values.items():
        policy = completion_logprobs(model, rollout)[0]
        objective = -loss(
            policy,
            policy.detach(),
            assigned.terms[name],
            assigned.loss_mask,
            loss.denominator(assigned.loss_mask),
            policy.detach(),
        ).loss
        (gradient,) = torch.autograd.grad(objective, model.table)
        unit = 1 / float(gradient.norm())
        errors = []
        for rate in (0.02 * unit, 0.01 * unit):
            change = expected_length(moved(model, gradient, rate)) - expected_length(model)
            errors.append(rate * value / SAMPLE - change)
            assert abs(errors[-1]) < max(2e-4, 0.25 * abs(change))
        assert abs(errors[0] / errors[1]) == pytest.approx(4, rel=0.1)
