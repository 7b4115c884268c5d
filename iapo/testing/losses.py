"""The contract of every surrogate loss."""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

import torch
from hypothesis import strategies as st
from torch import Tensor, nn

from iapo.interfaces import PolicyLoss
from iapo.testing.checks import Check, assert_close, assert_finite, for_all, run_checks
from iapo.testing.strategies import loss_inputs
from iapo.types import LossInputs, LossOutput

_FLOATS = ("policy_logprobs", "old_logprobs", "ref_logprobs", "sampler_logprobs", "advantages")


def check_policy_loss(loss: PolicyLoss, **options: Any) -> dict[str, bool]:
    """Run every check of `LossContract` that applies.

    Args:
        loss: called many times, on small batches.
        options: fields of `LossContract`.

    Returns:
        Whether each check applied, by name; all that did have passed.

    Raises:
        AssertionError: the loss does not have a property; the message names it, the sizes and the difference.
        TypeError: ``loss`` is no `iapo.PolicyLoss`, or a class.

    Example:
        >>> from iapo.losses import ClippedPolicyLoss
        >>> all(check_policy_loss(ClippedPolicyLoss(), examples=3).values())
        True
    """
    return run_checks(loss, loss_checks(**options), PolicyLoss)


def loss_checks(**options: Any) -> tuple[Check, ...]:
    """The checks of a loss, each to be called with it. ``options``: fields of `LossContract`."""
    return LossContract(**options).checks()


