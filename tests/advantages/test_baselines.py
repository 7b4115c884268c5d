"""RLOO, REINFORCE++, GTPO, GRPO-S against naive loops and in their degenerate cases."""

import pytest
import references
import torch
from advantage_batches import batches
from hypothesis import given
from hypothesis import strategies as st

from iapo import TokenSignals
from iapo.advantages import GFPO, GRPOS, GTPO, RLOO, GroupRelative, OfficialGTPO, ReinforcePlusPlus


def close(found, expected, atol=1e-5):
    torch.testing.assert_close(found.double(), torch.as_tensor(expected, dtype=torch.float64), atol=atol, rtol=1e-5)


@given(batches())
def test_rloo_against_the_loop(batch):
    rewards, ids, mask, _ = batch
    output = RLOO()(rewards, ids, mask)
    close(output.advantages, torch.tensor(references.rloo(rewards.tolist(), ids.tolist()))[:, None] * mask)
    assert torch.equal(output.loss_mask, mask)


@given(batches())
def test_rloo_is_the_scaled_deviation_from_the_mean(batch):
    rewards, ids, mask, _ = batch
    size = (ids[:, None] == ids).sum(1, keepdim=True)
    centered = GroupRelative(scale="none")(rewards, ids, mask).advantages
    close(RLOO()(rewards, ids, mask).advantages, centered.double() * size / (size - 1))


def test_rloo_of_equal_rewards_and_of_one():
    mask = torch.ones(4, 2, dtype=torch.bool)
    rewards, ids = torch.tensor([0.1, 0.1, 0.1, 1.0]), torch.tensor([1, 1, 1, 5])
    with pytest.raises(ValueError, match="group 5 has one completion"):
        RLOO()(rewards, ids, mask)
    assert not RLOO(allow_singletons=True)(rewards, ids, mask).advantages.any()


@given(batches(), st.sampled_from([0.0, 0.5, 1.0]))
def test_reinforce_plus_plus_against_the_loop(batch, discount):
    rewards, ids, mask, _ = batch
    output = ReinforcePlusPlus(discount)(rewards, ids, mask)
    lengths = mask.sum(1).tolist()
    close(
        output.advantages, references.reinforce_plus_plus(rewards.tolist(), lengths, mask.shape[1], discount), atol=1e-4
    )
    assert torch.equal(output.loss_mask, mask)


def test_reinforce_plus_plus_of_equal_rewards_and_one_row():
    mask = torch.tensor([[True, True], [True, False]])
    assert not ReinforcePlusPlus()(torch.tensor([0.3, 0.3]), torch.tensor([0, 1]), mask).advantages.any()
    alone = ReinforcePlusPlus(0.5)(torch.tensor([1.0]), torch.tensor([0]), mask[:1])
    close(alone.advantages, [[-1.0, 1.0]])


WEIGHTS = st.sampled_from([(1.0, 0.1), (0.5, 2.0), (1.0, 0.0)])


@given(batches(), WEIGHTS, st.booleans())
def test_gtpo_against_the_loop(batch, weights, some_are_zero):
    rewards, ids, mask, signals = batch
    entropy = signals.policy_entropy * (signals.policy_entropy > 0.7) if some_are_zero else signals.policy_entropy
    output = GTPO(*weights)(rewards, ids, mask, TokenSignals(policy_entropy=entropy))
    close(
        output.advantages,
        references.gtpo(rewards.tolist(), ids.tolist(), entropy.double().tolist(), mask.tolist(), *weights),
    )


@given(batches(), WEIGHTS)
def test_grpo_s_against_the_loop(batch, weights):
    rewards, ids, mask, signals = batch
    output = GRPOS(*weights)(rewards, ids, mask, signals)
    entropy = signals.policy_entropy.double().tolist()
    expected = torch.tensor(references.grpo_s(rewards.tolist(), ids.tolist(), entropy, mask.tolist(), *weights))
    close(output.advantages, expected * mask)


@given(batches(), st.sampled_from([0.0, 0.1, 0.7]), st.booleans())
def test_official_gtpo_against_the_loop(batch, weight, some_are_zero):
    rewards, ids, mask, signals = batch
    entropy = signals.policy_entropy * (signals.policy_entropy > 1.2) if some_are_zero else signals.policy_entropy
    output = OfficialGTPO(entropy_weight=weight)(rewards, ids, mask, TokenSignals(policy_entropy=entropy))
    outcome = GroupRelative()(rewards, ids, mask).advantages
    added = references.official_gtpo(rewards.tolist(), entropy.double().tolist(), mask.tolist(), weight)
    close(output.terms["entropy"], added)
    assert torch.equal(output.terms["outcome"], outcome)
    assert torch.equal(output.advantages, outcome + output.terms["entropy"])
    assert weight or torch.equal(output.advantages, outcome)


