"""Group-relative and information-aware advantages against naive loops, and where they reduce to one another."""

import dataclasses
import math

import pytest
import references
import torch
from advantage_batches import batches
from hypothesis import given
from hypothesis import strategies as st

from iapo import AdvantageAssigner, AdvantageOutput, TokenSignals
from iapo.advantages import GFPO, GroupRelative, InformationAware, information_to_go
from iapo.advantages.schedules import Linear
from iapo.types import AdvantageInputs


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
    st.sampled_from(["std", "none"]),
    st.sampled_from(["all", "correct"]),
    st.sampled_from(["measured", "completion"]),
    st.sampled_from([None, 0.5, 10.0]),
    st.sampled_from([0.0, 1.0, 2.5]),
    st.sampled_from([None, 1, 2]),
)
def test_information_term_against_the_loop(
    batch, credit, center, discount, scale, applies_to, covers, saturation, power, per_group
):
    rewards, ids, mask, signals = batch
    choices = {"credit": credit, "center": center, "discount": discount, "scale": scale}
    choices |= {"applies_to": applies_to, "covers": covers, "saturation": saturation, "solve_rate_power": power}
    choices |= {"per_group": per_group}
    assigner = InformationAware(GroupRelative(), alpha=0.7, **choices)
    output = assigner(rewards, ids, mask, signals)
    information, measured = signals.information.double().tolist(), signals.information_mask.tolist()
    if saturation is not None:
        information = [[1 - math.exp(-max(s, 0.0) / saturation) for s in row] for row in information]
    if credit == "to_go":
        information = references.to_go(information, measured, discount)
    if covers == "completion":
        pairs = [zip(values, row, strict=True) for values, row in zip(information, measured, strict=True)]
        information, measured = [[value if m else 0.0 for value, m in row] for row in pairs], mask.tolist()
    if applies_to == "correct":
        measured = [[m and float(r) > 0.5 for m in row] for row, r in zip(measured, rewards, strict=True)]
    given: dict[int, int] = {}
    for row, reward in enumerate(rewards.tolist()):
        if applies_to == "all" or reward > 0.5:
            given[int(ids[row])] = given.get(int(ids[row]), 0) + 1
            if per_group is not None and given[int(ids[row])] > per_group:
                measured[row] = [False] * len(measured[row])
    keys = {"completion": lambda i: i, "group": lambda i: int(ids[i]), "batch": lambda i: 0}
    resolution = 1e-4 if scale == "std" else 0.0
    term = torch.tensor(references.zscore(information, measured, keys[center], scale, resolution=resolution))
    outcome = torch.tensor(references.group_relative(rewards.tolist(), ids.tolist(), 1e-4))[:, None] * mask
    solved = torch.tensor([float((rewards[ids == own] > 0.5).double().mean()) for own in ids])[:, None]
    torch.testing.assert_close(output.advantages, outcome + 0.7 * solved**power * term, atol=2e-4, rtol=1e-4)


@given(batches(), st.sampled_from(["policy_probability", "policy_entropy"]))
def test_exploration_term_against_the_loop(batch, exploration):
    rewards, ids, mask, signals = batch
    assigner = InformationAware(GroupRelative(), alpha=0.0, beta=0.3, exploration=exploration)
    assert len(assigner.requires) == 1
    sign = torch.where(rewards > 0.5, 1.0, -1.0)[:, None]
    signal = signals.policy_logprobs.exp() if exploration == "policy_probability" else -signals.policy_entropy
    term = torch.tensor(references.zscore((sign * signal).double().tolist(), mask.tolist(), lambda i: i))
    outcome = torch.tensor(references.group_relative(rewards.tolist(), ids.tolist(), 1e-4))[:, None] * mask
    found = assigner(rewards, ids, mask, signals).advantages
    torch.testing.assert_close(found, outcome + 0.3 * term, atol=2e-4, rtol=1e-4)


@given(batches())
def test_without_weights_it_is_grpo_to_the_bit(batch):
    rewards, ids, mask, signals = batch
    plain, shaped = GroupRelative(), InformationAware(GroupRelative(), alpha=0.0, beta=0.0)
    assert not shaped.requires
    assert torch.equal(shaped(rewards, ids, mask, signals).advantages, plain(rewards, ids, mask).advantages)


