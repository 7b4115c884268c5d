"""No credit for the steps in which the policy was least sure, or in a wrong completion most sure (SAS)."""

import dataclasses
import math
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from iapo.advantages.steps import steps_by
from iapo.advantages.wrapping import WrappingAssigner
from iapo.interfaces import AdvantageAssigner
from iapo.ops.checks import check_choice, check_integers, check_kinds, check_number
from iapo.types import AdvantageInputs, AdvantageOutput

Counting = Literal["formula", "released"]
_READ_BY_FORMULA = {"policy_logprobs", "completion_ids", "reasoning_mask"}


@dataclass(frozen=True)
class ConfidenceMasked(WrappingAssigner):
    """SAS: ``outcome``'s advantages, 0 in some steps of the reasoning, chosen by the policy's confidence in them.

    A step ends behind a token of ``after_ids``, or where the reasoning ends or is interrupted. Its confidence is the
    mean log-probability (nats) of its tokens under the policy that sampled. Of the ``S`` steps of a completion,
    ``ceil(share * S)`` get advantage 0: the least confident ones of a correct completion, the most confident ones of a
    wrong one. Their tokens stay in the loss mask, so that the loss's denominator does not change.

    The authors' released code has a fault in the order of its operators. There, that number is ``ceil(S - 1 + share) =
    S`` in correct completions and 0 in wrong ones, so that all reasoning of a correct completion gets advantage 0.
    ``counting="released"`` computes this.

    *Degenerate cases.* ``share=0`` is the outcome. A completion of one step loses that step at any other share. Among
    equally confident steps those that come first are chosen. Without reasoning nothing changes.

    Args:
        outcome: assigns the advantages, `GroupRelative` in the paper.
        after_ids: ids of the tokens that end a step (in the paper, those that hold an empty line).
        share: of a completion's steps, 0.3 in the paper.
        counting: what the paper's ``"formula"`` says, or what the code does as it was ``"released"``.

    Raises:
        ValueError: a number that is not finite, no ``after_ids`` or a negative one, a ``share`` outside [0, 1], an
            unknown ``counting``.

    Example:
        >>> from iapo import TokenSignals
        >>> from iapo.advantages import GroupRelative
        >>> mask = torch.ones(2, 4, dtype=torch.bool)
        >>> signals = TokenSignals(
        ...     policy_logprobs=torch.tensor([[-1.0, -1.0, -3.0, -3.0]] * 2),
        ...     completion_ids=torch.tensor([[5, 9, 5, 9]] * 2),
        ...     reasoning_mask=mask,
        ... )
        >>> assigner = ConfidenceMasked(GroupRelative(scale="none"), after_ids=(9,))
        >>> assigner(torch.tensor([1.0, 0.0]), torch.tensor([0, 0]), mask, signals).advantages
        tensor([[ 0.5000,  0.5000,  0.0000,  0.0000],
                [ 0.0000,  0.0000, -0.5000, -0.5000]])

    References:
        SAS, arXiv 2604.24003, step-level advantage selection; "released": the authors' repository, HanNight/SAS.
    """

    outcome: AdvantageAssigner
    after_ids: tuple[int, ...]
    share: float = 0.3
    counting: Counting = "formula"

    def __post_init__(self) -> None:
        check_kinds(self)
        check_integers("after_ids", self.after_ids, least=0)
        check_number("share", self.share, "a number from 0 to 1", lambda x: 0 <= x <= 1)
        check_choice("counting", self.counting, Counting)

    @property
    def requires(self) -> frozenset[str]:
        """The outcome's signals, the reasoning, and by the formula its steps and the policy's log-probabilities."""
        own = {"reasoning_mask"} if self.counting == "released" else _READ_BY_FORMULA
        return self.outcome.requires | own

    def assign(self, inputs: AdvantageInputs) -> AdvantageOutput:
        """The outcome's advantages without those of the chosen steps."""
        output, correct = self.assign_outcome(inputs), inputs.correct
        if self.counting == "released":
            assert inputs.signals.reasoning_mask is not None
            chosen = inputs.signals.reasoning_mask & correct[:, None] & (self.share > 0)
        else:
            chosen = self._chosen(inputs, correct)
        masked = chosen & output.loss_mask
        metrics = dict(output.metrics)
        if tokens := int(output.loss_mask.sum()):
            metrics["iapo/frac_step_masked"] = int(masked.sum()) / tokens
        return dataclasses.replace(output.changed(lambda each: each.masked_fill(masked, 0)), metrics=metrics)

    def _chosen(self, inputs: AdvantageInputs, correct: Bool[Tensor, " batch"]) -> Bool[Tensor, "batch token"]:
        """The tokens of the steps that the formula chooses."""
        signals = inputs.signals
        assert signals.policy_logprobs is not None
        assert signals.reasoning_mask is not None
        steps = steps_by(inputs, signals.reasoning_mask, size=None, after_ids=self.after_ids)
        confidence = steps.means(signals.policy_logprobs)
        first = torch.where(correct[:, None], confidence, -confidence)
        return steps.spread(lowest_share(first, steps.real, self.share))


def lowest_share(
    values: Float[Tensor, "batch step"], real: Bool[Tensor, "batch step"], share: float
) -> Bool[Tensor, "batch step"]:
    """``True`` at the ``ceil(share * S)`` lowest of the ``S`` real values of each row; of equal ones, the first."""
    order = values.masked_fill(~real, math.inf).argsort(dim=1, stable=True)
    rank = torch.zeros_like(order).scatter(1, order, torch.arange(order.shape[1], device=order.device).expand_as(order))
    count = (share * real.sum(1).double() - 1e-9).ceil()
    return (rank < count[:, None]) & real
