"""LASER's reward: a bonus for correct completions within a target length."""

from dataclasses import dataclass

from jaxtyping import Bool, Float, Int
from torch import Tensor

from iapo.advantages.parameters import check_weights
from iapo.advantages.shaping.interface import RewardShaping
from iapo.ops.checks import check_integer


@dataclass(frozen=True)
class Laser(RewardShaping):
    """LASER: ``r + weight * 1[correct and n <= target]``.

    A bonus takes nothing from a correct completion that is long, where a limit (`ThinkPrune`) takes everything.

    *Degenerate cases.* Without a correct completion within the target the rewards do not change.

    Args:
        target: tokens, the same for all prompts.
        weight: of the bonus; 0.5 in the paper.

    Raises:
        ValueError: ``target`` below 1, a number that is not finite, or a negative ``weight``.

    Example:
        >>> import torch
        >>> Laser(target=10)(torch.tensor([1.0, 1.0, 0.0]), torch.tensor([0, 0, 0]), torch.tensor([10, 11, 5]))
        tensor([1.5000, 1.0000, 0.0000])

    References:
        Liu et al., "Learn to Reason Efficiently with Adaptive Length-based Reward Shaping", arXiv 2505.15612, LASER.
    """

    target: int
    weight: float = 0.5

    def __post_init__(self) -> None:
        check_integer("target", self.target)
        check_weights(weight=self.weight)

    def shape(
        self,
        rewards: Float[Tensor, " batch"],
        group_ids: Int[Tensor, " batch"],
        lengths: Int[Tensor, " batch"],
        correct: Bool[Tensor, " batch"],
    ) -> Float[Tensor, " batch"]:
        """The rewards plus the bonus."""
        earned = correct & (lengths <= self.target)
        return rewards + self.weight * earned.to(rewards.dtype)
