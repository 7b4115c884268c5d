"""A price on what is said after the answer is there and stays (APR)."""

import dataclasses
from dataclasses import dataclass, field
from typing import Literal

from jaxtyping import Bool
from torch import Tensor

from iapo.advantages.group_relative import GroupRelative
from iapo.advantages.information_aware import AppliesTo
from iapo.advantages.parameters import check_weights
from iapo.advantages.sufficient.curve import curve_of, describe_prefix
from iapo.advantages.sufficient.rule import PrefixRule
from iapo.advantages.wrapping import add_term
from iapo.interfaces import AdvantageAssigner
from iapo.ops.checks import check_choice, check_kinds
from iapo.ops.sufficient_prefix import (
    RelativeTo,
    behind_prefix,
    check_threshold,
    is_there,
    sufficient_prefix,
)
from iapo.types import AdvantageInputs, AdvantageOutput

PaidBy = Literal["completion", "tail"]


@dataclass(frozen=True)
class TailPenalty(PrefixRule):
    """APR: ``r'_i = r_i - weight * (L_i - a_i) / L_i``, then the outcome's advantages.

    ``L_i`` is the number of measured tokens and ``a_i`` how many of them lie in the sufficient prefix, from whose end
    on the answer is there and stays: the anchor. What lies behind it is the tail; what came before costs nothing.

    The paper penalizes the tail alone, in the reward, and trains with Dr. GRPO's mean without a standard deviation. The
    form and the size of its penalty are not known to us: the share of the reasoning, the weight and the threshold are
    ours. ``paid_by="tail"`` is ours too: it leaves the rewards alone and subtracts ``weight`` from the advantage of
    every token of the tail, so that the tokens before the anchor do not pay for those behind it.

    *Degenerate cases.* A completion that was not measured, whose answer is never there to stay, or is there at the last
    token only, has no tail and pays nothing. Where the answer is there from the start, all measured tokens are tail.
    ``weight=0`` is the outcome's advantage. With equal rewards, the tails alone make the difference.

    Args:
        outcome: assigns advantages to the penalized rewards.
        weight: of the penalty, in units of the reward (of the advantage, if the tail pays).
        threshold: share of certainty at which the answer is there.
        relative_to: whether that is absolute or relative to the end of the reasoning (`sufficient_prefix`).
        applies_to: the completions that pay; of the others no curve is needed.
        paid_by: the reward of the completion, or the tokens of the tail.

    Raises:
        ValueError: a number that is not finite, a negative weight, a threshold outside (0, 1], an unknown choice.

    Example:
        >>> import torch
        >>> from iapo import TokenSignals
        >>> mask = torch.ones(2, 2, dtype=torch.bool)
        >>> signals = TokenSignals(prefix_values=torch.tensor([[-4.0, -0.1, -0.1], [-4.0, -4.0, -0.1]]))
        >>> rule = TailPenalty(GroupRelative(scale="none"), weight=0.2)
        >>> rule(torch.ones(2), torch.tensor([0, 0]), mask, signals).advantages[:, 0]
        tensor([-0.0500,  0.0500])

    References:
        Chang et al., "Penalizing Structural Redundancy in Large Reasoning Models via Anchor-based Process Rewards",
        arXiv 2602.00760 (APR), anchor and answer-stable tail.
    """

    outcome: AdvantageAssigner = field(default_factory=lambda: GroupRelative(scale="none"))
    weight: float = 0.2
    threshold: float = 0.5
    relative_to: RelativeTo = "certainty"
    applies_to: AppliesTo = "correct"
    paid_by: PaidBy = "completion"

    def __post_init__(self) -> None:
        check_kinds(self)
        check_weights(weight=self.weight)
        check_threshold(self.threshold)
        check_choice("relative_to", self.relative_to, RelativeTo)
        check_choice("applies_to", self.applies_to, AppliesTo)
        check_choice("paid_by", self.paid_by, PaidBy)

    def applies(self, inputs: AdvantageInputs) -> Bool[Tensor, " batch"]:
        """The completions that pay."""
        return super().applies(inputs) if self.applies_to == "all" else inputs.correct

    def assign(self, inputs: AdvantageInputs) -> AdvantageOutput:
        """The outcome's advantages, with the tail's price."""
        curve = curve_of(inputs)
        there = is_there(curve.values, curve.measured, self.threshold, self.relative_to)
        prefix = sufficient_prefix(there, curve.measured)
        tail = behind_prefix(prefix.length, prefix.stays & self.applies(inputs), curve.mask)
        if self.paid_by == "completion":
            share = tail.sum(1).to(inputs.rewards.dtype) / curve.mask.sum(1).clamp(min=1)
            inputs = dataclasses.replace(inputs, rewards=inputs.rewards - self.weight * share)
        output = self.assign_outcome(inputs)
        if self.paid_by == "tail":
            output = add_term(output, "tail", -self.weight * tail.to(inputs.rewards.dtype))
        return dataclasses.replace(output, metrics=output.metrics | describe_prefix(prefix, curve))
