"""Group-relative and information-aware advantages against naive loops, and where they reduce to one another."""

import dataclasses

import pytest
import references
import torch
from hypothesis import given
from hypothesis import strategies as st

from iapo import AdvantageAssigner, AdvantageOutput, TokenSignals
from iapo.advantages import GroupRelative, InformationAware, information_to_go


@st.composite
def batches(draw):
    """Rewards, group ids in any order, ragged masks with empty rows, signals with holes in the measured span."""
    groups = draw(st.lists(st.integers(2, 4), min_size=1, max_size=3))
    ids = [100 + 7 * g for g, size in enumerate(groups) for _ in range(size)]
    ids = draw(st.permutations(ids))
    token = draw(st.integers(1, 9))
    lengths = draw(st.lists(st.integers(0, token), min_size=len(ids), max_size=len(ids)))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31 - 1)))
    mask = torch.arange(token) < torch.tensor(lengths)[:, None]
    shape = (len(ids), token)
    signals = TokenSignals(
        information=torch.randn(shape, generator=generator),
        information_mask=mask & (torch.rand(shape, generator=generator) < 0.8),
        policy_logprobs=-torch.rand(shape, generator=generator) * 3,
    )
    rewards = torch.randint(0, 3, (len(ids),), generator=generator) / 2
    return rewards, torch.tensor(ids), mask, signals


@given(batches(), st.sampled_from([0.0, 1e-4, 0.5]))
def test_group_relative_against_the_loop(batch, eps):
    rewards, ids, mask, _ = batch
    output = GroupRelative(eps=eps)(rewards, ids, mask)
    expected = torch.tensor(references.group_relative(rewards.tolist(), ids.tolist(), eps))[:, None] * mask
    torch.testing.assert_close(output.advantages, expected, atol=1e-5, rtol=1e-5)
    assert torch.equal(output.loss_mask, mask)


@given(
    batches(),
    st.sampled_from(["own", "to_go"]),
    st.sampled_from(["completion", "group", "batch"]),
    st.sampled_from([0.0, 0.5, 0.9, 1.0]),
    st.sampled_from([0.0, 0.3]),
)
def test_information_aware_against_the_loop(batch, credit, center, discount, beta):
    rewards, ids, mask, signals = batch
    assigner = InformationAware(GroupRelative(), alpha=0.7, beta=beta, credit=credit, center=center, discount=discount)
    output = assigner(rewards, ids, mask, signals)
    information, measured = signals.information.double().tolist(), signals.information_mask.tolist()
    if credit == "to_go":
        information = references.to_go(information, measured, discount)
    keys = {"completion": lambda i: i, "group": lambda i: int(ids[i]), "batch": lambda i: 0}
    term = torch.tensor(references.zscore(information, measured, keys[center]))
    confidence = torch.where(rewards > 0.5, 1.0, -1.0)[:, None] * signals.policy_logprobs.exp()
    exploration = torch.tensor(references.zscore(confidence.double().tolist(), mask.tolist(), lambda i: i))
    outcome = torch.tensor(references.group_relative(rewards.tolist(), ids.tolist(), 1e-4))[:, None] * mask
    torch.testing.assert_close(output.advantages, outcome + 0.7 * term + beta * exploration, atol=2e-4, rtol=1e-4)


@given(batches())
def test_without_weights_it_is_grpo_to_the_bit(batch):
    rewards, ids, mask, signals = batch
    plain, shaped = GroupRelative(), InformationAware(GroupRelative(), alpha=0.0, beta=0.0)
    assert not shaped.requires
    assert torch.equal(shaped(rewards, ids, mask, signals).advantages, plain(rewards, ids, mask).advantages)


@pytest.mark.parametrize("assigner", [GroupRelative(), InformationAware(beta=0.2), InformationAware.paper(1.0, 0.1)])
@given(batch=batches(), width=st.integers(0, 3), seed=st.integers(0, 99))
def test_order_padding_and_garbage_change_nothing(assigner, batch, width, seed):
    rewards, ids, mask, signals = batch
    expected = assigner(rewards, ids, mask, signals).advantages
    order = torch.randperm(len(rewards), generator=torch.Generator().manual_seed(seed))

    def widen(values, fill):
        return torch.nn.functional.pad(values[order], (0, width), value=fill)

    poisoned = TokenSignals(
        information=widen(signals.information.masked_fill(~signals.information_mask, torch.nan), torch.nan),
        information_mask=widen(signals.information_mask, False),
        policy_logprobs=widen(signals.policy_logprobs.masked_fill(~mask, torch.nan), torch.nan),
    )
    found = assigner(rewards[order], ids[order], widen(mask, False), poisoned).advantages
    torch.testing.assert_close(found[:, : mask.shape[1]], expected[order], atol=1e-5, rtol=1e-5)
    assert not found[:, mask.shape[1] :].any()


@given(batches())
def test_centred_in_the_completion_the_term_sums_to_zero(batch):
    rewards, ids, mask, signals = batch
    shaped = InformationAware(GroupRelative(), alpha=1.0, credit="own", center="completion")
    term = shaped(rewards, ids, mask, signals).advantages - GroupRelative()(rewards, ids, mask).advantages
    torch.testing.assert_close(term.sum(1), torch.zeros(len(rewards)), atol=1e-4, rtol=0)


