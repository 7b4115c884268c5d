"""Less credit once the potential is saturated, and a term for its difference (SPAE)."""

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
from iapo.ops.checks import check_integer, check_integers, check_kinds, check_number
from iapo.ops.sufficient_prefix import sufficient_prefix
from iapo.types import AdvantageInputs, AdvantageOutput


@dataclass(frozen=True)
class StepPotential(PrefixRule):
    """SPAE: ``A_t = f_t * outcome + difference * (Phi_k - Phi_{k-1})`` for the tokens of step ``k``.

    ``Phi_k = 2 exp(V) - 1`` at the end of the step, from -1 (surely wrong) to 1 (surely right); ``f_t`` is
    ``1 - saturation`` where the outcome is positive and an earlier step ended with ``Phi >= threshold``, else 1. So
    going on after the answer is certain earns less, and a step that loses the answer is charged. Probe the reference
    answer; right and wrong completions alike.

    *Departures.* SPAE's potential is ``1.5 c p + 0.5 p - c`` with ``p`` the probability of the right answer and ``c``
    the confidence in any answer. One curve gives ``p`` only, and ``Phi`` is that for ``c = 1``, a policy that is always
    sure of something. The paper has ``f`` shrink credit after saturation at about 0.9 with strength 0.5 and weighs the
    difference with 0.5; the exact shape of ``f`` and of the difference's term is not known to us, so the step function
    and the plain difference are ours. Its steps are paragraphs; ``after_ids`` says where those end. It then
    normalizes over the batch, which is for another assigner to do.

    *Degenerate cases.* Tokens that were not measured get the outcome. ``saturation = difference = 0`` is the outcome.
    A single step has a difference and is never after saturation.

    Args:
        outcome: assigns the outcome's part; its loss mask is kept.
        saturation: share of positive credit that is taken after saturation, 0 to 1.
        difference: weight of the potential's difference.
        threshold: potential at which it is saturated, above -1, at most 1.
        step: tokens of a step, at least 1; with ``after_ids`` at most.
        after_ids: ids of the tokens behind which a step ends, such as a newline; none: after ``step`` tokens.

    Raises:
        ValueError: a weight that is negative or not finite, ``saturation`` above 1, a threshold outside (-1, 1], a
            ``step`` below 1, ``after_ids`` below 0; on a call, prefix values above 0.

    Example:
        >>> from iapo import TokenSignals
        >>> mask, values = torch.ones(2, 2, dtype=torch.bool), torch.tensor([[1, 4, 2], [1, 1, 1]]).div(4).log()
        >>> rule = StepPotential(GroupRelative(scale="none"), step=1)
        >>> rule(torch.tensor([1.0, 0.0]), torch.tensor([0, 0]), mask, TokenSignals(prefix_values=values)).advantages
        tensor([[ 1.2500, -0.2500],
                [-0.5000, -0.5000]])

    References:
        Wu et al., "Step Potential Advantage Estimation", arXiv 2601.03823 (SPAE), step potential, saturation and
        difference.
    """

    outcome: AdvantageAssigner = field(default_factory=lambda: GroupRelative(scale="none"))
    saturation: float = 0.5
    difference: float = 0.5
    threshold: float = 0.9
    step: int = 8
    after_ids: Ids = ()

    def __post_init__(self) -> None:
        check_kinds(self)
        check_weights(saturation=self.saturation, difference=self.difference)
        check_integer("step", self.step)
        check_integers("after_ids", self.after_ids, least=0, or_empty=True)
        check_number("saturation", self.saturation, "a number from 0 to 1", lambda x: x <= 1)
        check_number("threshold", self.threshold, "a potential above -1, at most 1", lambda x: -1 < x <= 1)

    def assign(self, inputs: AdvantageInputs) -> AdvantageOutput:
        """The outcome's advantages, less after saturation, plus the difference of the potential."""
        curve = curve_of(inputs)
        potential = 2 * curve.probabilities() - 1
        steps = steps_by(inputs, curve.mask, self.step, self.after_ids)
        saturated = steps.at_ends(potential) >= self.threshold
        after = saturated.long().cumsum(1) - saturated.long() > 0
        output = self.assign_outcome(inputs)
        shrunk = steps.spread(after) & (output.advantages > 0)
        factor = torch.where(shrunk, 1 - self.saturation, 1.0).to(output.advantages.dtype)
        credited = output.changed(lambda each: each * factor)
        credited = add_term(credited, "potential", self.difference * steps.spread(steps.gains(potential)))
        there = (potential >= self.threshold) & curve.measured
        metrics = output.metrics | describe_prefix(sufficient_prefix(there, curve.measured), curve)
        return dataclasses.replace(credited, metrics=metrics)
