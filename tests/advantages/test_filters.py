"""What leaves the loss mask: GFPO, overlong filtering, S-GRPO."""

import math

import pytest
import references
import torch
from advantage_batches import batches
from hypothesis import given
from hypothesis import strategies as st

from iapo import AdvantageInputs, TokenSignals
from iapo.advantages import GFPO, RLOO, SGRPO, GroupRelative, InformationAware, OverlongFiltered


@given(batches(), st.integers(2, 4), st.sampled_from(["length", "reward_per_token"]))
def test_gfpo_against_the_loop(batch, keep, by):
    rewards, ids, mask, _ = batch
    output = GFPO(keep, by)(rewards, ids, mask)
    loop = references.gfpo(rewards.tolist(), ids.tolist(), mask.sum(1).tolist(), keep, by, 1e-4)
    expected = torch.tensor([value or 0.0 for value in loop])[:, None] * mask
    torch.testing.assert_close(output.advantages, expected, atol=1e-5, rtol=1e-5)
    assert torch.equal(output.loss_mask, torch.tensor([value is not None for value in loop])[:, None] & mask)
    assert output.metrics["iapo/frac_kept"] == pytest.approx(sum(value is not None for value in loop) / len(loop))


@given(batches())
def test_gfpo_that_keeps_all_is_grpo(batch):
    rewards, ids, mask, _ = batch
    assert torch.equal(GFPO(4)(rewards, ids, mask).advantages, GroupRelative()(rewards, ids, mask).advantages)


def test_gfpo_breaks_ties_by_position():
    rewards, ids = torch.tensor([0.0, 1.0, 1.0, 0.0]), torch.tensor([8, 8, 8, 8])
    mask = torch.ones(4, 3, dtype=torch.bool)
    assert GFPO(2)(rewards, ids, mask).loss_mask.any(1).tolist() == [True, True, False, False]
    best = GFPO(2, "reward_per_token")(rewards, ids, mask)
    assert best.loss_mask.any(1).tolist() == [False, True, True, False]
    assert not best.advantages.any()


def test_gfpo_keeps_the_highest_rewards_below_zero_too():
    rewards, ids, mask = torch.tensor([-3.0, -1.0, 0.0]), torch.tensor([8, 8, 8]), torch.ones(3, 2, dtype=torch.bool)
    assert GFPO(2, "reward_per_token")(rewards, ids, mask).loss_mask.any(1).tolist() == [False, True, True]


def test_gfpo_of_completions_without_tokens():
    rewards, ids = torch.tensor([0.0, 0.5, 1.0, 1.0]), torch.tensor([8, 8, 8, 8])
    mask = torch.tensor([[False, False], [False, False], [True, False], [True, True]])
    assert not GFPO(2)(rewards, ids, mask).loss_mask.any()
    best = GFPO(2, "reward_per_token")(rewards, ids, mask)
    assert best.advantages[2, 0] > 0.7
    assert best.loss_mask.any(1).tolist() == [False, False, True, False]


def test_gfpo_of_one_is_an_error():
    with pytest.raises(ValueError, match="group 5 has one completion"):
        GFPO(2)(torch.tensor([1.0]), torch.tensor([5]), torch.ones(1, 1, dtype=torch.bool))


@given(batches(), st.integers(1, 10))
def test_overlong_completions_count_nowhere(batch, limit):
    rewards, ids, mask, signals = batch
    assigner = OverlongFiltered(InformationAware(RLOO(), alpha=0.5, applies_to="all"), limit)
    assert assigner.requires == {"information"}
    output = assigner(rewards, ids, mask, signals)
    lengths = mask.sum(1).tolist()
    kept = [i for i in range(len(ids)) if lengths[i] < limit]
    kept = [i for i in kept if sum(int(ids[j] == ids[i]) for j in kept) > 1]
    loop = dict(zip(kept, references.rloo(rewards[kept].tolist(), ids[kept].tolist()), strict=True))
    outcome = torch.tensor([loop.get(i, 0.0) for i in range(len(ids))])[:, None] * mask
    measured = [[bool(m) and i in kept for m in row] for i, row in enumerate(signals.information_mask)]
    following = references.to_go(signals.information.double().tolist(), measured, 0.9)
    term = torch.tensor(references.zscore(following, measured, lambda i: int(ids[i]), resolution=1e-4))
    torch.testing.assert_close(output.advantages, outcome + 0.5 * term, atol=2e-4, rtol=1e-4)
    assert torch.equal(output.loss_mask, torch.tensor([i in kept for i in range(len(ids))])[:, None] & mask)


def test_what_remains_keeps_its_own_signals():
    rewards, ids = torch.tensor([0.0, 1.0, 0.0]), torch.tensor([4, 4, 4])
    mask = torch.arange(4) < torch.tensor([4, 2, 3])[:, None]
    signals = TokenSignals(
        information=torch.randn(3, 4),
        information_mask=mask & torch.tensor([True, True, False, True]),
        policy_logprobs=-torch.rand(3, 4),
    )
    inner = InformationAware(beta=0.3)
    rest = {name: None if value is None else value[1:] for name, value in vars(signals).items()}
    expected = inner(rewards[1:], ids[1:], mask[1:], TokenSignals(**rest)).advantages
    found = OverlongFiltered(inner, 4)(rewards, ids, mask, signals).advantages
    assert torch.equal(found[1:], expected)
    assert not found[0].any()


