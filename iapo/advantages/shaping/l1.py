"""L1's reward: a target length, and a price for each token of distance from it."""

from dataclasses import dataclass

from jaxtyping import Bool, Float, Int
from torch import Tensor

from iapo.advantages.parameters import check_weights
from iapo.advantages.shaping.interface import RewardShaping
from iapo.ops.checks import check_integer


@dataclass(frozen=True)
class L1Length(RewardShaping):
    """``1[correct] - weight * |target - n|`` (L1-Exact), here with one target for all prompts.

    In the paper each prompt names a target of its own; here the prompts do not name one. The original rewards do not
    count, only which completions are correct.

    *Degenerate cases.* A completion without tokens has length 0.

    Args:
        target: tokens.
        weight: price of a token of distance; 0.0003 in the paper, for targets of thousands.

    Raises:
        ValueError: ``target`` below 1, a number that is not finite, or a negative ``weight``.

    Example:
        >>> import torch
        >>> L1Length(target=10, weight=0.1)(torch.tensor([1.0, 0.0]), torch.tensor([0, 0]), torch.tensor([12, 10]))
        tensor([0.8000, 0.0000])

    References:
        Aggarwal and Welleck, "L1", arXiv 2503.04697, L1-Exact.
    """

    target: int
    weight: float = 0.0003

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
        """1 if correct, minus the price of the distance from the target."""
        distance = (self.target - lengths).abs().to(rewards.dtype)
        return correct.to(rewards.dtype) - self.weight * distance
