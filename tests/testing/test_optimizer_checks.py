"""Each check of an optimizer fails on an optimizer that breaks its property, and the others pass."""

import dataclasses
import re

import pytest
import torch
from broken import failures
from torch.optim.lr_scheduler import LambdaLR

from iapo import ClippedOptimizer, PolicyOptimizer, StepStats
from iapo.testing import check_policy_optimizer, optimizer_checks

pytestmark = pytest.mark.usefixtures("first_failure")


class Sound(PolicyOptimizer):
    """Momentum at a rate that falls with the steps, and a place for one mistake."""

    def __init__(self, model):
        self.model = model
        self.weights = [weight for weight in model.parameters() if weight.requires_grad]
        self.momenta = [torch.zeros_like(weight) for weight in self.weights]
        self.taken, self.skipped, self.bad = 0, 0, False

    def accumulate(self, loss, boundary):
        self.bad |= not bool(loss.isfinite())
        loss.backward()
        return self.step() if boundary else None

    def rate(self):
        return 0.1 / (1 + self.taken)

    def step(self):
        norm, rate = self.norm(), self.rate()
        reason = self.refusal(norm)
        if reason:
            self.refuse()
        else:
            self.move(rate)
            self.taken += 1
        self.clear(reason)
        return StepStats(self.taken, not reason, norm, rate, self.skipped, reason)

    def gradients(self):
        return [torch.zeros_like(weight) if weight.grad is None else weight.grad for weight in self.weights]

    def norm(self):
        return float(torch.cat([each.flatten() for each in self.gradients()]).norm())

    def refusal(self, norm):
        return "not finite" if self.bad or not norm < float("inf") else "" if norm else "zero"

    def refuse(self):
        self.skipped += 1

    @torch.no_grad()
    def move(self, rate):
        for weight, momentum, gradient in zip(self.weights, self.momenta, self.gradients(), strict=True):
            weight.sub_(momentum.mul_(0.5).add_(gradient), alpha=rate)

    def clear(self, reason):
        self.bad = False
        self.model.zero_grad()

    def state_dict(self):
        return {"taken": self.taken, "skipped": self.skipped, "momenta": self.momenta}

    def load_state_dict(self, state):
        self.taken, self.skipped, self.momenta = state["taken"], state["skipped"], state["momenta"]


class StatisticsBeforeTheBoundary(Sound):
    def accumulate(self, loss, boundary):
        return super().accumulate(loss, boundary) or StepStats(0, False, 0.0, 0.0, 0, "not yet")


class CountsNothingRefused(Sound):
    def refuse(self):
        pass


class NoReason(Sound):
    def step(self):
        return dataclasses.replace(super().step(), reason="")


class RateOfTheNextStep(PolicyOptimizer):
    """Reads the rate after the schedule has moved on."""

    def __init__(self, model):
        self.optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        self.inner = ClippedOptimizer(self.optimizer, scheduler=LambdaLR(self.optimizer, lambda step: 1 / (1 + step)))

    def accumulate(self, loss, boundary):
        stats = self.inner(loss, boundary)
        rate = self.optimizer.param_groups[0]["lr"]
        return None if stats is None else dataclasses.replace(stats, learning_rate=rate)


class NegativeRate(Sound):
    def step(self):
        stats = super().step()
        return dataclasses.replace(stats, learning_rate=-stats.learning_rate)


class StepsAtEachLoss(Sound):
    def accumulate(self, loss, boundary):
        with torch.no_grad():
            for weight, gradient in zip(
                self.weights, torch.autograd.grad(loss, self.weights, allow_unused=True, retain_graph=True), strict=True
            ):
                if gradient is not None and not boundary and bool(gradient.isfinite().all()):
                    weight.sub_(gradient, alpha=1e-3)
        return super().accumulate(loss, boundary)


class Ascends(Sound):
    @torch.no_grad()
    def move(self, rate):
        super().move(-rate)


