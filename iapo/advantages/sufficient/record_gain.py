"""Credit for steps after which more is known than ever before (MIG)."""

from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor

from iapo.advantages.group_relative import GroupRelative
from iapo.advantages.normalization import Center, Scale, normalize
from iapo.advantages.parameters import check_weights
from iapo.advantages.steps import Ids, steps_by
from iapo.advantages.sufficient.curve import Curve, curve_of
from iapo.advantages.sufficient.rule import PrefixRule
from iapo.advantages.wrapping import add_term
from iapo.interfaces import AdvantageAssigner
from iapo.ops.checks import check_choice, check_integer, check_integers, check_kinds
from iapo.ops.steps import Steps
from iapo.types import AdvantageInputs, AdvantageOutput


@dataclass(frozen=True)
class RecordGain(PrefixRule):
    """MIG: ``A_t = outcome + weight * norm(g_k)`` for the tokens of step ``k``, ``g_k = max(0, V_k - max_{j<k} V_j)``.

    ``V_k`` is the value at the end of the step, nats, and ``V_0`` that before the first. Only a new record pays: what
    was known before, forgotten and found again pays nothing the second time, so that gains cannot be made by going back
    and forth, and those of a completion sum to its highest value less its first. Probe the reference answer. Only
    measured tokens get the term; the outcome is for all.

    *Departures.* How the paper cuts steps, normalizes the gains and weighs them against the outcome is not known to us:
    steps of ``step`` tokens, the center, the scale and the weight are ours.

    *Degenerate cases.* Tokens that were not measured get the outcome. Where all gains that are normalized together are
    equal, the term is 0. ``weight=0`` is the outcome's advantage.

    Args:
        outcome: assigns the outcome's part; its loss mask is kept.
        weight: of the term.
        step: tokens of a step, at least 1; with ``after_ids`` at most.
        center: the tokens over which the term is normalized: of the completion, the group or the batch.
        scale: ``"std"`` divides by the standard deviation, ``"none"`` leaves nats.
        after_ids: ids of the tokens behind which a step ends, such as a newline; none: after ``step`` tokens.

    Raises:
        ValueError: a weight that is negative or not finite, a ``step`` below 1, an unknown choice, ``after_ids``
            below 0.

    Example:
        >>> from iapo.ops.steps import steps_of
        >>> values = torch.tensor([[-4.0, -2.0, -3.0, -1.0]])
        >>> curve = Curve(values, torch.ones(1, 3, dtype=torch.bool), torch.ones(1, 4, dtype=torch.bool))
        >>> record_gains(curve, steps_of(curve.mask, 1))
        tensor([[2., 0., 1.]])

    References:
        arXiv 2602.01034 (MIG), the rectified gain over the running maximum.
    """

    outcome: AdvantageAssigner = field(default_factory=GroupRelative)
    weight: float = 0.5
    step: int = 8
    center: Center = "group"
    scale: Scale = "std"
    after_ids: Ids = ()

    def __post_init__(self) -> None:
        check_kinds(self)
        check_weights(weight=self.weight)
        check_integer("step", self.step)
        check_integers("after_ids", self.after_ids, least=0, or_empty=True)
        check_choice("center", self.center, Center)
        check_choice("scale", self.scale, Scale)

    def assign(self, inputs: AdvantageInputs) -> AdvantageOutput:
        """The outcome's advantages plus the gains' part."""
        curve = curve_of(inputs)
        steps = steps_by(inputs, curve.mask, self.step, self.after_ids)
        gains = steps.spread(record_gains(curve, steps))
        output = self.assign_outcome(inputs)
        term = self.weight * normalize(gains, curve.mask & output.loss_mask, inputs.group_ids, self.center, self.scale)
        return add_term(output, "record", term)


def record_gains(curve: Curve, steps: Steps) -> Float[Tensor, "batch step"]:
    """By how much each step's value exceeds the highest one before it, nats; 0 where it does not, or there is no step.

    Args:
        curve: of prefix values.
        steps: of its mask.
    """
    values = torch.cat([curve.values.gather(1, steps.begins[:, :1]), curve.values.gather(1, steps.ends)], 1)
    highest = values[:, :-1].cummax(1).values
    return (values[:, 1:] - highest).clamp(min=0).masked_fill(~steps.real, 0)