def test_information_to_go_has_its_closed_forms():
    information = torch.randn(3, 40, dtype=torch.float64)
    mask = torch.ones(3, 40, dtype=torch.bool)
    assert torch.equal(information_to_go(information, mask, 0.0), information)
    cumulative = information.flip(1).cumsum(1).flip(1)
    torch.testing.assert_close(information_to_go(information, mask, 1.0), cumulative, atol=1e-12, rtol=0)
    steady = information_to_go(torch.ones(1, 40), torch.ones(1, 40, dtype=torch.bool), 0.5)
    torch.testing.assert_close(steady[0, 0], torch.tensor(2.0), atol=1e-6, rtol=0)


def test_equal_rewards_give_exactly_nothing_and_are_counted():
    rewards, ids = torch.tensor([0.1, 0.1, 0.1, 1.0, 0.0]), torch.tensor([1, 1, 1, 2, 2])
    output = GroupRelative()(rewards, ids, torch.ones(5, 2, dtype=torch.bool))
    assert not output.advantages[:3].any()
    assert output.metrics["frac_reward_zero_std"] == 0.5


def test_a_group_of_one_is_an_error_unless_allowed():
    rewards, ids, mask = torch.tensor([1.0, 0.0, 1.0]), torch.tensor([1, 1, 5]), torch.ones(3, 1, dtype=torch.bool)
    with pytest.raises(ValueError, match="group 5 has one completion"):
        GroupRelative()(rewards, ids, mask)
    assert GroupRelative(allow_singletons=True)(rewards, ids, mask).advantages[2] == 0


def test_an_empty_batch_is_fine():
    empty = torch.zeros(0, 3, dtype=torch.bool)
    output = InformationAware()(
        torch.zeros(0), torch.zeros(0, dtype=torch.long), empty, TokenSignals(information=torch.zeros(0, 3))
    )
    assert output.advantages.shape == (0, 3)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: GroupRelative(scale="sd"), "scale: got 'sd'"),
        (lambda: GroupRelative(eps=-1.0), "eps: got -1.0"),
        (lambda: InformationAware(alpha=-1.0), "alpha: got -1.0"),
        (lambda: InformationAware(beta=float("nan")), "beta: got nan"),
        (lambda: InformationAware(discount=1.5), "discount: got 1.5"),
        (lambda: InformationAware(credit="all"), "credit: got 'all'"),
        (lambda: InformationAware(center="row"), "center: got 'row'"),
    ],
)
def test_bad_parameters_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()


class TestInterface:
    """What the checked call of `AdvantageAssigner` refuses, from a caller or from somebody's own subclass."""

    rewards = torch.tensor([1.0, 0.0])
    ids = torch.tensor([3, 3])
    mask = torch.ones(2, 4, dtype=torch.bool)

    @pytest.mark.parametrize(
        ("change", "name"),
        [
            ({"rewards": torch.zeros(3)}, "group_ids"),
            ({"rewards": torch.zeros(2, 1)}, "rewards"),
            ({"group_ids": torch.zeros(2)}, "group_ids"),
            ({"completion_mask": torch.ones(2, 4)}, "completion_mask"),
            ({"completion_mask": torch.ones(3, 4, dtype=torch.bool)}, "completion_mask"),
        ],
    )
    def test_shapes_and_dtypes(self, change, name):
        arguments = {"rewards": self.rewards, "group_ids": self.ids, "completion_mask": self.mask} | change
        with pytest.raises(TypeError, match=f"parameter '{name}'"):
            GroupRelative()(**arguments)

    def test_missing_and_misshapen_signals(self):
        with pytest.raises(ValueError, match=r"signals.information: InformationAware requires it, got None"):
            InformationAware()(self.rewards, self.ids, self.mask)
        with pytest.raises(ValueError, match=r"signals.information: want the shape .* \(2, 4\), got \(2, 3\)"):
            InformationAware()(self.rewards, self.ids, self.mask, TokenSignals(information=torch.zeros(2, 3)))

    def test_rewards_that_are_not_finite(self):
        with pytest.raises(FloatingPointError, match=r"rewards: NaN or infinite value in rows \[1\]"):
            GroupRelative()(torch.tensor([1.0, torch.nan]), self.ids, self.mask)

    @pytest.mark.parametrize(
        ("output", "message"),
        [
            (AdvantageOutput(torch.zeros(2, 3), torch.ones(2, 3, dtype=torch.bool), {}), r"\(2, 4\), got \(2, 3\)"),
            (AdvantageOutput(torch.ones(2, 4), torch.zeros(2, 4, dtype=torch.bool), {}), "0 outside loss_mask"),
            (AdvantageOutput(torch.full((2, 4), torch.nan), torch.ones(2, 4, dtype=torch.bool), {}), "NaN"),
        ],
    )
    def test_outputs_of_a_subclass_without_annotations(self, output, message):
        class Own(AdvantageAssigner):
            def assign(self, rewards, group_ids, completion_mask, signals):
                return output

        with pytest.raises((ValueError, FloatingPointError), match=message):
            Own()(self.rewards, self.ids, self.mask)

    def test_an_output_cannot_be_changed_or_mixed_in_shape(self):
        output = GroupRelative()(self.rewards, self.ids, self.mask)
        with pytest.raises(dataclasses.FrozenInstanceError):
            output.advantages = torch.zeros(2, 4)
        with pytest.raises(TypeError, match="loss_mask"):
            AdvantageOutput(torch.zeros(2, 4), torch.ones(2, 3, dtype=torch.bool), {})