@dataclass(frozen=True)
class LossContract:
    """The properties of an `iapo.PolicyLoss`, checked in fp64 unless they are about another precision.

    Args:
        examples: batches tried, a check.
        tolerance: absolute and relative, of the order of operations in fp64.
        metric_tolerance: the same for metrics, which may be in fp32.
        difference_tolerance: of gradients against central differences of step 1e-6.
        reinforce: ``False`` for a loss whose gradient at ratio 1 is not that of ``-A log pi / denominator``, because it
            gives tokens other weights.
        differentiable: ``False`` for a loss whose gradient is not that of its value, because it stops gradients.
    """

    examples: int = 15
    tolerance: float = 1e-12
    metric_tolerance: float = 1e-5
    difference_tolerance: float = 1e-6
    reinforce: bool = True
    differentiable: bool = True

    def checks(self) -> tuple[Check, ...]:
        """All checks, in the order in which they are best read."""
        return (
            Check("gradient_source", self.gradient_source),
            Check("metrics", self.metrics),
            Check("denominator", self.denominator),
            Check("masked_garbage", self.masked_garbage),
            Check("padding", self.padding),
            Check("batch_order", self.batch_order),
            Check("micro_batches", self.micro_batches),
            Check("empty_mask", self.empty_mask),
            Check(
                "zero_advantages",
                self.zero_advantages,
                lambda loss: not loss.requires_reference,
                "a loss without a penalty towards a reference policy",
            ),
            Check("learns_from", self.learns_from),
            Check(
                "ratio_one",
                self.ratio_one,
                lambda _: self.reinforce,
                "a loss that gives all tokens the same weight (reinforce)",
            ),
            Check("extreme_ratios", self.extreme_ratios),
            Check(
                "finite_differences",
                self.finite_differences,
                lambda _: self.differentiable,
                "a loss whose gradient is that of its value (differentiable)",
            ),
        )

    def gradient_source(self, loss: PolicyLoss) -> None:
        """The gradient flows into ``policy_logprobs`` and into nothing else."""

        def holds(inputs: LossInputs) -> None:
            leaves = _floats(inputs, lambda values: values.clone().requires_grad_())
            value = _call(loss, leaves).loss
            sizes = tuple(inputs.loss_mask.shape)
            if not value.requires_grad:
                raise AssertionError(f"the loss carries no gradient to policy_logprobs, sizes {sizes}")
            value.backward()
            for name in _FLOATS[1:]:
                if (leaked := getattr(leaves, name).grad) is not None:
                    raise AssertionError(f"a gradient of up to {leaked.abs().max():.3g} into {name}, sizes {sizes}")

        self._for_all(holds)

    def metrics(self, loss: PolicyLoss) -> None:
        """Metrics are finite and carry no gradient."""

        def holds(inputs: LossInputs) -> None:
            output = _call(loss, _training(inputs))
            assert_finite("metric", output.metrics)
            for name, value in output.metrics.items():
                if value.requires_grad:
                    raise AssertionError(f"metric {name} carries a gradient, sizes {tuple(inputs.loss_mask.shape)}")

        self._for_all(holds)

    def denominator(self, loss: PolicyLoss) -> None:
        """At least 1; denominators of completions with tokens in the loss add up; padding changes nothing."""

        def holds(inputs: LossInputs) -> None:
            mask = inputs.loss_mask
            whole = loss.denominator(mask)
            sizes = f"sizes {tuple(mask.shape)}, {int(mask.sum())} tokens"
            if not float(whole) >= 1:
                raise AssertionError(f"got {float(whole)} for {sizes}, want at least 1")
            filled = mask[mask.any(1)]
            if len(filled):
                total = torch.stack([loss.denominator(row[None]) for row in filled]).sum()
                tolerance = self.metric_tolerance
                assert_close(f"sum over rows, {sizes}", total, loss.denominator(filled), tolerance, tolerance)
            wider = loss.denominator(nn.functional.pad(mask, (0, 2)))
            assert_close(f"with 2 more slots of padding, {sizes}", wider, whole, atol=0)

        self._for_all(holds)

    def masked_garbage(self, loss: PolicyLoss) -> None:
        """Values outside the loss mask, also NaN, change no bit of the loss or of the gradient."""

        def holds(inputs: LossInputs, garbage: float) -> None:
            mask = inputs.loss_mask
            poisoned = _floats(inputs, lambda values: values.masked_fill(~mask, garbage))
            (found, bits), (expected, gradient) = _gradient(loss, poisoned), _gradient(loss, inputs)
            what = f"with {garbage} in masked slots of {tuple(mask.shape)}"
            assert_close(f"{what}: loss", found.loss, expected.loss, atol=0)
            assert_close(f"{what}: gradient", bits, gradient, atol=0)

        self._for_all(holds, st.sampled_from([torch.nan, torch.inf, -torch.inf, 1e30]))

    def padding(self, loss: PolicyLoss) -> None:
        """More padding changes neither loss nor gradient."""

        def holds(inputs: LossInputs, more: int) -> None:
            wider = _mapped(inputs, lambda values: nn.functional.pad(values, (0, more)))
            (found, long), (expected, gradient) = _gradient(loss, wider), _gradient(loss, inputs)
            what = f"with {more} more slots of padding, sizes {tuple(gradient.shape)}"
            self._close(f"{what}: loss", found.loss, expected.loss)
            self._close(f"{what}: gradient", long, nn.functional.pad(gradient, (0, more)))

        self._for_all(holds, st.integers(1, 3))

    def batch_order(self, loss: PolicyLoss) -> None:
        """Rows in another order have the same loss and the same gradients."""

        def holds(inputs: LossInputs, seed: int) -> None:
            order = torch.randperm(len(inputs), generator=torch.Generator().manual_seed(seed))
            other = _mapped(inputs, lambda values: values[order])
            (found, permuted), (expected, gradient) = _gradient(loss, other), _gradient(loss, inputs)
            self._close(f"rows in the order {order.tolist()}: loss", found.loss, expected.loss)
            self._close(f"rows in the order {order.tolist()}: gradient", permuted, gradient[order])

        self._for_all(holds, st.integers(0, 2**16))

    def micro_batches(self, loss: PolicyLoss) -> None:
        """Micro-batches, each with the step's denominator, add up to the step: loss, gradient and metrics."""

        def holds(inputs: LossInputs) -> None:
            whole, gradient = _gradient(loss, inputs)
            denominator = loss.denominator(inputs.loss_mask)
            for size in range(1, min(4, len(inputs))):
                parts = [
                    _gradient(loss, _mapped(inputs, itemgetter(rows)), denominator)
                    for rows in torch.arange(len(inputs)).split(size)
                ]
                what = f"{len(inputs)} rows in micro-batches of {size}"
                self._close(f"{what}: gradient", torch.cat([part for _, part in parts]), gradient)
                self._close(f"{what}: loss", torch.stack([output.loss for output, _ in parts]).sum(), whole.loss)
                for name, value in whole.metrics.items():
                    total = torch.stack([output.metrics[name] for output, _ in parts]).sum()
                    assert_close(f"{what}: metric {name}", total, value, self.metric_tolerance, self.metric_tolerance)

        self._for_all(holds)

    def empty_mask(self, loss: PolicyLoss) -> None:
        """Without a token in the loss, loss and gradient are exactly 0."""

        def holds(inputs: LossInputs) -> None:
            empty = torch.zeros_like(inputs.loss_mask)
            output, gradient = _gradient(loss, dataclasses.replace(inputs, loss_mask=empty))
            assert_close("loss", output.loss, torch.zeros_like(output.loss), atol=0)
            assert_close("gradient", gradient, torch.zeros_like(gradient), atol=0)

        self._for_all(holds)

    def zero_advantages(self, loss: PolicyLoss) -> None:
        """Where all advantages are 0, so is the gradient."""

        def holds(inputs: LossInputs) -> None:
            zero = torch.zeros_like(inputs.advantages)
            _, gradient = _gradient(loss, dataclasses.replace(inputs, advantages=zero))
            assert_close("gradient", gradient, torch.zeros_like(gradient), atol=0)

        self._for_all(holds)

    def learns_from(self, loss: PolicyLoss) -> None:
        """Completions that it says it does not learn from have gradient 0, whatever is outside the loss mask."""

        def holds(inputs: LossInputs, without: list[bool], garbage: float) -> None:
            mask, none = inputs.loss_mask, torch.tensor(without)[: len(inputs)]
            advantages = inputs.advantages.masked_fill(none[:, None], 0)
            learns = loss.learns_from(advantages.masked_fill(~mask, garbage), mask)
            if learns.shape != none.shape or learns.dtype != torch.bool:
                raise AssertionError(
                    f"learns_from: got {tuple(learns.shape)} of {learns.dtype}, want {tuple(none.shape)} of torch.bool"
                )
            _, gradient = _gradient(loss, dataclasses.replace(inputs, advantages=advantages))
            left = gradient[~learns]
            assert_close(f"gradient of the rows {(~learns).nonzero().flatten().tolist()}", left, left * 0, atol=0)

        rows = st.lists(st.booleans(), min_size=8, max_size=8)
        self._for_all(holds, rows, st.sampled_from([0.0, 1.0, torch.nan]))

    def ratio_one(self, loss: PolicyLoss) -> None:
        """Where policy, old, reference and sampling policy agree, the gradient is that of ``-A log pi / count``."""

        def holds(inputs: LossInputs) -> None:
            policy, mask = inputs.policy_logprobs, inputs.loss_mask
            same = dict.fromkeys(("old_logprobs", "ref_logprobs", "sampler_logprobs"), policy)
            _, gradient = _gradient(loss, dataclasses.replace(inputs, **same))
            expected = -inputs.advantages * mask / loss.denominator(mask)
            self._close("gradient against -A / denominator", gradient, expected)

        self._for_all(holds)

    def extreme_ratios(self, loss: PolicyLoss) -> None:
        """Log-ratios of up to 1000 nats, to old, reference and sampling policy, leave loss and gradient finite."""

        def holds(inputs: LossInputs, gap: float) -> None:
            signs = torch.where(inputs.advantages > 0, 1.0, -1.0).flip(1)
            policy = inputs.policy_logprobs
            far = dataclasses.replace(
                inputs,
                old_logprobs=policy - gap * signs,
                ref_logprobs=policy + gap * signs,
                sampler_logprobs=policy + gap * signs.flip(0),
            )
            output, gradient = _gradient(loss, _floats(far, Tensor.float))
            what = f"at log-ratios of +-{gap} in fp32, sizes {tuple(policy.shape)}"
            assert_finite(f"{what}: loss", output.loss)
            assert_finite(f"{what}: gradient", gradient)

        self._for_all(holds, st.sampled_from([20.0, 100.0, 1000.0]))

    def finite_differences(self, loss: PolicyLoss) -> None:
        """The gradient is what central differences of the loss say."""
        step = 1e-6

        def holds(inputs: LossInputs) -> None:
            _, gradient = _gradient(loss, inputs)
            denominator = loss.denominator(inputs.loss_mask)
            differences = torch.zeros_like(gradient)
            for index in inputs.loss_mask.nonzero().tolist():
                move = torch.zeros_like(gradient)
                move[tuple(index)] = step
                up, down = (
                    _call(
                        loss, dataclasses.replace(inputs, policy_logprobs=inputs.policy_logprobs + change), denominator
                    ).loss
                    for change in (move, -move)
                )
                differences[tuple(index)] = (up - down) / (2 * step)
            limit = self.difference_tolerance
            assert_close("gradient against central differences", gradient, differences, limit, rtol=limit)

        for_all(self.examples, holds, loss_inputs(max_batch=3, max_token=4))

    def _close(self, what: str, found: Tensor, expected: Tensor) -> None:
        assert_close(what, found, expected, self.tolerance, self.tolerance)

    def _for_all(self, holds: Any, *more: st.SearchStrategy) -> None:
        for_all(self.examples, holds, loss_inputs(), *more)


