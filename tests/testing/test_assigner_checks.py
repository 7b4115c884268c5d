"""Each check of an assigner fails on an assigner that breaks its property, and the others pass."""

import dataclasses
import re

import pytest
import torch
from broken import failures

from iapo import AdvantageAssigner, AdvantageOutput
from iapo.advantages import GroupRelative, WrappingAssigner
from iapo.testing import assigner_checks, check_advantage_assigner

pytestmark = pytest.mark.usefixtures("first_failure")


class Sound(AdvantageAssigner):
    """Group-relative, with a place for one mistake."""

    def assign(self, inputs):
        output = GroupRelative()(inputs.rewards, inputs.group_ids, inputs.completion_mask)
        advantages = self.change(output.advantages, inputs)
        mask = inputs.completion_mask
        return AdvantageOutput(advantages.masked_fill(~mask, 0), mask, output.metrics)

    def change(self, advantages, inputs):
        return advantages


class DoublePrecision(Sound):
    def change(self, advantages, inputs):
        return advantages.double()


class OutsideTheLoss(Sound):
    """The first token leaves the loss mask and keeps its advantage."""

    def __call__(self, *args, **kwargs):
        output = super().__call__(*args, **kwargs)
        loss_mask = output.loss_mask.clone()
        loss_mask[:, 0] = False
        return dataclasses.replace(output, advantages=output.advantages, loss_mask=loss_mask)


class Attached(Sound):
    def __call__(self, rewards, *args, **kwargs):
        output = super().__call__(rewards, *args, **kwargs)
        return dataclasses.replace(output, advantages=output.advantages + 0 * rewards.float()[:, None])


class InPlace(Sound):
    """Through a view of which torch keeps no count, so that the interface does not see it."""

    def change(self, advantages, inputs):
        if inputs.signals.policy_logprobs is not None:
            inputs.signals.policy_logprobs.data.exp_()
        return advantages


class SecretlyReads(Sound):
    def change(self, advantages, inputs):
        entropy = inputs.signals.policy_entropy
        return advantages + (0 if entropy is None else entropy.masked_fill(~inputs.completion_mask, 0))


class SecretlyReadsRewards(Sound):
    def change(self, advantages, inputs):
        columns = inputs.signals.reward_columns
        return advantages + (0 if columns is None else columns[:, :1])


class SecretlyReadsTokens(Sound):
    def change(self, advantages, inputs):
        ids = inputs.signals.completion_ids
        return advantages + (0 if ids is None else (ids == 3).float())


class NeverReads(Sound):
    requires = frozenset({"information"})


def measured_information(inputs):
    """The information of each token, 0 where it was not measured."""
    mask, measured = inputs.completion_mask, inputs.signals.information_mask
    return inputs.signals.information.masked_fill(~(mask if measured is None else mask & measured), 0)


class ReadsUnasked(Sound):
    """Asks for the information of right completions, and pays for that of all."""

    requires = frozenset({"information"})

    def wants_information(self, inputs):
        return inputs.rewards > 0.5

    def change(self, advantages, inputs):
        return advantages + measured_information(inputs)


class AsksByToken(Sound):
    requires = frozenset({"information"})

    def wants_information(self, inputs):
        return inputs.completion_mask

    def change(self, advantages, inputs):
        return advantages + measured_information(inputs)


class NothingLater(Sound):
    def at(self, progress):
        return self if progress < 1 else None


class ReadsMoreLater(Sound):
    def at(self, progress):
        return NeverReads() if progress else self


class NoDataclass(WrappingAssigner):
    def __init__(self):
        self.outcome = GroupRelative()

    def assign(self, inputs):
        return self.assign_outcome(inputs)


class Multiplies(Sound):
    """Masks by a product, which NaN survives."""

    requires = frozenset({"policy_logprobs"})

    def change(self, advantages, inputs):
        mask = inputs.completion_mask
        mean = (inputs.signals.policy_logprobs * mask).sum(1) / mask.sum(1).clamp(min=1)
        return advantages + mean[:, None]


