"""GDPO, whitening, the entropy bonus, O1-Pruner and the step mask against float64 loops written from their formulas."""

import math
import statistics

import pytest
import references
import torch
from advantage_batches import batches
from hypothesis import given, settings
from hypothesis import strategies as st

from iapo import TokenSignals
from iapo.advantages import (
    GDPO,
    BatchWhitened,
    ConfidenceMasked,
    EntropyAdvantage,
    GroupRelative,
    InformationAware,
    LengthShaped,
    O1Pruner,
    ReinforcePlusPlus,
    ThinkPrune,
)
from iapo.advantages.confidence_masked import lowest_share

MASK = torch.ones(2, 3, dtype=torch.bool)
REWARDS, IDS = torch.tensor([1.0, 0.0]), torch.tensor([0, 0])


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def close(found, expected):
    torch.testing.assert_close(found, torch.as_tensor(expected, dtype=torch.float32), atol=2e-5, rtol=2e-5)


@settings(max_examples=50)
@given(batches(), st.integers(0, 2**16))
def test_gdpo_against_the_loop(batch, seed):
    rewards, ids, mask, _ = batch
    columns = torch.randint(0, 3, (len(rewards), 3), generator=seeded(seed)) / 2
    weights = (1.0, -0.5, 2.0)
    each = [references.group_relative(column.tolist(), ids.tolist(), 1e-4) for column in columns.T]
    expected = [sum(w * a for w, a in zip(weights, row, strict=True)) for row in zip(*each, strict=True)]
    found = GDPO(weights)(rewards, ids, mask, TokenSignals(reward_columns=columns)).advantages
    close(found, torch.tensor(expected)[:, None] * mask)


def test_gdpo_tells_apart_what_the_sum_does_not():
    """The paper's example: two rewards, two completions; the sums (0, 1) and (0, 2) have one z-score."""
    ids, mask = torch.tensor([0, 0, 1, 1]), torch.ones(4, 1, dtype=torch.bool)
    columns = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 0.0], [1.0, 1.0]])
    grpo = GroupRelative(eps=0.0)(columns.sum(1), ids, mask).advantages[:, 0]
    assert grpo[1] == grpo[3]
    gdpo = GDPO(eps=0.0)(columns.sum(1), ids, mask, TokenSignals(reward_columns=columns)).advantages[:, 0]
    close(gdpo, [-(0.5**0.5), 0.5**0.5, -(2**0.5), 2**0.5])


def test_gdpo_of_one_reward_is_grpo():
    signals = TokenSignals(reward_columns=REWARDS[:, None])
    assert torch.equal(GDPO()(REWARDS, IDS, MASK, signals).advantages, GroupRelative()(REWARDS, IDS, MASK).advantages)
    with pytest.raises(ValueError, match="weights: got 2 for 1 reward functions"):
        GDPO((1.0, 1.0))(REWARDS, IDS, MASK, signals)
    with pytest.raises(ValueError, match="allow_singletons=True"):
        GDPO()(REWARDS, torch.tensor([0, 1]), MASK, signals)


@pytest.mark.parametrize("over", ["tokens", "completions"])
@settings(max_examples=50)
@given(batch=batches())
def test_whitening_against_the_loop(over, batch):
    rewards, ids, mask, signals = batch
    inner = InformationAware(alpha=0.3)(rewards, ids, mask, signals).advantages.double().tolist()
    rows = [[value for value, counts in zip(*pair, strict=True) if counts] for pair in zip(inner, mask, strict=True)]
    weighted = [(value, 1.0 if over == "tokens" else 1 / len(row)) for row in rows for value in row]
    total = sum(weight for _, weight in weighted)
    mean = sum(value * weight for value, weight in weighted) / total if total else 0.0
    std = math.sqrt(sum(weight * (value - mean) ** 2 for value, weight in weighted) / total) if total else 0.0
    flat = len({value for value, _ in weighted}) < 2
    expected = [[0.0 if flat else (value - mean) / (std + 0.01) for value in row] for row in inner]
    output = BatchWhitened(InformationAware(alpha=0.3), over=over, eps=0.01)(rewards, ids, mask, signals)
    close(output.advantages, torch.tensor(expected) * mask)
    assert list(output.terms) == ["outcome", "information", "batch_mean"]
    close(sum(output.terms.values()), output.advantages)


def test_whitened_rewards_are_reinforce_plus_plus():
    mask = torch.tensor([[True, True, True], [True, False, False]])
    plain = O1Pruner(accuracy_weight=1.0, lowest=-9.0, highest=9.0)
    signals = TokenSignals(
        reference_length=mask.sum(1).float(), reference_accuracy=torch.tensor([0.0, 0.0])
    )  # the ratio is 1, so that the value is the correctness
    found = BatchWhitened(plain, eps=0.0)(REWARDS, IDS, mask, signals).advantages
    close(found, ReinforcePlusPlus()(REWARDS, IDS, mask).advantages)


