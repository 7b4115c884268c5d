"""Completions of which nothing can be measured, because nothing was read as their reasoning or answer."""

import warnings
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from iapo.rollout.ends import ended, ended_if_known
from iapo.training.distributed.ranks import ALONE, Ranks
from iapo.types import Rollout

_MOST = 0.5
"""Share of the rewarded completions, or of all, beyond which there is a warning."""
_ENOUGH = 16
"""Completions from which on it says something that none of them has an answer."""


@dataclass(frozen=True)
class LackingSpans:
    """How many rewarded completions there are, and how many of them have nothing to probe; over all processes.

    Args:
        rewarded: completions that are correct or have a reward above 0, and whose information was asked for.
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

    @property
    def metrics(self) -> dict[str, float]:
        """The count under the name that it has everywhere."""
        return {"iapo/completions/without_span": float(self.count)}

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
    rollout: Rollout,
    information: Float[Tensor, "batch token"],
    rewarded: Bool[Tensor, " batch"],
    sampler: Any,
    ranks: Ranks = ALONE,
) -> LackingSpans:
    """Which of the rewarded completions have nothing to probe.

    Args:
        rollout: the completions of this process.
        information: of their tokens, nats.
        rewarded: the completions that are looked at: those that are correct or have a reward above 0, and whose
            information was asked for.
        sampler: of the completions, or what else knows its ``eos_ids`` and its limit, ``max_new_tokens``.
        ranks: the processes that share the batch. All of them call this function together.
    """
    reasons = rollout.reasoning_mask.any(1)
    answers = reasons if rollout.answer_mask is None else rollout.answer_mask.any(1)
    silent = reasons & ~answers & ~information.bool().any(1)
    at_limit = rollout.completion_lengths >= getattr(sampler, "max_new_tokens", float("inf"))
    cut = at_limit & ~ended(rollout, getattr(sampler, "eos_ids", ()))
    found = torch.stack([rewarded, rewarded & ~reasons, rewarded & silent, rewarded & (~reasons | silent) & cut], 1)
    return LackingSpans(*ranks.gather(found).sum(0).tolist())


def lacking_answers(
    rollout: Rollout, verdicts: Float[Tensor, " batch"], eos_ids: Collection[int], ranks: Ranks = ALONE
) -> dict[str, float]:
    """Count the completions in which no final answer is read, and warn if it is all of them and none is told apart.

    The warning names the reason, and the flag that helps. Where verdicts differ, a reward finds something to go by.

    Args:
        rollout: the completions of this process with their own answers; one without answers counts nothing.
        verdicts: of each completion, the score that says whether it is right; NaN for one that has none.
        eos_ids: tokens that end a completion, without which it was cut; none: that is not known unless the rollout
            says it.
        ranks: the processes that share the batch. All of them call this function together.

    Returns:
        The metric ``iapo/completions/without_answer``.
    """
    if rollout.answer_mask is None:
        return {}
    answers = ranks.gather(rollout.answer_mask.any(1))
    verdicts = ranks.gather(verdicts.to(answers.device))
    whole = ended_if_known(rollout, eos_ids)
    cut = ranks.gather(torch.zeros_like(rollout.completion_lengths, dtype=torch.bool) if whole is None else ~whole)
    known = verdicts[~verdicts.isnan()]
    if len(answers) >= _ENOUGH and not bool(answers.any()) and not bool((known != known[:1]).any()):
        if float(cut.float().mean()) > _MOST:
            reason = (
                "most are cut before they answer. Raise --sampler.max_new_tokens (in TRL max_completion_length, in "
                "verl data.max_response_length), or ask for shorter reasoning"
            )
        else:
            reason = (
                "none is written as the run reads answers. Say how they are written (--answer_style, in Python the "
                "sampler's style), or let the prompts ask for that form (as --system_prompt and --prompt_template do)"
            )
        warnings.warn(
            f"no final answer is found in any completion of an update, and all get the same reward: {reason}. The "
            "metric iapo/completions/without_answer counts them",
            stacklevel=2,
        )
    return {"iapo/completions/without_answer": float((~answers).sum())}
