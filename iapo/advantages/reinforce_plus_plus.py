"""Returns normalized over the whole batch, without groups (REINFORCE++)."""

from dataclasses import dataclass

import torch

from iapo.advantages.normalization import normalize
from iapo.interfaces import AdvantageAssigner
from iapo.ops.checks import check_number
from iapo.types import AdvantageInputs, AdvantageOutput


@dataclass(frozen=True)
class ReinforcePlusPlus(AdvantageAssigner):
    """REINFORCE++: the return ``R_t = discount^(L - 1 - t) * r``, z-scored over all tokens of the batch.

    The reward is given at the last of the ``L`` tokens. Mean and standard deviation are over tokens, so that a long
    completion weighs more in them than a short one. The paper subtracts the KL penalty from the reward; here it is part
    of the loss (`iapo.losses`).

    *Degenerate cases.* Returns that are all equal have advantage exactly 0; with a discount below 1 equal rewards do
    not make equal returns. A completion without tokens counts nowhere. Groups are not used, so that a group may have
    one completion.

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
        check_number("discount", self.discount, "a number from 0 to 1", lambda x: 0 <= x <= 1)

    def assign(self, inputs: AdvantageInputs) -> AdvantageOutput:
        """Discounted returns, z-scored over the batch."""
        rewards, mask = inputs.rewards, inputs.completion_mask
        position = torch.arange(mask.shape[1], device=mask.device)
        left = (mask.sum(1, keepdim=True) - 1 - position).clamp(min=0)
        returns = rewards[:, None] * torch.pow(self.discount, left.to(rewards.dtype))
        return AdvantageOutput(normalize(returns, mask, inputs.group_ids, "batch"), mask, {})
