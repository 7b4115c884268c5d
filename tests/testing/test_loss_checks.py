"""Each check of a loss fails on a loss that breaks its property, and the others pass."""

import re

import pytest
import torch
from broken import failures

from iapo import LossOutput, PolicyLoss
from iapo.losses import ClippedPolicyLoss
from iapo.ops.masked import masked_sum
from iapo.testing import check_policy_loss, loss_checks

pytestmark = pytest.mark.usefixtures("first_failure")


class Sound(PolicyLoss):
    """``-A pi / pi_old``, summed over the mask, by the denominator, with a place for one mistake."""

    def denominator(self, loss_mask):
        return loss_mask.sum().clamp(min=1).double()

    def compute(self, inputs):
        value = self.value((inputs.policy_logprobs - inputs.old_logprobs).clamp(-20, 20), inputs)
        return self.finish(masked_sum(value, inputs.loss_mask) / inputs.denominator, value, inputs)

    def value(self, change, inputs):
        return -change.exp() * inputs.advantages

    def finish(self, loss, value, inputs):
        return LossOutput(loss, {})


class Detached(Sound):
    def finish(self, loss, value, inputs):
        return LossOutput(loss.detach(), {})


class LeaksIntoAdvantages(Sound):
    def __call__(self, policy_logprobs, old_logprobs, advantages, loss_mask, denominator, ref_logprobs=None):
        output = super().__call__(policy_logprobs, old_logprobs, advantages, loss_mask, denominator)
        leak = (advantages - advantages.detach()).masked_fill(~loss_mask, 0).sum()
        return LossOutput(output.loss + 0.5 * leak, {})


class AttachedMetric(Sound):
    def finish(self, loss, value, inputs):
        return LossOutput(loss, {"loss": loss})


class NotANumberMetric(Sound):
    def finish(self, loss, value, inputs):
        mask = inputs.loss_mask
        return LossOutput(loss, {"mean": masked_sum(inputs.policy_logprobs.detach(), mask) / mask.sum()})


class LongestDenominator(Sound):
    def denominator(self, loss_mask):
        return loss_mask.sum(1).max().clamp(min=1).double()


class UncleanedInputs(Sound):
    """Multiplies by the mask, which NaN survives, and does not let the interface clean its inputs."""

    def __call__(self, policy_logprobs, old_logprobs, advantages, loss_mask, denominator, ref_logprobs=None):
        ratio = (policy_logprobs - old_logprobs.detach()).clamp(-20, 20).exp()
        return LossOutput((-ratio * advantages.detach() * loss_mask).sum() / denominator, {})


class ByWidth(Sound):
    def finish(self, loss, value, inputs):
        return LossOutput(loss * inputs.loss_mask.shape[1], {})


class ByPlace(Sound):
    def value(self, change, inputs):
        return -change.exp() * inputs.advantages * (1 + torch.arange(len(inputs.loss_mask)))[:, None]


class OwnDenominator(Sound):
    def finish(self, loss, value, inputs):
        return LossOutput(masked_sum(value, inputs.loss_mask) / inputs.loss_mask.sum().clamp(min=1), {})


class MeanMetric(Sound):
    def finish(self, loss, value, inputs):
        mask = inputs.loss_mask
        return LossOutput(loss, {"policy": masked_sum(inputs.policy_logprobs.detach(), mask) / mask.sum().clamp(min=1)})


class ConstantWhenEmpty(Sound):
    def finish(self, loss, value, inputs):
        return LossOutput(loss + 0.125 * (not inputs.loss_mask.any()), {})


class EntropyBonus(Sound):
    def value(self, change, inputs):
        return -change.exp() * inputs.advantages + 0.01 * inputs.policy_logprobs * inputs.policy_logprobs.detach().exp()


class TwiceAsStrong(Sound):
    def value(self, change, inputs):
        return -2 * change.exp() * inputs.advantages


class Overflowing(Sound):
    def compute(self, inputs):
        ratio = (inputs.policy_logprobs - inputs.old_logprobs).exp()
        return LossOutput(masked_sum(-ratio * inputs.advantages, inputs.loss_mask) / inputs.denominator, {})


class StopsGradient(Sound):
    """The weight is kept out of the gradient, as in CISPO."""

    def value(self, change, inputs):
        return -change.exp().detach() * inputs.advantages * inputs.policy_logprobs


FEW = {"examples": 5}
BROKEN = [
    (LeaksIntoAdvantages(), {"gradient_source"}, r"a gradient of up to 0.5 into advantages, sizes \(\d, \d\)"),
    (AttachedMetric(), {"metrics"}, r"metric loss carries a gradient, sizes \(\d, \d\)"),
    (NotANumberMetric(), {"metrics", "micro_batches"}, r"metric mean: (got nan|differs by)"),
    (LongestDenominator(), {"denominator"}, r"sum over rows, sizes \(\d, \d\), \d+ tokens: differs by"),
    (
        UncleanedInputs(),
        {"masked_garbage"},
        r"with -?(nan|inf|1e\+30) in masked slots of \(\d, \d\): ",
    ),
    (
        ByWidth(),
        {"padding", "ratio_one"},
        r"with [1-3] more slots of padding, sizes \(\d, \d\)|against -A",
    ),
    (ByPlace(), {"batch_order", "micro_batches", "ratio_one"}, r"in the order|rows in micro-batches of|against -A"),
    (
        OwnDenominator(),
        {"micro_batches"},
        r"\d rows in micro-batches of \d: gradient: differs by [\d.e-]+ at",
    ),
    (MeanMetric(), {"micro_batches"}, r"\d rows in micro-batches of \d: metric policy: differs by"),
    (ConstantWhenEmpty(), {"empty_mask", "micro_batches"}, r"loss: differs by 0\.(125|25|375|5|625)"),
    (EntropyBonus(), {"zero_advantages", "ratio_one", "finite_differences"}, r"gradient.*: differs by"),
    (TwiceAsStrong(), {"ratio_one"}, r"gradient against -A / denominator: differs by"),
    (Overflowing(), {"extreme_ratios"}, r"raised FloatingPointError: Overflowing.compute: loss: NaN or infinite value"),
    (StopsGradient(), {"finite_differences"}, r"gradient against central differences: differs by"),
]


@pytest.mark.parametrize(("loss", "names", "message"), BROKEN, ids=lambda value: type(value).__name__)
def test_each_broken_loss_fails_its_check(loss, names, message):
    found = failures(loss, loss_checks, names, FEW)
    owner = type(loss).__name__
    assert set(found) == names
    for name in names:
        assert re.match(f"{owner}: {name}: ", found[name])
        assert re.search(message, found[name]), found[name]


def test_a_missing_gradient_is_the_first_thing_reported():
    with pytest.raises(AssertionError, match="Detached: gradient_source: the loss carries no gradient to policy_logp"):
        check_policy_loss(Detached())


def test_a_sound_loss_passes_and_options_turn_checks_off():
    assert all(check_policy_loss(Sound()).values())
    assert not check_policy_loss(TwiceAsStrong(), reinforce=False)["ratio_one"]
    assert not check_policy_loss(StopsGradient(), differentiable=False)["finite_differences"]


def test_a_loss_with_a_penalty_gets_its_reference():
    applied = check_policy_loss(ClippedPolicyLoss(kl_coef=0.1))
    assert {name for name in applied if not applied[name]} == {"zero_advantages"}
