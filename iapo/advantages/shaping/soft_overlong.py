"""DAPO's soft overlong penalty: a price for the last tokens before the limit."""

from dataclasses import dataclass

from jaxtyping import Bool, Float, Int
from torch import Tensor

from iapo.advantages.parameters import check_weights
from iapo.advantages.shaping.interface import RewardShaping
from iapo.ops.checks import check_integer


@dataclass(frozen=True)
class SoftOverlong(RewardShaping):
    """``r - weight * clip((n - (max_length - buffer)) / buffer, 0, 1)``: a price on the last tokens.

    *Degenerate cases.* Up to ``max_length - buffer`` tokens the reward does not change.

    Args:
        max_length: tokens at which the penalty is full.
        buffer: tokens over which it rises, at most ``max_length``.
        weight: the full penalty; 1 in the paper.

    Raises:
        ValueError: ``buffer`` outside [1, ``max_length``], a ``weight`` that is negative or not finite.

    Example:
        >>> import torch
        >>> shaping = SoftOverlong(max_length=20, buffer=10)
        >>> shaping(torch.tensor([1.0, 1.0, 0.0]), torch.tensor([0, 0, 0]), torch.tensor([10, 15, 30]))
        tensor([ 1.0000,  0.5000, -1.0000])

    References:
        DAPO, arXiv 2503.14476, equation 13 (soft overlong punishment).
    """

    max_length: int
    buffer: int
    weight: float = 1.0

    def __post_init__(self) -> None:
        check_integer("buffer", self.buffer)
        check_integer("max_length", self.max_length, least=self.buffer)
        check_weights(weight=self.weight)

    def shape(
        self,
        rewards: Float[Tensor, " batch"],
        group_ids: Int[Tensor, " batch"],
        lengths: Int[Tensor, " batch"],
        correct: Bool[Tensor, " batch"],
    ) -> Float[Tensor, " batch"]:
        """The rewards minus the penalty of each length."""
        over = (lengths - (self.max_length - self.buffer)).to(rewards.dtype) / self.buffer
        return rewards - self.weight * over.clamp(0, 1)
