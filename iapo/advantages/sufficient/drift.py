"""Segments of the reasoning that lead towards the right answer, and those that drift away from it (DASH)."""

import dataclasses
from dataclasses import dataclass, field

import torch

from iapo.advantages.group_relative import GroupRelative
from iapo.advantages.parameters import check_weights
from iapo.advantages.steps import Ids, steps_by
from iapo.advantages.sufficient.curve import curve_of, describe_prefix
from iapo.advantages.sufficient.rule import PrefixRule
from iapo.advantages.wrapping import add_term
from iapo.interfaces import AdvantageAssigner
from iapo.ops.checks import check_integer, check_integers, check_kinds
from iapo.ops.sufficient_prefix import check_threshold, is_there, sufficient_prefix
from iapo.types import AdvantageInputs, AdvantageOutput


@dataclass(frozen=True)
class Drift(PrefixRule):
    """DASH: ``A_t = outcome + weight * d_k`` for the tokens of segment ``k``.

    ``d_k`` is 1 if the answer is right at the end of the segment, whether it became so or stayed so, and -1 if it is
    wrong. Probe the reference answer; right and wrong completions alike.

    *Departures.* DASH's segments end where the text commits itself to an answer. Here the policy is asked every
    ``step`` tokens, or behind each of ``after_ids``, and the answer is right where the right one has a probability of
    at least ``threshold``. How the paper combines the segments' sign with the outcome is not known to us: the sum and
    the weight are ours.

    *Degenerate cases.* Tokens that were not measured get the outcome; ``weight=0`` is the outcome's advantage.

    Args:
        outcome: assigns the outcome's part; its loss mask is kept.
        weight: of the segments' sign.
        step: tokens of a segment, at least 1; with ``after_ids`` at most.
        threshold: probability at which the answer is right.
        after_ids: ids of the tokens behind which a segment ends, such as a newline; none: after ``step`` tokens.

    Raises:
        ValueError: a weight that is negative or not finite, a ``step`` below 1, a threshold outside (0, 1],
            ``after_ids`` below 0.

    Example:
        >>> from iapo import TokenSignals
        >>> mask, values = torch.ones(2, 2, dtype=torch.bool), torch.tensor([[-4.0, -0.1, -4.0]]).expand(2, -1)
        >>> rule = Drift(weight=0.5, step=1)
        >>> rule(torch.zeros(2), torch.tensor([0, 0]), mask, TokenSignals(prefix_values=values)).advantages[0]
        tensor([ 0.5000, -0.5000])

    References:
        Lee et al., "Know When to Stop: Segment-Level Credit Assignment for Reducing Overthinking", arXiv 2607.00482
        (DASH).
    """

    outcome: AdvantageAssigner = field(default_factory=GroupRelative)
    weight: float = 0.5
    step: int = 8
    threshold: float = 0.5
    after_ids: Ids = ()

    def __post_init__(self) -> None:
        check_kinds(self)
        check_weights(weight=self.weight)
        check_integer("step", self.step)
        check_integers("after_ids", self.after_ids, least=0, or_empty=True)
        check_threshold(self.threshold)

    def assign(self, inputs: AdvantageInputs) -> AdvantageOutput:
        """The outcome's advantages plus the segments' sign."""
        curve = curve_of(inputs)
        there = is_there(curve.values, curve.measured, self.threshold)
        steps = steps_by(inputs, curve.mask, self.step, self.after_ids)
        right = steps.spread(there.gather(1, steps.ends))
        sign = torch.where(right, 1, -1).to(inputs.rewards.dtype)
        output = add_term(self.assign_outcome(inputs), "drift", self.weight * sign * curve.mask)
        metrics = output.metrics | describe_prefix(sufficient_prefix(there, curve.measured), curve)
        return dataclasses.replace(output, metrics=metrics)
