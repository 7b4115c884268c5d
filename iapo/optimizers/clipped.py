"""A policy optimizer around one of torch: accumulate, clip, refuse what is not finite, step, schedule."""

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from iapo.interfaces import PolicyOptimizer
from iapo.optimizers.counted import CountedSteps, refusal
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
        self.optimizer, self.max_grad_norm = optimizer, max_grad_norm
        self._backward = backward or torch.Tensor.backward
        self._steps, self._bad_losses = CountedSteps(optimizer, scheduler), 0

    def accumulate(self, loss: Float[Tensor, ""], boundary: bool) -> StepStats | None:
        """Back-propagate a loss and, at a boundary, step. A loss that is not finite refuses its whole step."""
        if not bool(loss.isfinite()):
            self._bad_losses += 1
        elif loss.requires_grad:
            self._backward(loss)
        return self._step() if boundary else None

    def state_dict(self) -> dict[str, Any]:
        """Counters and the schedule's state: plain numbers. The wrapped optimizer's state is saved by its owner."""
        return self._steps.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a state of `state_dict`. Raises ``ValueError`` if only one side has a schedule."""
        self._steps.load_state_dict(state)

    def _step(self) -> StepStats:
        parameters = [p for group in self.optimizer.param_groups for p in group["params"] if p.grad is not None]
        limit = float("inf") if self.max_grad_norm is None else self.max_grad_norm
        norm = torch.nn.utils.get_total_norm([p.grad for p in parameters]) if parameters else torch.zeros(())
        reason = refusal(self._bad_losses, float(norm))
        if not reason:
            torch.nn.utils.clip_grads_with_norm_(parameters, limit, norm)
            self.optimizer.step()
        self._bad_losses = 0
        self.optimizer.zero_grad(set_to_none=True)
        return self._steps.count(float(norm), reason)
