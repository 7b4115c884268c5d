"""Returns normalized over the whole batch, without groups (REINFORCE++)."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from iapo.interfaces import AdvantageAssigner
from iapo.ops.masked import masked_zscore
from iapo.types import AdvantageOutput, TokenSignals


@dataclass(frozen=True)
class ReinforcePlusPlus(AdvantageAssigner):
    """REINFORCE++: the return ``R_t = discount^(L - 1 - t) * r``, z-scored over all tokens of the batch.

    The reward comes with the last of the ``L`` tokens. A long completion weighs more in mean and standard deviation
    than a short one, token by token. The paper takes the KL penalty out of the reward; here it is the loss's, see
    `iapo.losses`.

    *Degenerate cases.* Returns that are all equal have advantage exactly 0; with a discount below 1 equal rewards do
    not make equal returns. A completion without tokens has no part in anything. Groups, also of one, do not matter.

    Args:
        discount: of the reward, per token before the last; 1 in the paper.

    Raises:
        ValueError: ``discount`` outside [0, 1].

    Example:
        >>> mask = torch.tensor([[True, True, True], [True, False, False]])
        >>> ReinforcePlusPlus()(torch.tensor([1.0, 0.0]), torch.tensor([0, 1]), mask).advantages
        tensor([[ 0.5774,  0.5774,  0.5774],
                [-1.7321,  0.0000,  0.0000]])

    References:
        Hu, "REINFORCE++", arXiv 2501.03262, the advantage and its normalization.
    """

    discount: float = 1.0

    def __post_init__(self) -> None:
        if not 0 <= self.discount <= 1:
            raise ValueError(f"discount: got {self.discount}, want a number from 0 to 1")

    def assign(
        self,
        rewards: Float[Tensor, " batch"],
        group_ids: Int[Tensor, " batch"],
        completion_mask: Bool[Tensor, "batch token"],
        signals: TokenSignals,
    ) -> AdvantageOutput:
        """See the class."""
        position = torch.arange(completion_mask.shape[1], device=completion_mask.device)
        left = (completion_mask.sum(1, keepdim=True) - 1 - position).clamp(min=0)
        returns = rewards[:, None] * torch.pow(self.discount, left.to(rewards.dtype))
        return AdvantageOutput(masked_zscore(returns, completion_mask), completion_mask, {})