class MovesNothing(Sound):
    def move(self, rate):
        pass


class NormAfterClipping(Sound):
    def norm(self):
        return min(super().norm(), 1.0)


class NormOfTheLargestWeight(Sound):
    def norm(self):
        return float(torch.stack([each.norm() for each in self.gradients()]).max())


class KeepsGradients(Sound):
    def clear(self, reason):
        self.bad = False
        if reason:
            self.model.zero_grad()


class Averages(Sound):
    """The mean of the losses in place of their sum."""

    count = 0

    def accumulate(self, loss, boundary):
        self.count += 1
        return super().accumulate(loss, boundary)

    def gradients(self):
        return [gradient / self.count for gradient in super().gradients()]

    def clear(self, reason):
        super().clear(reason)
        self.count = 0


class HalvesEarlierLosses(Sound):
    def accumulate(self, loss, boundary):
        for each in self.model.parameters():
            if each.grad is not None:
                each.grad /= 2
        return super().accumulate(loss, boundary)


class DecaysEveryWeight(Sound):
    @torch.no_grad()
    def move(self, rate):
        super().move(rate)
        for weight in self.model.parameters():
            weight.mul_(1 - 1e-3 * rate)


class Unfreezes(Sound):
    def move(self, rate):
        super().move(rate)
        self.model.requires_grad_()


class LooksAtLossesAlone(Sound):
    def refusal(self, norm):
        return "not finite" if self.bad else "" if norm else "zero"


class LooksAtGradientsAlone(Sound):
    def refusal(self, norm):
        return "not finite" if not norm < float("inf") else "" if norm else "zero"


class KeepsRefusedGradients(Sound):
    def clear(self, reason):
        self.bad = False
        if reason != "not finite":
            self.model.zero_grad()


class RemembersTheBadLoss(Sound):
    def clear(self, reason):
        self.model.zero_grad()


class SchedulesRefusedSteps(Sound):
    def rate(self):
        return 0.1 / (1 + self.taken + self.skipped)


class MomentumOfRefusedSteps(Sound):
    def refuse(self):
        super().refuse()
        for momentum in self.momenta:
            momentum.mul_(0.5)


class StepsWithoutGradient(Sound):
    def refusal(self, norm):
        return "not finite" if self.bad or not norm < float("inf") else ""


class ForgetsMomenta(Sound):
    def load_state_dict(self, state):
        super().load_state_dict(state | {"momenta": self.momenta})


class ForgetsCounts(Sound):
    def load_state_dict(self, state):
        self.momenta = state["momenta"]


class ForgetsRefusedSteps(Sound):
    def load_state_dict(self, state):
        super().load_state_dict(state | {"skipped": 0})


class SavesInHalf(Sound):
    def state_dict(self):
        return super().state_dict() | {"momenta": [momentum.bfloat16().float() for momentum in self.momenta]}


class SavesObjects(Sound):
    def state_dict(self):
        return super().state_dict() | {"schedule": self.rate}


