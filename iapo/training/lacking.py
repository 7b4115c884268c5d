"""Rewarded completions of which no information can be measured: nothing was read as their reasoning or answer."""

import warnings
from dataclasses import dataclass
from typing import Any

from jaxtyping import Bool, Float
from torch import Tensor

from iapo.rollout.ends import ended
from iapo.types import Rollout

_MOST = 0.5
"""Share of the rewarded completions beyond which there is a warning."""


@dataclass(frozen=True)
class LackingSpans:
    """How many rewarded completions there are, and how many of them have nothing to probe.

    Args:
        rewarded: completions with a reward above 0 whose information was asked for.
        without_reasoning: those of them without a reasoning token.
        without_answer: those with reasoning and without an answer to ask about, where the estimator then found nothing.
        cut: those of the two that were cut at the sampler's limit, before they could answer.
    """

    rewarded: int
    without_reasoning: int
    without_answer: int
    cut: int = 0

    @property
    def count(self) -> int:
        """Rewarded completions with nothing to probe."""
        return self.without_reasoning + self.without_answer

    def warn(self) -> None:
        """Warn if more than half of the rewarded completions have nothing to probe; name the reason and the flag.

        Completions that were cut do not count here: another style would not find what they had no room to write.
        """
        if self.count - self.cut <= _MOST * self.rewarded:
            return
        if self.without_answer >= self.without_reasoning:
            reason, flag = "no final answer is found in them", "--answer_style"
        else:
            reason, flag = "no reasoning is found in them", "--reasoning_style"
        warnings.warn(
            f"more than half of the rewarded completions have nothing to probe, and their information is 0: {reason}. "
            f"Say how completions are written ({flag}, in Python the sampler's style), or use a reward that reads "
            "answers in the same style. The metric iapo/completions/without_span counts them",
            stacklevel=2,
        )


def lacking_spans(
    rollout: Rollout, information: Float[Tensor, "batch token"], rewarded: Bool[Tensor, " batch"], sampler: Any
) -> LackingSpans:
    """Which of the rewarded completions have nothing to probe.

    Args:
        rollout: the completions.
        information: of their tokens, nats.
        rewarded: the completions that are looked at.
        sampler: of the completions, or what else knows its ``eos_ids`` and its limit, ``max_new_tokens``.
    """
    reasons = rollout.reasoning_mask.any(1)
    answers = reasons if rollout.answer_mask is None else rollout.answer_mask.any(1)
    silent = reasons & ~answers & ~information.bool().any(1)
    at_limit = rollout.completion_lengths >= getattr(sampler, "max_new_tokens", float("inf"))
    cut = at_limit & ~ended(rollout, getattr(sampler, "eos_ids", ()))
    counts = (rewarded, rewarded & ~reasons, rewarded & silent, rewarded & (~reasons | silent) & cut)
    return LackingSpans(*(int(each.sum()) for each in counts))
