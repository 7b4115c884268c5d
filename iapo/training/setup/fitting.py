"""Which prompts fit a model, found before anything is sampled."""

import logging
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from iapo.evaluation import ForcedAnswers
from iapo.interfaces import AdvantageAssigner, MIEstimator, Sampler
from iapo.policy.limits import Limits
from iapo.rollout.prompts import encode, encode_prompts
from iapo.tasks import Row
from iapo.tasks.interface import short_place

LongPrompts = Literal["refuse", "drop"]

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
class Room:
    """What a model has room for.

    Args:
        tokenizer: of the model.
        limits: of the model.
        reserved: tokens that may follow a prompt.
        long_prompts: whether a prompt that does not fit with what may follow it is refused or dropped.
    """

    tokenizer: Any
    limits: Limits
    reserved: int
    long_prompts: LongPrompts = "refuse"

    def fitting(self, rows: Sequence[Row], numbers: Sequence[object]) -> list[int]:
        """The places of the rows whose prompts fit.

        Args:
            rows: rendered, as `iapo.tasks.render_prompts` gives them.
            numbers: of the rows in the data, for errors.

        Raises:
            ValueError: a prompt with a token that the model has no embedding of, one that does not fit and is to be
                refused, or none that fits; the row is named.
        """
        lengths = []
        for number, ids in zip(numbers, encode_prompts([row["prompt"] for row in rows], self.tokenizer), strict=True):
            self.limits.check_tokens(ids, self.tokenizer, _PromptOf(number))
            lengths.append(len(ids))
        most = self.limits.positions
        if most is None:
            return list(range(len(rows)))
        long = [index for index, length in enumerate(lengths) if length + self.reserved > most]
        if not long:
            return list(range(len(rows)))
        others = ", ".join(short_place(numbers[index]) for index in long[:_NAMED])
        found = (
            f"data: the prompt of row {numbers[long[0]]} has {lengths[long[0]]} tokens, and with {self.reserved} that "
            f"may follow it does not fit the {most} positions {_whose(self.limits)} ({len(long)} of {len(rows)} such "
            f"rows: {others}{', ...' if len(long) > _NAMED else ''})"
        )
        if self.long_prompts == "refuse" or len(long) == len(rows):
            beyond = max(lengths[index] for index in long) + self.reserved - most
            help_ = [] if len(long) == len(rows) else ["leave them out with --long_prompts drop"]
            if beyond < self.reserved:
                help_.append(f"lower --sampler.max_new_tokens by {beyond}")
            help_.append("take a model with more positions")
            raise ValueError(f"{found}; {', or '.join(help_)}")
        _LOG.warning("%s, which are dropped", found)
        dropped = set(long)
        return [index for index in range(len(rows)) if index not in dropped]


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
