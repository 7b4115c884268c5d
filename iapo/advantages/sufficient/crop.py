"""Learn from completions cropped where the answer is first there (LC-R1)."""

import dataclasses
from dataclasses import dataclass, field

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from iapo.advantages.group_relative import GroupRelative
from iapo.advantages.parameters import check_weights
from iapo.advantages.sufficient.curve import Curve, curve_of, describe_prefix
from iapo.advantages.sufficient.rule import PrefixRule
from iapo.advantages.wrapping import add_term
from iapo.interfaces import AdvantageAssigner
from iapo.ops.checks import check_choice, check_kinds
from iapo.ops.groups import Groups
from iapo.ops.sufficient_prefix import (
    Anchor,
    RelativeTo,
    behind_prefix,
    check_threshold,
    first_and_last,
    is_there,
    sufficient_prefix,
)
from iapo.types import AdvantageInputs, AdvantageOutput


@dataclass(frozen=True)
class Crop(PrefixRule):
    """LC-R1: a length reward on cropped completions, no loss on what was cropped, and a reward for closing.

    A correct completion is cropped where the answer is first there. With ``l_i`` its length in tokens without what was
    cropped and the maximum over the group's correct completions::

        r'_i = r_i + length_weight * (1 - l_i / max_j l_j)                       if correct
        A_t  = outcome(r')_i                                                     elsewhere
             + closing_weight * (1 - a_i / L_i), or -closing_weight if not there at the token behind the measured ones

    ``L_i`` is the number of measured tokens and ``a_i`` how many of them remain. The token behind the last measured one
    is the one that closes the reasoning. Cropped tokens leave the loss mask.

    *Departures.* LC-R1 trains on the text without the cropped part, in which the closing token follows the answer
    immediately. Here completions stay as they were sampled, so that each token keeps its context, and the closing token
    is rewarded where it stands. LC-R1 asks a language model to find the answer in the text; here the curve of prefix
    values says from where on the policy can give it. As in the paper, wrong completions get no length reward; the
    released code gives them one too, which is negative where they are longer than every correct one.

    *Degenerate cases.* A correct completion that was not measured is not cropped, and its closing token gets nothing.
    Where the reasoning was cut off, nothing closes it. Without a correct completion it is the outcome's advantage.

    Args:
        outcome: assigns advantages to the rewards with length; in the paper they are centered and not scaled.
        length_weight: of the length reward.
        closing_weight: of the reward for closing, in units of the advantage.
        threshold: share of certainty at which the answer is there; ours.
        relative_to: whether that is absolute or relative to the end of the reasoning.
        anchor: crop where the answer is ``"first"`` there, as in the paper, or from where on it ``"stays"``, which is
            ours: a policy that is stopped early may give the right answer by chance, and lose it a moment later.

    Raises:
        ValueError: a number that is not finite, a negative weight, a threshold outside (0, 1], an unknown choice.

    Example:
        >>> from iapo import TokenSignals
        >>> mask = torch.ones(2, 3, dtype=torch.bool)
        >>> signals = TokenSignals(
        ...     prefix_values=torch.tensor([[-4.0, -0.1, -0.1, 0.0], [-4.0, -4.0, -0.1, 0.0]]),
        ...     information_mask=torch.tensor([[True, True, False], [True, True, False]]))
        >>> output = Crop()(torch.ones(2), torch.tensor([0, 0]), mask, signals)
        >>> output.loss_mask[0], output.advantages[0]
        (tensor([ True, False,  True]), tensor([0.1667, 0.0000, 0.6667]))

    References:
        Cheng et al., "Optimizing Length Compression in Large Reasoning Models", arXiv 2506.14755 (LC-R1).
    """

    outcome: AdvantageAssigner = field(default_factory=lambda: GroupRelative(scale="none"))
    length_weight: float = 1.0
    closing_weight: float = 1.0
    threshold: float = 0.5
    relative_to: RelativeTo = "certainty"
    anchor: Anchor = "first"

    def __post_init__(self) -> None:
        check_kinds(self)
        check_weights(length_weight=self.length_weight, closing_weight=self.closing_weight)
        check_threshold(self.threshold)
        check_choice("relative_to", self.relative_to, RelativeTo)
        check_choice("anchor", self.anchor, Anchor)

    def applies(self, inputs: AdvantageInputs) -> Bool[Tensor, " batch"]:
        """The correct completions."""
        return inputs.correct

    def assign(self, inputs: AdvantageInputs) -> AdvantageOutput:
        """The outcome's advantages of cropped lengths, and the reward for closing."""
        curve, correct = curve_of(inputs), inputs.correct
        there = is_there(curve.values, curve.measured, self.threshold, self.relative_to)
        prefix = sufficient_prefix(there, curve.measured)
        length, found = prefix.at(self.anchor)
        cropped = behind_prefix(length, found & correct, curve.mask)
        remains = (inputs.completion_mask.sum(1) - cropped.sum(1)).to(inputs.rewards.dtype)
        groups = Groups.of(inputs.group_ids)
        longest = groups.max(remains * correct)[groups.of_row]
        shorter = (1 - remains / longest.clamp(min=1)).masked_fill(~correct | (longest == 0), 0)
        output = self.assign_outcome(dataclasses.replace(inputs, rewards=inputs.rewards + self.length_weight * shorter))
        loss_mask = output.loss_mask & ~cropped
        closing = self._closing(curve, found, cropped, inputs.completion_mask) * correct[:, None]
        output = add_term(output, "closing", closing)
        output = output.changed(lambda each: each.masked_fill(~loss_mask, 0), loss_mask)
        return dataclasses.replace(output, metrics=output.metrics | describe_prefix(prefix, curve))

    def _closing(
        self,
        curve: Curve,
        found: Bool[Tensor, " batch"],
        cropped: Bool[Tensor, "batch token"],
        completion_mask: Bool[Tensor, "batch token"],
    ) -> Float[Tensor, "batch token"]:
        """What the token behind the measured ones gets."""
        share = cropped.sum(1).float() / curve.mask.sum(1).clamp(min=1)
        paid = self.closing_weight * torch.where(found, share, -1)
        _, last = first_and_last(curve.measured)
        closes = torch.arange(completion_mask.shape[1], device=last.device) == last[:, None]
        return paid[:, None] * (closes & completion_mask & curve.measured.any(1, keepdim=True))