def test_whitening_of_nothing():
    equal = BatchWhitened(GroupRelative())(torch.ones(2), IDS, MASK)
    assert not equal.advantages.any()
    assert equal.terms is None
    empty = BatchWhitened(GroupRelative(), over="completions")(REWARDS, IDS, torch.zeros(2, 3, dtype=torch.bool))
    assert not empty.advantages.any()


def test_dler_is_made_of_parts():
    """Group mean, then the batch; a completion beyond the limit counts as wrong."""
    mask = torch.arange(4) < torch.tensor([2, 4, 3, 2])[:, None]
    rewards, ids = torch.tensor([1.0, 1.0, 0.0, 1.0]), torch.tensor([0, 0, 1, 1])
    assigner = BatchWhitened(LengthShaped(GroupRelative(scale="none"), ThinkPrune(limit=3)))
    pool = [0.5] * 2 + [-0.5] * 4 + [-0.5] * 3 + [0.5] * 2
    mean, std = statistics.fmean(pool), statistics.pstdev(pool)
    expected = torch.tensor([0.5, -0.5, -0.5, 0.5])[:, None].sub(mean).div(std) * mask
    close(assigner(rewards, ids, mask).advantages, expected)


@settings(max_examples=50)
@given(batches(), st.sampled_from([0.0, 0.4, 3.0]))
def test_the_entropy_bonus_against_the_loop(batch, alpha):
    rewards, ids, mask, signals = batch
    inner = GroupRelative()(rewards, ids, mask).advantages
    output = EntropyAdvantage(GroupRelative(), alpha=alpha, kappa=2.0)(rewards, ids, mask, signals)
    entropy = signals.policy_entropy.tolist()
    expected = [
        [a + min(alpha * entropy[i][t], abs(a) / 2.0) if mask[i, t] else 0.0 for t, a in enumerate(row)]
        for i, row in enumerate(inner.tolist())
    ]
    close(output.advantages, expected)
    assert torch.equal(output.advantages.sign(), inner.sign())
    assert torch.equal(output.terms["outcome"] + output.terms["entropy"], output.advantages)


@settings(max_examples=50)
@given(batches(), st.integers(0, 2**16))
def test_o1_pruner_against_the_loop(batch, seed):
    rewards, ids, mask, _ = batch
    length = 1 + 20 * torch.rand(len(rewards), generator=seeded(seed))
    accuracy = torch.rand(len(rewards), generator=seeded(seed + 1))
    signals = TokenSignals(reference_length=length, reference_accuracy=accuracy)
    for low, high in ((-2.0, 4.0), (None, None), (-0.5, None), (None, 0.5)):
        least, most = -math.inf if low is None else low, math.inf if high is None else high
        expected = [
            min(max(float(length[i]) / n - 1 + 1.5 * ((reward > 0.5) - float(accuracy[i])), least), most) if n else 0.0
            for i, (reward, n) in enumerate(zip(rewards.tolist(), mask.sum(1).tolist(), strict=True))
        ]
        found = O1Pruner(1.5, lowest=low, highest=high)(rewards, ids, mask, signals).advantages
        close(found, torch.tensor(expected)[:, None] * mask)


def test_what_the_reference_policy_did_is_checked():
    with pytest.raises(ValueError, match=r"signals.reference_accuracy: O1Pruner requires it, got None"):
        O1Pruner()(REWARDS, IDS, MASK, TokenSignals(reference_length=torch.ones(2)))
    short = TokenSignals(reference_length=torch.tensor([4.0, 0.0]), reference_accuracy=torch.ones(2))
    with pytest.raises(ValueError, match=r"signals.reference_length: got \[0.0\] in rows \[1\], want a positive"):
        O1Pruner()(REWARDS, IDS, MASK, short)
    percent = TokenSignals(reference_length=torch.ones(2), reference_accuracy=torch.tensor([75.0, 0.5]))
    with pytest.raises(ValueError, match=r"signals.reference_accuracy: got \[75.0\] in rows \[0\], want a number from"):
        O1Pruner()(REWARDS, IDS, MASK, percent)
    with pytest.raises(ValueError, match=r"signals.reference_length: got 3 rows for 2 completions"):
        O1Pruner()(REWARDS, IDS, MASK, TokenSignals(reference_length=torch.ones(3), reference_accuracy=torch.ones(3)))


