"""The contract of every optimizer of a policy."""

import inspect
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from hypothesis import strategies as st
from torch import Tensor, nn

from iapo.interfaces import PolicyOptimizer
from iapo.ops.checks import named_kind
from iapo.testing.checks import Check, assert_close, for_all, run_checks, seeded
from iapo.testing.loss_steps import LinearPolicy, Step, steps_of_losses, total_loss
from iapo.testing.optimizer_state import (
    assert_same_state,
    assert_same_tensors,
    has_state,
    learning_rate,
    load_state,
    state_of,
    state_tensors,
    through_file,
)
from iapo.types import StepStats

MakeOptimizer = Callable[[nn.Module], PolicyOptimizer]
"""Makes an optimizer of a model: a function, or a class that is called with the model alone."""

_NOT_FINITE: dict[str, Callable[[Tensor], Tensor]] = {
    "a loss of NaN": lambda loss: loss * torch.nan,
    "an infinite loss": lambda loss: loss * torch.inf,
    "an infinite loss with a finite gradient": lambda loss: loss + torch.inf,
    "a gradient of NaN behind a finite loss": lambda loss: (loss * 0).sqrt(),
    "an infinite gradient behind a finite loss": lambda loss: (loss - loss.detach()).sqrt(),
}
_NOTHING = {"a gradient of 0": (0.0,), "two gradients that cancel": (1.0, -1.0)}
"""By what its losses are multiplied in a step that teaches nothing."""


def check_policy_optimizer(make: MakeOptimizer, **options: Any) -> dict[str, bool]:
    """Run every check of `OptimizerContract` that applies.

    Args:
        make: makes the optimizer of a model that is given, as ``lambda model: MyOptimizer(model.parameters())``; called
            many times, each time with a new tiny model.
        options: fields of `OptimizerContract`.

    Returns:
        Whether each check applied, by name; all that did have passed.

    Raises:
        AssertionError: the optimizer does not have a property; the message names it, the step and the difference.
        TypeError: ``make`` is an optimizer, or another class, or returns something else than an `iapo.PolicyOptimizer`.

    Example:
        >>> from iapo import ClippedOptimizer
        >>> all(check_policy_optimizer(lambda model: ClippedOptimizer(torch.optim.AdamW(model.parameters()))).values())
        True
    """
    if not makes_optimizer(make):
        raise TypeError(
            f"got {named_kind(make)} to check, want what makes an object of a subclass of iapo.PolicyOptimizer of a "
            "model, as lambda model: MyOptimizer(model.parameters())"
        )
    return run_checks(make, optimizer_checks(**options))


def optimizer_checks(**options: Any) -> tuple[Check, ...]:
    """The checks of an optimizer, each to be called with what makes it. ``options``: fields of `OptimizerContract`."""
    return OptimizerContract(**options).checks()


def makes_optimizer(component: object) -> bool:
    """Whether something is a function, or a class of optimizers, which is how a contract is given an optimizer."""
    if isinstance(component, type):
        return issubclass(component, PolicyOptimizer)
    return inspect.isroutine(component) or isinstance(component, partial)