class MultipliesInMetrics(Sound):
    def assign(self, inputs):
        output = super().assign(inputs)
        information = inputs.signals.information
        mean = 0.0 if information is None else float((information * inputs.completion_mask).sum())
        return dataclasses.replace(output, metrics=output.metrics | {"information": mean})


class ByWidth(Sound):
    def change(self, advantages, inputs):
        return advantages - inputs.completion_mask.float().mean(1, keepdim=True)


class MetricByWidth(Sound):
    def assign(self, inputs):
        output = super().assign(inputs)
        return dataclasses.replace(output, metrics={"filled": float(inputs.completion_mask.float().mean())})


class MetricOfTheFirst(Sound):
    def assign(self, inputs):
        output = super().assign(inputs)
        return dataclasses.replace(output, metrics={"first": float(inputs.completion_mask[0].sum())})


class FirstInGroup(Sound):
    """The completion of a group that stands first has an extra."""

    def change(self, advantages, inputs):
        first = [group not in inputs.group_ids[:row] for row, group in enumerate(inputs.group_ids)]
        return advantages + torch.tensor(first)[:, None]


class Adjacent(AdvantageAssigner):
    """Takes neighbors with equal ids for a group."""

    def assign(self, inputs):
        runs = torch.nn.functional.pad((inputs.group_ids[1:] != inputs.group_ids[:-1]).long().cumsum(0), (1, 0))
        return GroupRelative(allow_singletons=True)(inputs.rewards, runs, inputs.completion_mask)


class ByLabel(Sound):
    def change(self, advantages, inputs):
        return advantages + (inputs.group_ids % 2)[:, None]


class BatchCentered(Sound):
    def change(self, advantages, inputs):
        return (inputs.rewards - inputs.rewards.mean())[:, None] * inputs.completion_mask


class Scaled(Sound):
    """Divides by the spread of the rewards, whatever it is."""

    def change(self, advantages, inputs):
        return advantages / (inputs.rewards.max() - inputs.rewards.min())


class PerToken(Sound):
    def assign(self, inputs):
        output = super().assign(inputs)
        mean = float(output.advantages.sum() / inputs.completion_mask.sum())
        return dataclasses.replace(output, metrics={"per_token": mean})


class ByDtype(Sound):
    def change(self, advantages, inputs):
        return advantages + (inputs.rewards.dtype == torch.float64)