def _mapped(inputs: LossInputs, change: Callable[[Tensor], Tensor]) -> LossInputs:
    """Each tensor of shape ``batch token`` replaced by ``change(values)``."""
    names = (*_FLOATS, "loss_mask")
    return dataclasses.replace(inputs, **{name: change(getattr(inputs, name)) for name in names})


def _floats(inputs: LossInputs, change: Callable[[Tensor], Tensor]) -> LossInputs:
    """Each tensor of shape ``batch token``, but not the mask, replaced by ``change(values)``."""
    return dataclasses.replace(inputs, **{name: change(getattr(inputs, name)) for name in _FLOATS})


def _training(inputs: LossInputs) -> LossInputs:
    return dataclasses.replace(inputs, policy_logprobs=inputs.policy_logprobs.detach().clone().requires_grad_())


def _call(loss: PolicyLoss, inputs: LossInputs, denominator: Tensor | None = None) -> LossOutput:
    """The loss with its own denominator unless another is given; with a reference or a sampler only if required."""
    optional = {
        **({"ref_logprobs": inputs.ref_logprobs} if loss.requires_reference else {}),
        **({"sampler_logprobs": inputs.sampler_logprobs} if loss.requires_sampler else {}),
    }
    return loss(
        policy_logprobs=inputs.policy_logprobs,
        old_logprobs=inputs.old_logprobs,
        advantages=inputs.advantages,
        loss_mask=inputs.loss_mask,
        denominator=loss.denominator(inputs.loss_mask) if denominator is None else denominator,
        **optional,
    )


def _gradient(loss: PolicyLoss, inputs: LossInputs, denominator: Tensor | None = None) -> tuple[LossOutput, Tensor]:
    inputs = _training(inputs)
    output = _call(loss, inputs, denominator)
    return output, torch.autograd.grad(output.loss, inputs.policy_logprobs)[0]