FEW = {"examples": 4}
_STAYS_BAD = r"then step 0: step is \d, want|got \{'step'|grad_norm of step|a resume, step 0: step is|stepped is False"
BROKEN = [
    (StatisticsBeforeTheBoundary, {check.name for check in optimizer_checks()}, "raised TypeEr"),
    (CountsNothingRefused, {"statistics", "not_finite", "nothing_to_learn"}, "'skipped': 1|refused and counted"),
    (NoReason, {"statistics", "not_finite", "nothing_to_learn"}, "and the reason ''|refused without a reason"),
    (RateOfTheNextStep, {"statistics"}, r"step 0 of \d: learning_rate is 0.05, the step's was 0.1"),
    (NegativeRate, {"statistics"}, "learning_rate is -0.1, want a number of at least 0"),
    (
        StepsAtEachLoss,
        {"before_boundary", "micro_batches", "not_finite", "nothing_to_learn"},
        r"step \d, after loss 0 of \d: \w+: differs by|weight|weights after",
    ),
    (Ascends, {"descent"}, r"the loss of 4 equal steps was [\d.e+-]+, is [\d.e+-]+, want a smaller one"),
    (MovesNothing, {"descent"}, "no weight has changed after 4 steps"),
    (NormAfterClipping, {"gradient_norm"}, r"grad_norm of step 0 of \d: differs by"),
    (NormOfTheLargestWeight, {"gradient_norm"}, r"grad_norm of step 0 of \d: differs by"),
    (
        KeepsGradients,
        {"gradient_norm", "not_finite", "nothing_to_learn", "resumed"},
        r"grad_norm of step \d|stepped True|grad_norm is",
    ),
    (Averages, {"gradient_norm", "micro_batches"}, r"differs by"),
    (
        HalvesEarlierLosses,
        {"gradient_norm", "micro_batches", "nothing_to_learn"},
        r"differs by|stepped is|two gradients that cancel: want the step refused",
    ),
    (DecaysEveryWeight, {"frozen"}, r"after \d steps: frozen: differs by"),
    (Unfreezes, {"frozen", "gradient_norm"}, "frozen: requires_grad was False, is True|grad_norm of step 1"),
    (LooksAtLossesAlone, {"not_finite"}, "behind a finite loss at .* got stepped True"),
    (LooksAtGradientsAlone, {"not_finite"}, "an infinite loss with a finite gradient at .* got stepped True"),
    (
        KeepsRefusedGradients,
        {"statistics", "gradient_norm", "not_finite", "resumed"},
        _STAYS_BAD,
    ),
    (RemembersTheBadLoss, {"statistics", "not_finite", "resumed"}, _STAYS_BAD),
    (SchedulesRefusedSteps, {"not_finite", "nothing_to_learn"}, "then step 0: learning_rate is"),
    (
        MomentumOfRefusedSteps,
        {"not_finite", "nothing_to_learn"},
        r"state after the step was refused: state.own.momenta",
    ),
    (StepsWithoutGradient, {"nothing_to_learn"}, "want the step refused and counted .* got stepped True"),
    (ForgetsMomenta, {"resumed"}, r"after \d steps and a resume: state: state.own.momenta.0: differs by"),
    (ForgetsCounts, {"resumed"}, r"after \d steps and a resume: state: state.own.taken: got 0, want \d"),
    (ForgetsRefusedSteps, {"resumed"}, "state.own.skipped: got 0, want 1"),
    (SavesInHalf, {"resumed"}, "differs by"),
    (SavesObjects, {"not_finite", "nothing_to_learn", "resumed"}, "state.own.schedule: want tensors, .*, got method"),
]


@pytest.mark.parametrize(("optimizer", "names", "message"), BROKEN, ids=lambda value: getattr(value, "__name__", ""))
def test_each_broken_optimizer_fails_its_check(optimizer, names, message):
    found = failures(optimizer, optimizer_checks, names, FEW)
    assert set(found) == names
    for name in names:
        assert re.match(f"{optimizer.__name__}: {name}: ", found[name])
        assert re.search(message, found[name]), found[name]


def test_a_sound_optimizer_passes():
    assert all(check_policy_optimizer(Sound).values())


def test_without_a_state_it_cannot_be_resumed():
    applied = check_policy_optimizer(RateOfTheFirstStep, examples=2)
    assert {name for name in applied if not applied[name]} == {"resumed"}


class RateOfTheFirstStep(RateOfTheNextStep):
    def accumulate(self, loss, boundary):
        return self.inner(loss, boundary)


def test_what_makes_something_else_is_told():
    with pytest.raises(TypeError, match=r"made a Linear, want an object of a subclass of iapo.PolicyOptimizer"):
        check_policy_optimizer(lambda model: torch.nn.Linear(1, 1))