@given(batches())
def test_centered_in_the_completion_the_term_sums_to_zero(batch):
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


@pytest.mark.parametrize(("resolution", "expected"), [(0.0, [[-1.0, 1.0]]), (1e-4, [[0.0, 0.0]])])
def test_information_within_the_resolution_is_equal(resolution, expected):
    information = torch.tensor([[1.4439, 1.4439 + 2e-7]])
    mask = torch.ones(1, 2, dtype=torch.bool)
    outcome = GroupRelative(allow_singletons=True)
    assigner = InformationAware(outcome, alpha=1.0, credit="own", center="completion", resolution=resolution)
    found = assigner(torch.tensor([1.0]), torch.tensor([0]), mask, TokenSignals(information=information)).advantages
    torch.testing.assert_close(found, torch.tensor(expected), atol=1e-6, rtol=0)


def test_without_scaling_small_information_counts_too():
    information, mask = torch.tensor([[1.0, 1.0 + 2**-10]]), torch.ones(1, 2, dtype=torch.bool)
    outcome, signals = GroupRelative(allow_singletons=True), TokenSignals(information=information)
    assigner = InformationAware(outcome, alpha=1.0, credit="own", center="completion", scale="none", resolution=0.1)
    found = assigner(torch.tensor([1.0]), torch.tensor([0]), mask, signals).advantages
    assert found.tolist() == [[-(2.0**-11), 2.0**-11]]


@given(batches(), st.sampled_from(["all", "correct"]), st.integers(0, 10))
def test_what_the_outcome_leaves_out_does_not_count(batch, applies_to, seed):
    rewards, ids, mask, signals = batch
    assigner = InformationAware(GFPO(keep=2), alpha=1.0, applies_to=applies_to)
    expected = assigner(rewards, ids, mask, signals)
    left_out = ~expected.loss_mask.any(1)
    other = torch.randn(mask.shape, generator=torch.Generator().manual_seed(seed)) * 100
    information = torch.where(left_out[:, None], other, signals.information)
    found = assigner(rewards, ids, mask, dataclasses.replace(signals, information=information))
    assert torch.equal(found.advantages, expected.advantages)


@pytest.mark.parametrize("center", ["completion", "group", "batch"])
def test_signals_in_half_precision(center):
    signals = TokenSignals(information=torch.randn(2, 3, dtype=torch.bfloat16))
    mask = torch.ones(2, 3, dtype=torch.bool)
    output = InformationAware(center=center)(torch.tensor([1.0, 0.0]), torch.tensor([0, 0]), mask, signals)
    assert output.advantages.dtype == torch.float32


def test_covering_the_completion_prices_what_follows_reasoning():
    mask = torch.tensor([[True] * 4, [True] * 4, [True] * 4, [True, True, True, False]])
    signals = TokenSignals(
        information=torch.tensor([[1.0, 1.0, 0.0, 0.0]] * 4), information_mask=torch.arange(4).expand(4, 4) < 2
    )
    rewards, ids = torch.ones(4), torch.zeros(4, dtype=torch.long)
    assert not InformationAware()(rewards, ids, mask, signals).advantages[:, 2:].any()
    covered = InformationAware(covers="completion")(rewards, ids, mask, signals).advantages
    assert (covered[:, 2:][mask[:, 2:]] < 0).all()
    assert (covered[:, :2] > 0).all()


def test_measured_information_is_a_metric_per_token():
    """In nats, of all completions that were measured, with or without a term; absent where nothing was measured."""
    measured = torch.tensor([[True, True, False], [False, False, False], [False, True, False]])
    signals = TokenSignals(information=torch.tensor([[1.0, 2.0, 7.0], [9.0, 9.0, 9.0], [9.0, 3.0, 9.0]]))
    rewards, ids, mask = torch.tensor([1.0, 1.0, 0.0]), torch.tensor([0, 0, 0]), torch.ones(3, 3, dtype=torch.bool)
    found = InformationAware()(rewards, ids, mask, dataclasses.replace(signals, information_mask=measured)).metrics
    assert found["iapo/information_per_token"] == 2.0
    nothing = dataclasses.replace(signals, information_mask=torch.zeros_like(mask))
    assert not any("information" in name for name in InformationAware()(rewards, ids, mask, nothing).metrics)


