"""Which prompts fit a model, found before anything is sampled."""

import logging
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from iapo.evaluation import ForcedAnswers
from iapo.interfaces import AdvantageAssigner, MIEstimator, Sampler
from iapo.policy.limits import Limits
from iapo.rollout.prompts import encode
from iapo.tasks.interface import short_place
from iapo.training.configuration.problem_source import LongPrompts

_NAMED = 10
"""Rows that a message names."""

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class _PromptOf:
    """The prompt of a row, for errors. Its place is looked up only there: that reads the file again."""

    number: object

    def __str__(self) -> str:
        return f"data: the prompt of row {self.number}"


@dataclass(frozen=True)
class PromptSize:
    """What decides whether a model has room for a prompt. The tokens themselves, of all problems, are not kept.

    Args:
        tokens: how many the prompt has.
        largest_id: the largest of their ids.
    """

    tokens: int
    largest_id: int

    @classmethod
    def of(cls, ids: Sequence[int]) -> "PromptSize":
        """That of a prompt with these token ids, at least one."""
        return cls(len(ids), max(ids))


@dataclass(frozen=True)
class Room:
    """What a model has room for.

    Args:
        tokenizer: of the model; it names tokens in errors.
        limits: of the model.
        reserved: tokens that may follow a prompt.
        long_prompts: whether a prompt that does not fit with what may follow it is refused or dropped.
        answer_tokens: how many of ``reserved`` are those of an answer that is asked for where reasoning is cut.
    """

    tokenizer: Any
    limits: Limits
    reserved: int
    long_prompts: LongPrompts = "refuse"
    answer_tokens: int = 0

    def fitting(self, sizes: Sequence[PromptSize], numbers: Sequence[object]) -> list[int]:
        """The places of the prompts that fit.

        Args:
            sizes: of the prompts.
            numbers: of their rows in the data, for errors.

        Raises:
            ValueError: a prompt with a token that the model has no embedding of, one that does not fit and is to be
                refused, or none that fits; the row is named.
        """
        for number, size in zip(numbers, sizes, strict=True):
            self.limits.check_tokens([size.largest_id], self.tokenizer, _PromptOf(number))
        lengths, most = [size.tokens for size in sizes], self.limits.positions
        long = [] if most is None else [i for i, length in enumerate(lengths) if length + self.reserved > most]
        if most is None or not long:
            return list(range(len(sizes)))
        others = ", ".join(short_place(numbers[index]) for index in long[:_NAMED])
        found = (
            f"data: the prompt of row {numbers[long[0]]} has {lengths[long[0]]} tokens, and with {self.reserved} that "
            f"may follow it does not fit the {most} positions {_whose(self.limits)} ({len(long)} of {len(sizes)} such "
            f"rows: {others}{', ...' if len(long) > _NAMED else ''})"
        )
        if self.long_prompts == "refuse" or len(long) == len(sizes):
            beyond = max(lengths[index] for index in long) + self.reserved - most
            help_ = [] if len(long) == len(sizes) else ["leave them out with --long_prompts drop"]
            if beyond < self.reserved - self.answer_tokens:
                help_.append(f"lower --sampler.max_new_tokens by {beyond}")
            elif beyond < self.answer_tokens:
                help_.append(f"lower --answer_tokens by {beyond}")
            elif beyond < self.reserved:
                help_.append(f"lower --sampler.max_new_tokens and --answer_tokens by {beyond} together")
            help_.append("take a model with more positions")
            raise ValueError(f"{found}; {', or '.join(help_)}")
        _LOG.warning("%s, which are dropped", found)
        dropped = set(long)
        return [index for index in range(len(sizes)) if index not in dropped]


def _whose(limits: Limits) -> str:
    if limits.positions != limits.turning:
        return "of the model"
    return "up to which the model rotates its keys by the same angles (dynamic or longrope scaling)"


def new_tokens(sampler: Sampler, limits: Limits) -> int:
    """Tokens that a sampler's completion may have, as its ``max_new_tokens`` says; 0 if it does not say.

    Warns:
        UserWarning: it does not say, and the model's positions are limited.
    """
    found: int | None = getattr(sampler, "max_new_tokens", None)
    if found is None and limits.positions is not None:
        warnings.warn(
            f"sampler: {type(sampler).__name__} has no max_new_tokens, so that prompts are checked as if nothing "
            f"followed them, and one may not fit the {limits.positions} positions of the model with its completion; "
            "give it the attribute max_new_tokens, the most tokens of a completion",
            stacklevel=2,
        )
    return found or 0


def reserved_by(max_new_tokens: int, tokenizer: Any, forced: ForcedAnswers | None) -> int:
    """Tokens that may follow a prompt in an evaluation: a completion and, where reasoning is cut, an asked answer."""
    if forced is None:
        return max_new_tokens
    return max_new_tokens + len(encode(forced.postfix, tokenizer, "postfix")) + forced.answer_tokens


def forced_in_training(estimator: MIEstimator, assigner: AdvantageAssigner) -> list[int]:
    """`forced_tokens` of a training's estimator; none if the assigner reads nothing that it measures."""
    return forced_tokens(estimator) if assigner.requires_estimate else []


def forced_tokens(estimator: MIEstimator) -> list[int]:
    """The tokens that an estimator, or one that it wraps, puts behind a completion."""
    asked = [estimator]
    while isinstance(inner := getattr(asked[-1], "estimator", None), MIEstimator):
        asked.append(inner)
    return [token for each in asked for name in ("postfix_ids", "closing_ids") for token in getattr(each, name, ())]
