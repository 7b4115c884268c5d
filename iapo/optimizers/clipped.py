"""A policy optimizer around one of torch: accumulate, clip, refuse what is not finite, step, schedule."""

import warnings
from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from iapo.interfaces import PolicyOptimizer
from iapo.ops.checks import check_number, named_kind
from iapo.optimizers.counted import CountedSteps, refusal
from iapo.types import StepStats


class ClippedOptimizer(PolicyOptimizer):
    """Steps a torch optimizer at boundaries, after clipping the global gradient norm.

    A step is refused before the update, weights and optimizer state bitwise untouched, gradients cleared, if one of its
    losses or its gradient is NaN or infinite, or if its gradient is exactly zero. There is then nothing to learn from,
    because all rewards of each group are equal or every token is masked, and yet momentum or weight decay would move
    the weights. On several ranks a loss of one of them refuses the step on all: it goes back as NaN, which reaches the
    others with the gradients that DDP or FSDP2 averages.

    Args:
        optimizer: steps the policy's parameters.
        max_grad_norm: the gradient is scaled down to this L2 norm; ``None``: never.
        scheduler: stepped after every step that was not refused.
        backward: back-propagates a loss, such as ``accelerator.backward``; ``None``: ``loss.backward()``.

    Raises:
        TypeError: an ``optimizer`` or a ``scheduler`` that is none of torch.
        ValueError: a ``max_grad_norm`` that is not positive and finite; at a boundary, losses were back-propagated and
            no parameter of ``optimizer`` has a gradient, as where it steps those of another model.

    Warns:
        UserWarning: parameters in fp16 or bf16, in which most steps of a usual learning rate are lost in rounding.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        max_grad_norm: float | None = 1.0,
        scheduler: LRScheduler | None = None,
        backward: Callable[[Tensor], None] | None = None,
    ) -> None:
        if not isinstance(optimizer, Optimizer):
            raise TypeError(
                f"optimizer: got {named_kind(optimizer)}, want an object of a subclass of torch.optim.Optimizer, as "
                "torch.optim.AdamW(model.parameters())"
            )
        if scheduler is not None and (isinstance(scheduler, type) or not hasattr(scheduler, "step")):
            raise TypeError(f"scheduler: got {named_kind(scheduler)}, want None or one of torch.optim.lr_scheduler")
        check_number("max_grad_norm", max_grad_norm, "a positive number", lambda x: x > 0, or_none=True)
        self.optimizer, self.max_grad_norm = optimizer, max_grad_norm
        self._backward = backward or torch.Tensor.backward
        self._steps, self._bad_losses, self._propagated = CountedSteps(optimizer, scheduler), 0, False
        _warn_of_rounding(optimizer)

    def accumulate(self, loss: Float[Tensor, ""], boundary: bool) -> StepStats | None:
        """Back-propagate a loss and, at a boundary, step. A loss that is not finite refuses its whole step."""
        bad = not bool(loss.isfinite())
        self._bad_losses += bad
        if loss.requires_grad:
            self._backward(loss * torch.nan if bad else loss)
            self._propagated = True
        return self._step() if boundary else None

    def state_dict(self) -> dict[str, Any]:
        """Counters and the schedule's state: plain numbers. The wrapped optimizer's state is saved by its owner."""
        return self._steps.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a state of `state_dict`. Raises ``ValueError`` if only one side has a schedule."""
        self._steps.load_state_dict(state)

    def _step(self) -> StepStats:
        parameters = [p for group in self.optimizer.param_groups for p in group["params"] if p.grad is not None]
        propagated, self._propagated = self._propagated, False
        if propagated and not parameters:
            raise ValueError(
                "optimizer: none of its parameters has a gradient from the losses of the step, so that it steps those "
                "of another model; want the parameters of the model that is trained, as it is (make the optimizer "
                "after the model is copied, wrapped or given adapters)"
            )
        limit = float("inf") if self.max_grad_norm is None else self.max_grad_norm
        norm = torch.nn.utils.get_total_norm([p.grad for p in parameters]) if parameters else torch.zeros(())
        reason = refusal(self._bad_losses, float(norm))
        if not reason:
            torch.nn.utils.clip_grads_with_norm_(parameters, limit, norm)
            self.optimizer.step()
        self._bad_losses = 0
        self.optimizer.zero_grad(set_to_none=True)
        return self._steps.count(float(norm), reason)


def _warn_of_rounding(optimizer: Optimizer) -> None:
    """Warn of parameters whose precision is too small for the steps of a usual learning rate."""
    dtypes = {parameter.dtype for group in optimizer.param_groups for parameter in group["params"]}
    reduced = sorted(str(dtype).removeprefix("torch.") for dtype in dtypes & {torch.float16, torch.bfloat16})
    if reduced:
        warnings.warn(
            f"optimizer: its parameters are in {' and '.join(reduced)}, where most steps of a usual learning rate are "
            "lost in rounding, and in float16 Adam makes weights infinite; load the weights with dtype=torch.float32, "
            "and let forwards run in less (UpdateSettings(autocast=torch.bfloat16))",
            stacklevel=3,
        )