@dataclass(frozen=True)
class OptimizerContract:
    """The properties of an `iapo.PolicyOptimizer`: what a training loop relies on, and a run that is resumed.

    An optimizer is made anew for each example, of a tiny model with some weights that no loss reads and some that need
    no gradient. Where it has an attribute ``optimizer`` that is one of torch, the learning rate is read there, and its
    state is saved beside the optimizer's own, as a run does. Torch's generators start at the same seed before each
    call.

    Args:
        examples: sequences of steps tried, a check.
        tolerance: absolute and relative, of the order of operations in fp32.
        device: of the model.
    """

    examples: int = 12
    tolerance: float = 1e-5
    device: str | torch.device = "cpu"

    def checks(self) -> tuple[Check, ...]:
        """All checks, in the order in which they are best read."""
        return (
            Check("statistics", self.statistics),
            Check("before_boundary", self.before_boundary),
            Check("descent", self.descent),
            Check("gradient_norm", self.gradient_norm),
            Check("micro_batches", self.micro_batches),
            Check("frozen", self.frozen),
            Check("not_finite", self.not_finite),
            Check("nothing_to_learn", self.nothing_to_learn),
            Check(
                "resumed",
                self.resumed,
                lambda make: has_state(self._made(make)[1]),
                "an optimizer with `state_dict` and `load_state_dict`",
            ),
        )

    def statistics(self, make: MakeOptimizer) -> None:
        """Steps taken and refused are counted, a reason is given where one is refused, and only there; the learning
        rate is the one that the step used."""

        def holds(steps: list[Step], refused: list[bool]) -> None:
            model, optimizer = self._made(make)
            taken = skipped = 0
            for index, step in enumerate(steps):
                refuse = refused[index]
                what, rate = f"step {index} of {len(steps)}", learning_rate(optimizer)
                stats = _take(optimizer, [loss * (torch.nan if refuse else 1) for loss in step.losses(model)])
                taken, skipped = taken + (not refuse), skipped + refuse
                wanted = {"step": taken, "stepped": not refuse, "skipped": skipped}
                found = {name: getattr(stats, name) for name in wanted}
                if found != wanted:
                    of = "whose losses are NaN" if refuse else "whose gradient is finite"
                    raise AssertionError(f"{what}, {of}: want {wanted}, got {found} ({stats.reason or 'no reason'})")
                if bool(stats.reason) != refuse:
                    raise AssertionError(f"{what}: stepped is {not refuse} and the reason {stats.reason!r}")
                if not (math.isfinite(stats.learning_rate) and stats.learning_rate >= 0):
                    raise AssertionError(f"{what}: learning_rate is {stats.learning_rate}, want a number of at least 0")
                if rate is not None and stats.learning_rate != rate:
                    raise AssertionError(f"{what}: learning_rate is {stats.learning_rate}, the step's was {rate}")

        self._for_all(holds, steps_of_losses(least=3, most=4), st.lists(st.booleans(), min_size=4, max_size=4))

    def before_boundary(self, make: MakeOptimizer) -> None:
        """Weights change at the last loss of a step and not before: the other losses are of the same policy."""

        def holds(steps: list[Step]) -> None:
            model, optimizer = self._made(make)
            for index, step in enumerate(steps):
                weights, losses = _weights(model), step.losses(model)
                for part, loss in enumerate(losses[:-1]):
                    with seeded(device=loss.device):
                        optimizer(loss, boundary=False)
                    assert_same_tensors(f"step {index}, after loss {part} of {len(losses)}", _weights(model), weights)
                with seeded(device=losses[-1].device):
                    optimizer(losses[-1], boundary=True)

        self._for_all(holds, steps_of_losses())

    def descent(self, make: MakeOptimizer) -> None:
        """Four steps on the same losses lower their sum."""

        def holds(steps: list[Step]) -> None:
            model, optimizer = self._made(make)
            before, weights = total_loss(steps[0], model), _weights(model)
            for _ in range(4):
                _take(optimizer, steps[0].losses(model))
            after = total_loss(steps[0], model)
            if all(torch.equal(weights[name], value) for name, value in _weights(model).items()):
                raise AssertionError("no weight has changed after 4 steps with finite gradients")
            if not after < before:
                raise AssertionError(f"the loss of 4 equal steps was {before:.6g}, is {after:.6g}, want a smaller one")

        self._for_all(holds, steps_of_losses(most=1))

    def gradient_norm(self, make: MakeOptimizer) -> None:
        """``grad_norm`` is the L2 norm of the step's gradient alone, over all weights, before any clipping."""

        def holds(steps: list[Step], refused: int) -> None:
            model, optimizer = self._made(make)
            for index, step in enumerate(steps):
                if index == refused:
                    _take(optimizer, [loss * torch.nan for loss in step.losses(model)])
                total = torch.stack(step.losses(model)).sum()
                trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
                gradients = torch.autograd.grad(total, trained, allow_unused=True)
                squares = [
                    value**2 for each in gradients if each is not None for value in each.double().flatten().tolist()
                ]
                stats = _take(optimizer, step.losses(model))
                found, expected = (
                    torch.tensor(each, dtype=torch.float64) for each in (stats.grad_norm, math.sqrt(sum(squares)))
                )
                assert_close(f"grad_norm of step {index} of {len(steps)}", found, expected, atol=0, rtol=self.tolerance)

        self._for_all(holds, steps_of_losses(), st.integers(0, 3))

    def micro_batches(self, make: MakeOptimizer) -> None:
        """The losses of a step add up: micro-batches make the step of their sum, where some have no gradient too."""

        def holds(steps: list[Step]) -> None:
            (model, optimizer), (whole, at_once) = self._made(make), self._made(make)
            for index, step in enumerate(steps):
                stats = _take(optimizer, step.losses(model))
                expected = _take(at_once, [torch.stack(step.losses(whole)).sum()])
                what = f"step {index} in {len(step.features)} micro-batches"
                if stats.stepped != expected.stepped:
                    raise AssertionError(f"{what}: stepped is {stats.stepped}, at once {expected.stepped}")
                for name, value in _weights(whole).items():
                    found = _weights(model)[name]
                    assert_close(f"{what}: weight {name}", found, value, self.tolerance, self.tolerance)

        self._for_all(holds, steps_of_losses((0.0, 0.5, 1.0, -1.0)))

    def frozen(self, make: MakeOptimizer) -> None:
        """Weights that need no gradient and buffers are left as they are, and so is what needs one."""

        def holds(steps: list[Step]) -> None:
            model, optimizer = self._made(make)
            needing = {name: parameter.requires_grad for name, parameter in model.named_parameters()}
            kept = {name: value for name, value in _weights(model).items() if not needing.get(name, False)}
            for step in steps:
                _take(optimizer, step.losses(model))
            found = _weights(model)
            assert_same_tensors(f"after {len(steps)} steps", {name: found[name] for name in kept}, kept)
            for name, parameter in model.named_parameters():
                if parameter.requires_grad != needing[name]:
                    raise AssertionError(f"{name}: requires_grad was {needing[name]}, is {parameter.requires_grad}")

        self._for_all(holds, steps_of_losses())

    def not_finite(self, make: MakeOptimizer) -> None:
        """A step with a loss or a gradient that is NaN or infinite is refused: it is counted, and weights, state and
        the steps behind it are, bit for bit, as if it had not been."""

        def holds(before: list[Step], step: Step, kind: str, place: int, after: list[Step]) -> None:
            def losses(model: nn.Module) -> list[Tensor]:
                return [
                    _NOT_FINITE[kind](loss) if index == place % len(step.features) else loss
                    for index, loss in enumerate(step.losses(model))
                ]

            what = f"{kind} at {place % len(step.features)} of {len(step.features)} losses"
            self._refused(make, what, before, losses, after)

        step = steps_of_losses(most=1).map(lambda steps: steps[0])
        for kind in map(st.just, _NOT_FINITE):
            few = -(-self.examples // len(_NOT_FINITE))
            for_all(few, holds, steps_of_losses(), step, kind, st.integers(0, 2), steps_of_losses(least=2))

    def nothing_to_learn(self, make: MakeOptimizer) -> None:
        """A step whose gradient is exactly 0 is refused likewise, and its norm is 0: momentum or weight decay would
        move the weights, and nothing was learned."""

        def holds(before: list[Step], step: Step, kind: str, after: list[Step]) -> None:
            def losses(model: nn.Module) -> list[Tensor]:
                return [loss * factor for factor in _NOTHING[kind] for loss in step.losses(model)]

            stats = self._refused(make, kind, before, losses, after)
            if stats.grad_norm != 0:
                raise AssertionError(f"{kind}: grad_norm is {stats.grad_norm}, want 0")

        step = steps_of_losses(most=1).map(lambda steps: steps[0])
        for kind in map(st.just, _NOTHING):
            few = -(-self.examples // len(_NOTHING))
            for_all(few, holds, steps_of_losses(), step, kind, steps_of_losses(least=2))

    def resumed(self, make: MakeOptimizer) -> None:
        """Saved as a checkpoint is (JSON and safetensors) and loaded into a new one of the same weights, it goes on bit
        for bit: weights, counts, learning rates and state."""

        def holds(before: list[Step], refused: bool, after: list[Step]) -> None:
            model, optimizer = self._made(make)
            for step in before:
                _take(optimizer, step.losses(model))
            if refused:
                _take(optimizer, [loss * torch.nan for loss in before[0].losses(model)])
            saved = through_file(state_of(optimizer))
            resumed, other = self._made(make, model.state_dict())
            load_state(other, saved)
            what = f"after {len(before)} steps and a resume"
            assert_same_state(f"{what}: state", state_of(other), state_of(optimizer))
            for index, step in enumerate(after):
                found, expected = _take(other, step.losses(resumed)), _take(optimizer, step.losses(model))
                _same_step(f"{what}, step {index}", resumed, found, model, expected)
            assert_same_state(f"{what}, {len(after)} steps later: state", state_of(other), state_of(optimizer))

        self._for_all(holds, steps_of_losses(), st.booleans(), steps_of_losses(least=2))

    def _refused(
        self,
        make: MakeOptimizer,
        kind: str,
        before: list[Step],
        losses: Callable[[nn.Module], list[Tensor]],
        after: list[Step],
    ) -> StepStats:
        """Raise unless the step of these losses is refused and changes nothing that comes behind it."""
        (model, optimizer), (twin, without) = self._made(make), self._made(make)
        for step in before:
            earlier = _take(optimizer, step.losses(model))
            _take(without, step.losses(twin))
        weights, tensors = _weights(model), state_tensors(optimizer)
        stats = _take(optimizer, losses(model))
        if stats.stepped or stats.skipped != earlier.skipped + 1 or stats.step != earlier.step:
            raise AssertionError(
                f"{kind}: want the step refused and counted (stepped False, step {earlier.step}, skipped "
                f"{earlier.skipped + 1}), got stepped {stats.stepped}, step {stats.step}, skipped {stats.skipped}"
            )
        if not stats.reason:
            raise AssertionError(f"{kind}: refused without a reason")
        assert_same_tensors(f"{kind}: weights after the step was refused", _weights(model), weights)
        assert_same_tensors(f"{kind}: state after the step was refused", state_tensors(optimizer), tensors)
        for index, step in enumerate(after):
            found, expected = _take(optimizer, step.losses(model)), _take(without, step.losses(twin))
            _same_step(f"{kind}, then step {index}", model, found, twin, expected, but="skipped")
        return stats

    def _made(self, make: MakeOptimizer, weights: dict[str, Tensor] | None = None) -> tuple[nn.Module, PolicyOptimizer]:
        """A model, with these weights if some are given, and its optimizer."""
        model = LinearPolicy().to(self.device)
        if weights is not None:
            model.load_state_dict(weights)
        with seeded(device=torch.device(self.device)):
            optimizer = make(model)
        if not isinstance(optimizer, PolicyOptimizer):
            raise TypeError(f"made {named_kind(optimizer)}, want an object of a subclass of iapo.PolicyOptimizer")
        return model, optimizer

    def _for_all(self, holds: Any, *strategies: st.SearchStrategy) -> None:
        for_all(self.examples, holds, *strategies)


def _take(optimizer: PolicyOptimizer, losses: list[Tensor]) -> StepStats:
    """One step of these losses."""
    stats = None
    for index, loss in enumerate(losses):
        with seeded(device=loss.device):
            stats = optimizer(loss, boundary=index == len(losses) - 1)
    assert stats is not None  # the interface checks it
    return stats


def _same_step(
    what: str, model: nn.Module, found: StepStats, other: nn.Module, expected: StepStats, but: str = ""
) -> None:
    """Raise unless a step of two models gave the same weights and statistics, but for one of them."""
    for name, value in vars(expected).items():
        if name != but and getattr(found, name) != value:
            raise AssertionError(f"{what}: {name} is {getattr(found, name)!r}, want {value!r}")
    assert_same_tensors(f"{what}: weights", _weights(model), _weights(other))


def _weights(model: nn.Module) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in model.state_dict().items()}