def test_of_overlong_completions_no_information_is_wanted():
    """Correct are the first, the second and the last; the first is too long."""
    mask = torch.arange(4) < torch.tensor([4, 2, 3, 2])[:, None]
    rewards = torch.tensor([1.0, 1.0, 0.0, 1.0])
    inputs = AdvantageInputs(rewards, rewards > 0.5, torch.tensor([4, 4, 4, 4]), mask)
    assert OverlongFiltered(InformationAware(), 4).wants_information(inputs).tolist() == [False, True, False, True]


def test_the_completions_of_a_group_whose_information_is_read_are_chosen_of_those_that_remain():
    """The first correct one is too long, so that the information of the next is read."""
    mask = torch.arange(4) < torch.tensor([4, 2, 3, 2])[:, None]
    rewards = torch.tensor([1.0, 1.0, 0.0, 1.0])
    inputs = AdvantageInputs(rewards, rewards > 0.5, torch.tensor([4, 4, 4, 4]), mask)
    assigner = OverlongFiltered(InformationAware(per_group=1), 4)
    assert assigner.wants_information(inputs).tolist() == [False, True, False, False]


def test_everything_overlong_leaves_an_empty_loss():
    mask = torch.ones(2, 3, dtype=torch.bool)
    output = OverlongFiltered(GroupRelative(), 3)(torch.tensor([1.0, 0.0]), torch.tensor([0, 0]), mask)
    assert not output.loss_mask.any()
    assert not output.advantages.any()
    assert output.metrics == {"iapo/frac_kept": 0.0}


@given(batches(), st.integers(0, 4), st.sampled_from([0.1, 0.5, 1.0]), st.integers(0, 999))
def test_sgrpo_against_the_loop(batch, first, probability, seed):
    rewards, ids, mask, _ = batch
    torch.manual_seed(seed)
    output = SGRPO(GroupRelative(), first, probability)(rewards, ids, mask)
    torch.manual_seed(seed)
    drawn = torch.rand(mask.shape).tolist()
    counts = [[t < first or drawn[i][t] < probability for t in range(mask.shape[1])] for i in range(len(ids))]
    assert torch.equal(output.loss_mask, torch.tensor(counts) & mask)
    assert torch.equal(output.advantages, GroupRelative()(rewards, ids, mask).advantages * output.loss_mask)


@given(batches(), st.integers(0, 3), st.integers(0, 6), st.integers(0, 999))
def test_sgrpo_with_a_cutoff_against_the_loop(batch, first, more, seed):
    rewards, ids, mask, _ = batch
    cutoff = max(1, first + more)
    torch.manual_seed(seed)
    output = SGRPO(GroupRelative(), first, 0.5, cutoff)(rewards, ids, mask)
    torch.manual_seed(seed)
    drawn = torch.rand(mask.shape).tolist()
    counts = [[t < cutoff and (t < first or drawn[i][t] < 0.5) for t in range(mask.shape[1])] for i in range(len(ids))]
    assert torch.equal(output.loss_mask, torch.tensor(counts) & mask)
    assert torch.equal(output.advantages, GroupRelative()(rewards, ids, mask).advantages * output.loss_mask)


def test_sgrpo_samples_from_the_global_generator():
    rewards, ids, mask = torch.tensor([1.0, 0.0]), torch.tensor([0, 0]), torch.ones(2, 400, dtype=torch.bool)
    assigner = SGRPO(GroupRelative(), 50, 0.3)
    torch.manual_seed(3)
    first, state = assigner(rewards, ids, mask).loss_mask, torch.get_rng_state()
    second = assigner(rewards, ids, mask).loss_mask
    torch.manual_seed(3)
    assert torch.equal(assigner(rewards, ids, mask).loss_mask, first)
    torch.set_rng_state(state)
    assert torch.equal(assigner(rewards, ids, mask).loss_mask, second)
    assert not torch.equal(first, second)
    share = first[:, 50:].double().mean()
    assert abs(share - 0.3) < 5 * math.sqrt(0.3 * 0.7 / first[:, 50:].numel())


def test_sgrpo_keeps_the_mask_of_what_it_wraps():
    mask = torch.tensor([[True, True], [True, False], [True, False]])
    rewards, ids = torch.tensor([0.0, 1.0, 0.0]), torch.tensor([4, 4, 4])
    inner = GFPO(2)
    assert torch.equal(SGRPO(inner, 9, 0.0)(rewards, ids, mask).loss_mask, inner(rewards, ids, mask).loss_mask)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: GFPO(1), "keep: got 1"),
        (lambda: GFPO(2, by="reward"), "by: got 'reward'"),
        (lambda: GFPO(2, eps=-1.0), "eps: got -1.0"),
        (lambda: OverlongFiltered(GroupRelative(), 0), "max_length: got 0"),
        (lambda: SGRPO(GroupRelative(), -1, 0.5), "first: got -1"),
        (lambda: SGRPO(GroupRelative(), 0.5, 0.5), "first: got 0.5, want an integer"),
        (lambda: SGRPO(GroupRelative(), 1, 1.5), "probability: got 1.5"),
        (lambda: SGRPO(GroupRelative(), 4, 0.5, cutoff=3), "cutoff: got 3, want None or an integer of at least 4"),
        (lambda: SGRPO(GroupRelative(), 0, 0.5, cutoff=0), "cutoff: got 0, want None or an integer of at least 1"),
        (lambda: SGRPO(GroupRelative(), 0, 0.0), "first and probability: got 0 for both"),
    ],
)
def test_bad_parameters_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()
