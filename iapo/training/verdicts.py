"""Whether the assigner takes those completions for right that the first reward function says are right."""

import dataclasses
import warnings
from typing import Any

from iapo.interfaces import AdvantageAssigner
from iapo.rewards.scores import Scores


def warn_of_other_verdicts(assigner: AdvantageAssigner, scores: Scores) -> None:
    """Warn if a reward for form or length decides which completions an assigner takes for right.

    An assigner that tells right completions from wrong ones compares the sum of all rewards with its ``correct_above``.
    Evaluations go by the first function alone.

    Args:
        assigner: which may wrap others.
        scores: of the completions of an update.
    """
    name, *others = scores.by_function
    if not others:
        return
    right = scores.correct()
    for above in sorted(_thresholds(assigner)):
        if bool((((scores.total > above) != right) & scores.scored).any()):
            warnings.warn(  # the same text in every update, so that it is told once
                f"rewards: {type(assigner).__name__} takes a completion for right if the sum of its rewards is above "
                f"correct_above={above:g}, and that is not always what {name!r} says, the first function, by which "
                f"evaluations go. Let {', '.join(map(repr, others))} give so little that the sum follows the first "
                "function, or give the assigner another correct_above",
                stacklevel=2,
            )


def _thresholds(part: Any) -> set[float]:
    """The rewards above which an assigner, or a part of it, takes a completion for right."""
    if not dataclasses.is_dataclass(part):
        return set()
    found: set[float] = set()
    for each in dataclasses.fields(part):
        value = getattr(part, each.name)
        found |= {value} if each.name == "correct_above" else _thresholds(value)
    return found