def test_official_gtpo_adds_nothing_outside_the_loss_of_its_outcome():
    rewards, ids, mask = torch.tensor([1.0, 1.0, 0.0]), torch.tensor([3, 3, 3]), torch.ones(3, 4, dtype=torch.bool)
    signals = TokenSignals(policy_entropy=torch.rand(3, 4) + 0.1)
    output = OfficialGTPO(GFPO(keep=2))(rewards, ids, mask, signals)
    assert output.loss_mask.any(1).sum() == 2
    assert not output.terms["entropy"][~output.loss_mask].any()


def test_gtpo_raises_uncertain_and_lowers_certain_tokens():
    entropy = torch.tensor([[2.0, 1.0], [1.0, 1.0], [2.0, 1.0], [1.0, 1.0]])
    rewards, ids = torch.tensor([1.0, 1.0, 0.0, 0.0]), torch.zeros(4, dtype=torch.long)
    found = GTPO()(rewards, ids, torch.ones(4, 2, dtype=torch.bool), TokenSignals(policy_entropy=entropy)).advantages
    assert found[0, 0] > found[0, 1] > found[1, 0]
    assert found[2, 0] > found[2, 1] > found[3, 0]


@pytest.mark.parametrize("assigner", [GTPO, GRPOS])
def test_rewards_of_0_and_1_leave_the_entropy_alone(assigner):
    generator = torch.Generator().manual_seed(0)
    rewards, ids = torch.tensor([1.0, 1.0, 1.0, 0.0, 0.0, 0.0]), torch.zeros(6, dtype=torch.long)
    entropy = TokenSignals(policy_entropy=torch.rand(6, 5, generator=generator, dtype=torch.float64))
    mask = torch.ones(6, 5, dtype=torch.bool)
    found = [assigner(*weights)(rewards, ids, mask, entropy).advantages for weights in ((1.0, 0.1), (3.0, 0.7))]
    torch.testing.assert_close(found[0], found[1], atol=1e-3, rtol=1e-3)
    assert found[0].abs().max() > 0.5
    assert abs(float(found[0][:3].mean())) < 1e-6


@pytest.mark.parametrize("assigner", [GTPO(), GRPOS()])
@pytest.mark.parametrize("rewards", [[1.0, 1.0, 1.0], [0.0, 0.0, 0.0], [1.0, 0.0, 0.0]])
@pytest.mark.parametrize("entropy", [0.0, 0.7])
def test_completions_of_equal_entropy_get_nothing(assigner, rewards, entropy):
    mask = torch.tensor([[True, True, True], [True, True, True], [False, False, False]])
    signals = TokenSignals(policy_entropy=torch.full((3, 3), entropy))
    output = assigner(torch.tensor(rewards), torch.tensor([4, 4, 4]), mask, signals)
    assert output.advantages.abs().max() < 1e-6


@pytest.mark.parametrize("assigner", [GTPO(), GRPOS()])
def test_entropies_below_a_millionth_of_a_nat_are_equal(assigner):
    rewards, ids, mask = torch.zeros(2), torch.zeros(2, dtype=torch.long), torch.ones(2, 3, dtype=torch.bool)

    def largest(entropy):
        signals = TokenSignals(policy_entropy=torch.tensor([[entropy] * 3, [1e-6] * 3], dtype=torch.float64))
        return assigner(rewards, ids, mask, signals).advantages.abs().max()

    assert largest(1e-9) < 1e-6
    assert largest(2e-6) > 0.5


@pytest.mark.parametrize("assigner", [GTPO(), GRPOS()])
def test_groups_of_one_are_allowed(assigner):
    signals = TokenSignals(policy_entropy=torch.rand(2, 3))
    output = assigner(torch.tensor([1.0, 0.0]), torch.tensor([1, 2]), torch.ones(2, 3, dtype=torch.bool), signals)
    assert output.advantages.abs().max() < 1e-6


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ReinforcePlusPlus(1.5), "discount: got 1.5"),
        (lambda: GTPO(outcome_weight=-1.0), "outcome_weight: got -1.0"),
        (lambda: GRPOS(entropy_weight=float("inf")), "entropy_weight: got inf"),
        (lambda: OfficialGTPO(entropy_weight=-0.1), "entropy_weight: got -0.1"),
    ],
)
def test_bad_parameters_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()
