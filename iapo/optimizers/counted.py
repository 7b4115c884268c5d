"""What a policy optimizer counts and schedules: steps taken, steps refused, and the learning rate."""

from dataclasses import dataclass
from typing import Any

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from iapo.types import StepStats


def refusal(bad_losses: int, norm: float) -> str:
    """Why a step is refused; empty: it is taken.

    Args:
        bad_losses: how many of its losses are NaN or infinite.
        norm: L2 norm of its gradient.
    """
    if bad_losses:
        return f"{bad_losses} of the step's losses are NaN or infinite"
    if not abs(norm) < float("inf"):
        return f"the gradient's norm is {norm}"
    return "" if norm else "the gradient is zero: nothing to learn from"


@dataclass
class CountedSteps:
    """The steps of an optimizer.

    Args:
        optimizer: has the learning rate.
        scheduler: stepped after every step that was not refused.
        taken: number of steps.
        skipped: number of steps that were refused.
    """

    optimizer: Optimizer
    scheduler: LRScheduler | None = None
    taken: int = 0
    skipped: int = 0

    @property
    def rate(self) -> float:
        """The learning rate of the next step."""
        return float(self.optimizer.param_groups[0]["lr"])

    def count(self, norm: float, reason: str) -> StepStats:
        """Count a step that was taken, or refused for a reason, and move the schedule on."""
        rate = self.rate
        if reason:
            self.skipped += 1
        else:
            self.taken += 1
            if self.scheduler is not None:
                self.scheduler.step()
        return StepStats(self.taken, not reason, norm, rate, self.skipped, reason)

    def state_dict(self) -> dict[str, Any]:
        """Counters and the schedule's state: plain numbers."""
        scheduler = None if self.scheduler is None else plain(self.scheduler.state_dict())
        return {"steps": self.taken, "skipped": self.skipped, "scheduler": scheduler}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a state of `state_dict`. Raises ``ValueError`` if only one side has a schedule."""
        if (state["scheduler"] is None) != (self.scheduler is None):
            raise ValueError("scheduler: the saved state and this optimizer must both have one, or neither")
        self.taken, self.skipped = state["steps"], state["skipped"]
        if self.scheduler is not None:
            self.scheduler.load_state_dict(state["scheduler"])


def plain(state: dict[str, Any]) -> dict[str, Any]:
    """The entries of a scheduler's state that are plain data; functions are set up again by whoever builds it."""
    return {name: value for name, value in state.items() if isinstance(value, int | float | str | list | None)}
