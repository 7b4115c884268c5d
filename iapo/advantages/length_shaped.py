"""Length-aware rewards before the baseline, for any assigner."""

import dataclasses
from dataclasses import dataclass
from typing import Any

from jaxtyping import Bool
from torch import Tensor

from iapo.advantages.shaping.interface import RewardShaping
from iapo.advantages.wrapping import WrappingAssigner
from iapo.interfaces import AdvantageAssigner
from iapo.ops.checks import check_kinds
from iapo.types import AdvantageInputs, AdvantageOutput


@dataclass(frozen=True)
class LengthShaped(WrappingAssigner):
    """The advantages that ``outcome`` assigns to shaped rewards: ``shaping`` changes each reward by the length.

    Which completions are correct does not change, so that an assigner that asks for it, such as `InformationAware`,
    may stand around this one or be its ``outcome``.

    *Degenerate cases.* Those of ``shaping`` and ``outcome``. A completion without tokens is of length 0.

    Args:
        outcome: assigns advantages to the shaped rewards.
        shaping: a `iapo.advantages.shaping.RewardShaping`.

    Example:
        >>> import torch
        >>> from iapo.advantages import GroupRelative, KimiLength
        >>> mask = torch.tensor([[True, True, True], [True, False, False]])
        >>> assigner = LengthShaped(GroupRelative(scale="none"), KimiLength())
        >>> assigner(torch.tensor([1.0, 1.0]), torch.tensor([0, 0]), mask).advantages[:, 0]
        tensor([-0.5000,  0.5000])
    """

    outcome: AdvantageAssigner
    shaping: RewardShaping

    def __post_init__(self) -> None:
        check_kinds(self)

    def wants_information(self, inputs: AdvantageInputs) -> Bool[Tensor, " batch"]:
        """The completions whose information the outcome reads, given the shaped rewards."""
        return self.outcome.wants_information(self._shaped(inputs))

    def own_fields_at(self, progress: float) -> dict[str, Any]:
        """The shaping with its weights at a moment of training."""
        return {"shaping": self.shaping.at(progress)}

    def assign(self, inputs: AdvantageInputs) -> AdvantageOutput:
        """The outcome's advantages of the shaped rewards."""
        shaped = self._shaped(inputs)
        output = self.assign_outcome(shaped)
        metrics = dict(output.metrics)
        if len(shaped):
            metrics["iapo/shaped_reward"] = float(shaped.rewards.mean())
        return dataclasses.replace(output, metrics=metrics)

    def _shaped(self, inputs: AdvantageInputs) -> AdvantageInputs:
        lengths = inputs.completion_mask.sum(1)
        return dataclasses.replace(
            inputs, rewards=self.shaping(inputs.rewards, inputs.group_ids, lengths, inputs.correct)
        )
