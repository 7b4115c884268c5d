"""Length-aware rewards before the baseline, for any assigner."""

import dataclasses
from dataclasses import dataclass

from jaxtyping import Bool, Float, Int
from torch import Tensor

from iapo.advantages.shaping.interface import RewardShaping
from iapo.interfaces import AdvantageAssigner
from iapo.types import AdvantageOutput, TokenSignals


@dataclass(frozen=True)
class LengthShaped(AdvantageAssigner):
    """``outcome``'s advantages of the rewards that ``shaping`` makes of rewards, groups and lengths.

    An assigner that asks whether a completion is correct, such as `InformationAware`, belongs around this one:
    inside, it would judge shaped rewards.

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

    @property
    def requires(self) -> frozenset[str]:
        """The outcome's signals."""
        return self.outcome.requires

    def wants_information(
        self,
        rewards: Float[Tensor, " batch"],
        group_ids: Int[Tensor, " batch"],
        completion_mask: Bool[Tensor, "batch token"],
    ) -> Bool[Tensor, " batch"]:
        """The outcome's answer, given the shaped rewards."""
        shaped = self.shaping(rewards, group_ids, completion_mask.sum(1))
        return self.outcome.wants_information(shaped, group_ids, completion_mask)

    def at(self, progress: float) -> AdvantageAssigner:
        """With the outcome's and the shaping's weights of the moment."""
        return LengthShaped(self.outcome.at(progress), self.shaping.at(progress))

    def assign(
        self,
        rewards: Float[Tensor, " batch"],
        group_ids: Int[Tensor, " batch"],
        completion_mask: Bool[Tensor, "batch token"],
        signals: TokenSignals,
    ) -> AdvantageOutput:
        """See the class."""
        shaped = self.shaping(rewards, group_ids, completion_mask.sum(1))
        output = self.outcome(shaped, group_ids, completion_mask, signals)
        metrics = dict(output.metrics)
        if len(shaped):
            metrics["iapo/shaped_reward"] = float(shaped.mean())
        return dataclasses.replace(output, metrics=metrics)
