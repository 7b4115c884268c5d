"""A policy optimizer around one of torch: accumulate, clip, refuse what is not finite, step, schedule."""

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from iapo.interfaces import PolicyOptimizer
from iapo.types import StepStats


class ClippedOptimizer(PolicyOptimizer):
    """Steps a torch optimizer at boundaries, after clipping the global gradient norm.

    A step is refused before the update, weights and optimizer state bitwise untouched, gradients cleared, if one of its
    losses or its gradient is NaN or infinite, or if its gradient is exactly zero. There is then nothing to learn from,
    because all rewards of each group are equal or every token is masked, and yet momentum or weight decay would move
    the weights.

    Args:
        optimizer: steps the policy's parameters.
        max_grad_norm: the gradient is scaled down to this L2 norm; ``None``: never.
        scheduler: stepped after every step that was not refused.
        backward: back-propagates a loss, such as ``accelerator.backward``; ``None``: ``loss.backward()``.

    Raises:
        ValueError: ``max_grad_norm`` is not positive.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        max_grad_norm: float | None = 1.0,
        scheduler: LRScheduler | None = None,
        backward: Callable[[Tensor], None] | None = None,
    ) -> None:
        if max_grad_norm is not None and not max_grad_norm > 0:
            raise ValueError(f"max_grad_norm: got {max_grad_norm}, want a positive number or None")
        self.optimizer, self.scheduler, self.max_grad_norm = optimizer, scheduler, max_grad_norm
        self._backward = backward or torch.Tensor.backward
        self._steps, self._skipped, self._bad_losses = 0, 0, 0

    def accumulate(self, loss: Float[Tensor, ""], boundary: bool) -> StepStats | None:
        """Back-propagate a loss and, at a boundary, step. A loss that is not finite refuses its whole step."""
        if not bool(loss.isfinite()):
            self._bad_losses += 1
        elif loss.requires_grad:
            self._backward(loss)
        return self._step() if boundary else None

    def state_dict(self) -> dict[str, Any]:
        """Counters and the schedule's state: plain numbers. The wrapped optimizer's state is saved by its owner."""
        return {
            "steps": self._steps,
            "skipped": self._skipped,
            "scheduler": None if self.scheduler is None else plain(self.scheduler.state_dict()),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a state of `state_dict`. Raises ``ValueError`` if only one side has a schedule."""
        if (state["scheduler"] is None) != (self.scheduler is None):
            raise ValueError("scheduler: the saved state and this optimizer must both have one, or neither")
        self._steps, self._skipped = state["steps"], state["skipped"]
        if self.scheduler is not None:
            self.scheduler.load_state_dict(state["scheduler"])

    def _step(self) -> StepStats:
        parameters = [p for group in self.optimizer.param_groups for p in group["params"] if p.grad is not None]
        limit = float("inf") if self.max_grad_norm is None else self.max_grad_norm
        norm = torch.nn.utils.get_total_norm([p.grad for p in parameters]) if parameters else torch.zeros(())
        rate = float(self.optimizer.param_groups[0]["lr"])
        reason = ""
        if self._bad_losses:
            reason = f"{self._bad_losses} of the step's losses are NaN or infinite"
        elif not bool(norm.isfinite()):
            reason = f"the gradient's norm is {float(norm)}"
        elif float(norm) == 0:
            reason = "the gradient is zero: nothing to learn from"
        if reason:
            self._skipped += 1
        else:
            torch.nn.utils.clip_grads_with_norm_(parameters, limit, norm)
            self.optimizer.step()
            self._steps += 1
            if self.scheduler is not None:
                self.scheduler.step()
        self._bad_losses = 0
        self.optimizer.zero_grad(set_to_none=True)
        return StepStats(self._steps, not reason, float(norm), rate, self._skipped, reason)


def plain(state: dict[str, Any]) -> dict[str, Any]:
    """The entries of a scheduler's state that are plain data; functions are set up again by whoever builds it."""
    return {name: value for name, value in state.items() if isinstance(value, int | float | str | list | None)}
