"""From which completions a loss learns: the others have no backward, and no gradient is lost in silence."""

import pytest
import torch
from updates import embedded_model, run

from iapo.advantages import GroupRelative
from iapo.estimators import NoInformation
from iapo.interfaces import PolicyLoss
from iapo.losses import ClippedPolicyLoss
from iapo.types import LossOutput


class LearnsFromAll(ClippedPolicyLoss):
    """A loss that does not say which completions it does not learn from."""

    learns_from = PolicyLoss.learns_from


@pytest.mark.parametrize(("micro_batch", "epochs"), [(64, 1), (3, 1), (3, 2)])
def test_completions_without_an_advantage_have_no_backward(micro_batch, epochs):
    learned, seen, model = [], [], embedded_model()

    class Watched(ClippedPolicyLoss):
        def compute(self, inputs):
            seen.append(len(inputs))
            return super().compute(inputs)

    def watch(_, arguments, keywords):
        learned.append(torch.is_grad_enabled() * len(keywords["input_ids"]))

    model.register_forward_pre_hook(watch, with_kwargs=True)
    changes = {"double": True, "assigner": GroupRelative(), "estimator": NoInformation(), "epochs": epochs}
    metrics, found = run(micro_batch, model=model, loss=Watched(), **changes)
    every, expected = run(micro_batch, loss=LearnsFromAll(), **changes)
    torch.testing.assert_close(found, expected, atol=1e-9, rtol=0)
    for name in ("loss", "entropy", "grad_norm", "clip_ratio/high_mean"):
        assert metrics[name] == pytest.approx(every[name], abs=1e-6), "forwards are made all the same"
    equal = metrics["frac_reward_zero_std"]
    assert 0 < equal < 1
    assert sum(seen) == epochs * 16
    assert sum(learned) == epochs * 16 * (1 - equal)


def test_a_loss_that_learns_where_it_says_it_does_not_is_refused():
    class WithEntropy(ClippedPolicyLoss):
        def compute(self, inputs):
            output = super().compute(inputs)
            bonus = 0.01 * (inputs.policy_logprobs * inputs.loss_mask).sum() / inputs.denominator
            return LossOutput(output.loss + bonus, output.metrics)

    class SaysSo(WithEntropy):
        learns_from = PolicyLoss.learns_from

    changes = {"assigner": GroupRelative(), "estimator": NoInformation()}
    with pytest.raises(
        ValueError, match=r"WithEntropy\.learns_from: says that nothing .* gradient of up to .*; want True"
    ):
        run(3, loss=WithEntropy(), **changes)
    run(3, loss=SaysSo(), **changes)


def test_with_a_penalty_every_completion_is_learned_from():
    changes = {"double": True, "reference": True, "assigner": GroupRelative(), "estimator": NoInformation()}
    _, found = run(3, loss=ClippedPolicyLoss(kl_coef=0.5), epochs=2, **changes)
    _, expected = run(3, loss=LearnsFromAll(kl_coef=0.5), epochs=2, **changes)
    assert torch.equal(found, expected)


def test_where_nothing_is_learned_the_step_is_refused():
    rewards = {"same": lambda completions, **_: [1.0] * len(completions)}
    metrics, _ = run(3, rewards=rewards, assigner=GroupRelative(), estimator=NoInformation())
    assert metrics["frac_reward_zero_std"] == 1
    assert metrics["grad_norm"] == 0
    assert metrics["iapo/steps_skipped"] == 1


class _Loss(PolicyLoss):
    """REINFORCE, changed by a test."""

    def __init__(self, change=lambda loss: loss, learns=None):
        self.change, self.learns = change, learns

    def learns_from(self, advantages, loss_mask):
        return super().learns_from(advantages, loss_mask) if self.learns is None else self.learns(advantages)

    def compute(self, inputs):
        loss = -(inputs.policy_logprobs * inputs.advantages * inputs.loss_mask).sum() / inputs.denominator
        return LossOutput(self.change(loss), {})

    def denominator(self, loss_mask):
        return loss_mask.sum().clamp(min=1).float()


@pytest.mark.parametrize("change", [torch.Tensor.detach, lambda loss: torch.tensor(loss.item())])
def test_a_loss_that_leads_nowhere_is_named_and_not_skipped(change):
    with pytest.raises(ValueError, match=r"_Loss.compute: the loss has no gradient"):
        run(loss=_Loss(change))


def test_weights_that_learn_nothing_are_named():
    model = embedded_model().requires_grad_(False)
    with pytest.raises(ValueError, match="model: its log-probabilities have no gradient; want weights"):
        run(model=model)


def test_gradients_that_are_off_around_an_update_are_on_inside():
    _, expected = run()
    with torch.no_grad():
        _, found = run()
    assert torch.equal(found, expected)


@pytest.mark.parametrize(
    "learns",
    [
        lambda advantages: advantages.abs().sum(1),
        lambda advantages: advantages != 0,
        lambda advantages: torch.tensor(True),
        lambda advantages: [True] * len(advantages),
    ],
)
def test_what_a_loss_learns_from_is_a_mask_of_completions(learns):
    with pytest.raises(ValueError, match=r"\.learns_from: want bool of shape \(batch,\) = \(16,\), got"):
        run(loss=_Loss(learns=learns))


@pytest.mark.parametrize(
    ("value", "got"),
    [
        (None, "None"),
        (4.0, "4.0"),
        (torch.tensor(4), r"tensor\(4\)"),
        (torch.tensor(0.0), r"tensor\(0\.\)"),
        (torch.tensor(float("nan")), r"tensor\(nan\)"),
        (torch.ones(4), r"shape \(4,\)"),
    ],
)
def test_a_denominator_that_is_none_is_refused_by_the_name_of_its_hook(value, got):
    class Mine(ClippedPolicyLoss):
        def denominator(self, loss_mask):
            return value

    with pytest.raises(ValueError, match=rf"Mine\.denominator: got {got}, want a tensor of floating point"):
        run(3, loss=Mine())
