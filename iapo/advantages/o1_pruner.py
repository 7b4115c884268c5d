"""Length and accuracy against a reference policy's on the same prompt (O1-Pruner)."""

import math
from dataclasses import dataclass

from jaxtyping import Bool, Float
from torch import Tensor

from iapo.advantages.parameters import check_weights
from iapo.interfaces import AdvantageAssigner
from iapo.ops.checks import check_number
from iapo.types import AdvantageInputs, AdvantageOutput


@dataclass(frozen=True)
class O1Pruner(AdvantageAssigner):
    """O1-Pruner: ``A_i = L_ref / n_i - 1 + accuracy_weight * (c_i - a_ref)``, the same for every token.

    ``L_ref`` and ``a_ref`` are the mean length and the accuracy of a reference policy on the same prompt, ``n_i`` and
    ``c_i`` the length and the correctness (0 or 1) of the completion. The baseline is the reference policy, so groups
    are not used. The paper samples the reference policy once, before training: the two numbers are columns
    ``reference_length`` and ``reference_accuracy`` of the data, which a training loop hands over as signals.

    The authors' code also bounds the value to [-2, 4] and then takes its z-score over the data; here
    ``BatchWhitened(O1Pruner(), over="completions")`` takes it over the batch.

    *Degenerate cases.* A completion without tokens has none to get an advantage.

    Args:
        accuracy_weight: of the accuracy against the length; 2 by our choice, the paper searches it.
        lowest: the value is at least this; ``None``: no bound.
        highest: and at most this; ``None``: no bound.

    Raises:
        ValueError: a number that is not finite, a negative weight, ``lowest`` not below ``highest``; on a call, a
            reference length that is not positive or a reference accuracy outside [0, 1], with the rows.

    Example:
        >>> import torch
        >>> from iapo import TokenSignals
        >>> mask = torch.tensor([[True, True, False, False], [True, True, True, True]])
        >>> signals = TokenSignals(reference_length=torch.full((2,), 4.0), reference_accuracy=torch.full((2,), 0.5))
        >>> O1Pruner()(torch.tensor([1.0, 0.0]), torch.tensor([0, 0]), mask, signals).advantages[:, 0]
        tensor([ 2., -1.])

    References:
        Luo et al., "O1-Pruner", arXiv 2501.12570, the length-harmonizing reward; bounds: the authors' code.
    """

    accuracy_weight: float = 2.0
    lowest: float | None = -2.0
    highest: float | None = 4.0

    def __post_init__(self) -> None:
        check_weights(accuracy_weight=self.accuracy_weight)
        check_number("lowest", self.lowest, or_none=True)
        check_number("highest", self.highest, or_none=True)
        if self.lowest is not None and self.highest is not None and not self.lowest < self.highest:
            raise ValueError(f"lowest, highest: got {self.lowest} and {self.highest}, want the first below the second")

    @property
    def requires(self) -> frozenset[str]:
        """What the reference policy does on each prompt."""
        return frozenset({"reference_length", "reference_accuracy"})

    def assign(self, inputs: AdvantageInputs) -> AdvantageOutput:
        """How much shorter and more often correct each completion is than the reference policy's."""
        length, accuracy = inputs.signals.reference_length, inputs.signals.reference_accuracy
        assert length is not None
        assert accuracy is not None
        _check("reference_length", length, (length > 0) & (length < math.inf), "a positive number of tokens")
        _check("reference_accuracy", accuracy, (accuracy >= 0) & (accuracy <= 1), "a number from 0 to 1")
        rewards, mask = inputs.rewards, inputs.completion_mask
        n = mask.sum(1).clamp(min=1)
        gain = inputs.correct.to(rewards.dtype) - accuracy.to(rewards.dtype)
        value = length.to(rewards.dtype) / n - 1 + self.accuracy_weight * gain
        if self.lowest is not None:
            value = value.clamp(min=self.lowest)
        if self.highest is not None:
            value = value.clamp(max=self.highest)
        return AdvantageOutput(value[:, None] * mask, mask, {})


def _check(name: str, values: Float[Tensor, " batch"], good: Bool[Tensor, " batch"], want: str) -> None:
    if not bool(good.all()):
        rows = (~good).nonzero().flatten()
        raise ValueError(f"signals.{name}: got {values[rows].tolist()} in rows {rows.tolist()}, want {want}")