@pytest.mark.parametrize(("applies_to", "asked"), [("correct", [1, 0, 1, 1, 1]), ("all", [1, 1, 1, 0, 1])])
def test_only_so_many_completions_of_a_group_are_measured(applies_to, asked):
    rewards, ids = torch.tensor([1.0, 0.0, 1.0, 1.0, 1.0]), torch.tensor([5, 5, 2, 5, 2])
    assigner = InformationAware(applies_to=applies_to, per_group=2)
    inputs = AdvantageInputs(rewards, rewards > 0.5, ids, torch.ones(5, 2, dtype=torch.bool))
    assert assigner.wants_information(inputs).tolist() == [bool(row) for row in asked]


@given(batches())
def test_where_all_completions_are_correct_the_solve_rate_changes_nothing(batch):
    _, ids, mask, signals = batch
    plain, braked = InformationAware(), InformationAware(solve_rate_power=2.0)
    rewards = torch.ones(len(ids))
    assert torch.equal(braked(rewards, ids, mask, signals).advantages, plain(rewards, ids, mask, signals).advantages)


def test_no_correct_completion_no_information_term():
    mask = torch.ones(2, 3, dtype=torch.bool)
    signals = TokenSignals(information=torch.randn(2, 3))
    assigner = InformationAware(applies_to="correct")
    output = assigner(torch.tensor([0.5, 0.0]), torch.tensor([0, 0]), mask, signals)
    expected = GroupRelative()(torch.tensor([0.5, 0.0]), torch.tensor([0, 0]), mask)
    assert torch.equal(output.advantages, expected.advantages)


def test_equal_rewards_give_exactly_nothing_and_are_counted():
    rewards, ids = torch.tensor([0.1, 0.1, 0.1, 1.0, 0.0]), torch.tensor([1, 1, 1, 2, 2])
    output = GroupRelative()(rewards, ids, torch.ones(5, 2, dtype=torch.bool))
    assert not output.advantages[:3].any()
    assert output.metrics["frac_reward_zero_std"] == 0.5


def test_the_metric_of_spread_is_the_mean_over_groups():
    rewards, ids, mask = torch.tensor([1.0, 0.0, 1.0, 1.0]), torch.tensor([0, 0, 4, 4]), torch.ones(4, 1).bool()
    metrics = GroupRelative()(rewards, ids, mask).metrics
    assert metrics == {"reward_std": pytest.approx(0.5**0.5 / 2), "frac_reward_zero_std": 0.5}


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
        (lambda: InformationAware(resolution=-1.0), "resolution: got -1.0"),
        (lambda: InformationAware(credit="all"), "credit: got 'all'"),
        (lambda: InformationAware(center="row"), "center: got 'row'"),
        (lambda: InformationAware(scale="l2"), "scale: got 'l2'"),
        (lambda: InformationAware(applies_to="wrong"), "applies_to: got 'wrong'"),
        (lambda: InformationAware(per_group=0), "per_group: got 0, want None or an integer of at least 1"),
        (lambda: InformationAware(covers="answer"), "covers: got 'answer'"),
        (lambda: InformationAware(exploration="none"), "exploration: got 'none'"),
        (lambda: InformationAware(alpha=Linear(1.0, -1.0)), r"alpha: got Linear\(start=1.0, end=-1.0\)"),
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
            def assign(self, inputs):
                return output

        with pytest.raises((ValueError, FloatingPointError), match=message):
            Own()(self.rewards, self.ids, self.mask)

    def test_an_output_cannot_be_changed_or_mixed_in_shape(self):
        output = GroupRelative()(self.rewards, self.ids, self.mask)
        with pytest.raises(dataclasses.FrozenInstanceError):
            output.advantages = torch.zeros(2, 4)
        with pytest.raises(TypeError, match="loss_mask"):
            AdvantageOutput(torch.zeros(2, 4), torch.ones(2, 3, dtype=torch.bool), {})