def masked_by_loop(ids, logprobs, reasoning, correct, after_ids, share, released):
    """The tokens of one completion that get no advantage."""
    steps, step = [], []
    for t in range(len(ids)):
        if reasoning[t]:
            step.append(t)
        if not reasoning[t] or ids[t] in after_ids:
            steps.append(step)
            step = []
    steps = [step for step in [*steps, step] if step]
    if released:
        chosen = steps if correct else []
    else:
        confidence = [statistics.fmean(logprobs[t] for t in step) for step in steps]
        order = sorted(range(len(steps)), key=lambda s: confidence[s] if correct else -confidence[s])
        chosen = [steps[s] for s in order[: math.ceil(share * len(steps) - 1e-9)]]
    return {t for step in chosen for t in step}


@pytest.mark.parametrize("counting", ["formula", "released"])
@settings(max_examples=50)
@given(batch=batches(), seed=st.integers(0, 2**16), share=st.sampled_from([0.1, 0.3, 0.5, 1.0]))
def test_the_step_mask_against_the_loop(counting, batch, seed, share):
    rewards, ids, mask, signals = batch
    tokens = torch.randint(0, 4, mask.shape, generator=seeded(seed))
    reasoning = signals.information_mask
    given_signals = TokenSignals(
        policy_logprobs=signals.policy_logprobs, completion_ids=tokens, reasoning_mask=reasoning
    )
    assigner = ConfidenceMasked(GroupRelative(), after_ids=(1, 3), share=share, counting=counting)
    output = assigner(rewards, ids, mask, given_signals)
    expected = GroupRelative()(rewards, ids, mask).advantages
    for i in range(len(rewards)):
        row = (tokens[i].tolist(), signals.policy_logprobs[i].tolist(), reasoning[i].tolist(), rewards[i] > 0.5)
        for t in masked_by_loop(*row, (1, 3), share, counting == "released"):
            expected[i, t] = 0
    close(output.advantages, expected)
    assert torch.equal(output.loss_mask, mask)


def test_the_step_mask_counts_as_the_formula_says():
    """Ten steps, 0.3 of them: 3. Of 50 steps 0.14 are 7, though 0.14 * 50 is above 7 in floating point."""
    assert lowest_share(torch.arange(50.0)[None], torch.ones(1, 50, dtype=torch.bool), 0.14).sum() == 7
    mask = torch.ones(2, 20, dtype=torch.bool)
    signals = TokenSignals(
        policy_logprobs=-torch.arange(20.0).repeat(2, 1),
        completion_ids=torch.arange(20).repeat(2, 1) % 2,
        reasoning_mask=mask,
    )
    found = ConfidenceMasked(GroupRelative(), (1,))(REWARDS, IDS, mask, signals)
    assert (found.advantages == 0).nonzero().tolist() == [[0, t] for t in range(14, 20)] + [[1, t] for t in range(6)]
    assert found.metrics["iapo/frac_step_masked"] == pytest.approx(0.3)
    plain = GroupRelative()(REWARDS, IDS, mask).advantages
    assert torch.equal(
        ConfidenceMasked(GroupRelative(), (1,), share=0.0)(REWARDS, IDS, mask, signals).advantages, plain
    )


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: GDPO(weights=(1.0, math.nan)), r"weights: got \(1.0, nan\)"),
        (lambda: GDPO(weights=(1.0, None)), r"weights: got \(1.0, None\)"),
        (lambda: GDPO(eps=-1.0), "eps: got -1.0"),
        (lambda: BatchWhitened(GroupRelative(), over="groups"), "over: got 'groups'"),
        (lambda: BatchWhitened(GroupRelative(), eps=math.nan), "eps: got nan"),
        (lambda: EntropyAdvantage(GroupRelative(), alpha=-0.1), "alpha: got -0.1"),
        (lambda: EntropyAdvantage(GroupRelative(), alpha=None), "alpha: got None"),
        (lambda: EntropyAdvantage(GroupRelative(), kappa=1.0), "kappa: got 1.0"),
        (lambda: O1Pruner(accuracy_weight=-1.0), "accuracy_weight: got -1.0"),
        (lambda: O1Pruner(lowest=1.0, highest=1.0), "lowest, highest: got 1.0 and 1.0"),
        (lambda: ConfidenceMasked(GroupRelative(), after_ids=()), r"after_ids: got \(\), want a tuple"),
        (lambda: ConfidenceMasked(GroupRelative(), (1,), share=1.5), "share: got 1.5"),
        (lambda: ConfidenceMasked(GroupRelative(), (1,), counting="code"), "counting: got 'code'"),
    ],
)
def test_bad_parameters_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()