FEW = {"examples": 3}
BROKEN = [
    (DoublePrecision(), {"shape"}, r"want float32 for rewards in torch.float32, got torch.float64, sizes \(\d+, \d+\)"),
    (OutsideTheLoss(), {"loss_mask"}, r"advantages outside the loss mask: differs by [\d.]+ at \(\d+, 0\)"),
    (Attached(), {"detached"}, r"advantages of sizes \(\d+, \d+\) carry a gradient"),
    (InPlace(), {"inputs_untouched"}, r"policy_logprobs after the call: differs by"),
    (SecretlyReads(), {"requires"}, r"with (no|another) policy_entropy, which is not required: advantages: differs by"),
    (SecretlyReadsRewards(), {"requires"}, "with (no|another) reward_columns, which is not required: advantages:"),
    (SecretlyReadsTokens(), {"requires"}, "with (no|another) completion_ids, which is not required: advantages:"),
    (NeverReads(), {"requires"}, r"required information changed no advantage in 12 batches"),
    (
        ReadsUnasked(),
        {"wants_information"},
        r"with information estimated in rows \[[\d, ]*\] alone: advantages: differs by",
    ),
    (AsksByToken(), {"wants_information"}, r"want bool \(\d+,\), got torch.bool \(\d+, \d+\)"),
    (NothingLater(), {"at"}, r"at\(1.0\): want an iapo.AdvantageAssigner, got NoneType"),
    (ReadsMoreLater(), {"at"}, r"at\(0.5\) requires \['information'\] too, want only \[\]"),
    (NoDataclass(), {"at"}, r"NoDataclass: want a dataclass \(@dataclass\(frozen=True\)\)"),
    (Multiplies(), {"masked_garbage"}, r"raised FloatingPointError: Multiplies.assign: advantages: NaN or infinite"),
    (MultipliesInMetrics(), {"masked_garbage"}, r"in masked slots of \(\d+, \d+\), metric information: differs by"),
    (ByWidth(), {"padding"}, r"with [1-3] more slots of padding: advantages: differs by"),
    (MetricByWidth(), {"padding"}, r"with [1-3] more slots of padding, metric filled: differs by"),
    (MetricOfTheFirst(), {"batch_order"}, r"rows in the order \[[\d, ]+\], metric first: differs by"),
    (FirstInGroup(), {"batch_order"}, r"rows in the order \[[\d, ]+\]: advantages: differs by"),
    (Adjacent(), {"batch_order", "groups_independent"}, r"(rows in the order|a group alone)"),
    (ByLabel(), {"group_labels"}, r"with the group labels \[[\d, ]+\]: advantages: differs by"),
    (BatchCentered(), {"groups_independent"}, r"rows \[[\d, ]+\], a group alone: advantages: differs by"),
    (Scaled(), {"equal_rewards"}, r"raised FloatingPointError: Scaled.assign: advantages: NaN or infinite"),
    (
        PerToken(),
        {"empty_completions", "equal_rewards"},
        r"with (completions without tokens|all rewards .*): metric per_token: got nan",
    ),
    (ByDtype(), {"float64"}, r"in fp32 against fp64: advantages: differs by"),
]


@pytest.mark.parametrize(("assigner", "names", "message"), BROKEN, ids=lambda value: type(value).__name__)
def test_each_broken_assigner_fails_its_check(assigner, names, message):
    # Rewards that differ: a spread of 0 then comes from the check that sets it alone.
    options = {"ties": False, "groups_independent": False} if isinstance(assigner, Scaled) else {}
    found = failures(assigner, assigner_checks, names, FEW, **options)
    owner = type(assigner).__name__
    assert set(found) == names
    for name in names:
        assert re.match(f"{owner}: {name}: ", found[name])
        assert re.search(message, found[name]), found[name]


def test_a_sound_assigner_passes_everything():
    assert all(check_advantage_assigner(Sound()).values())
    assert not check_advantage_assigner(BatchCentered(), groups_independent=False)["groups_independent"]
    assert not check_advantage_assigner(ByWidth(), width_independent=False)["padding"]


def test_ties_broken_by_position_need_ties_off():
    class Shortest(AdvantageAssigner):
        """Learns from the shortest completion of a group, the first of several."""

        def assign(self, inputs):
            kept = torch.zeros_like(inputs.completion_mask)
            for group in inputs.group_ids.unique():
                rows = (inputs.group_ids == group).nonzero().flatten()
                kept[rows[inputs.completion_mask[rows].sum(1).argmin()]] = True
            kept &= inputs.completion_mask
            return AdvantageOutput(inputs.rewards[:, None] * kept, kept, {})

    assert set(failures(Shortest(), assigner_checks, {"batch_order"}, FEW)) == {"batch_order"}
    assert all(check_advantage_assigner(Shortest(), ties=False).values())


def test_a_sampling_assigner_is_checked_as_far_as_it_can_be():
    class Sampled(Sound):
        def change(self, advantages, inputs):
            return advantages * (torch.rand(inputs.completion_mask.shape) < 0.5)

    names = {"padding", "batch_order"}
    assert names <= set(failures(Sampled(), assigner_checks, names, FEW))
    applied = check_advantage_assigner(Sampled(), deterministic=False)
    assert {name for name in applied if not applied[name]} == {"padding", "batch_order", "groups_independent"}
