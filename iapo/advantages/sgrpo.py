"""A loss over some tokens only: the first ones, and a random sample of the later ones (S-GRPO)."""

from dataclasses import dataclass

import torch

from iapo.advantages.wrapping import WrappingAssigner
from iapo.interfaces import AdvantageAssigner
from iapo.ops.checks import check_integer, check_kinds, check_number
from iapo.types import AdvantageInputs, AdvantageOutput


@dataclass(frozen=True)
class SGRPO(WrappingAssigner):
    """S-GRPO: ``outcome``'s advantages, on the first ``first`` tokens and on each later one with ``probability``.

    The other tokens leave the loss mask. Random numbers come from torch's global CPU generator, one for each entry of
    the batch, masked ones included. So ``torch.manual_seed`` repeats the sample, a restored generator state continues
    it, and it is the same on every device. It changes with the order and the width of the batch.

    It is not `iapo.advantages.SerialExits`, the S-GRPO of Dai et al. (arXiv 2505.07686), which has the same name and
    shortens.

    The paper has no cutoff, which is the default. The S-GRPO with which the authors of IAPO compare has one, in their
    released code: tokens from position ``cutoff`` on never count.

    *Degenerate cases.* With ``probability=1`` and no cutoff it is ``outcome``; with 0 only the first tokens count. A
    cutoff beyond the longest completion changes nothing, random numbers included.

    Args:
        outcome: assigns the advantages, `GroupRelative` in the paper.
        first: tokens at a completion's start that always count.
        probability: of each later token to count.
        cutoff: tokens at a completion's start that may count at all, at least ``first``; ``None``: all of them.

    Raises:
        ValueError: a negative ``first``, a ``probability`` outside [0, 1], both 0, or a ``cutoff`` below ``first``.

    Example:
        >>> from iapo.advantages import GroupRelative
        >>> assigner = SGRPO(GroupRelative(), first=2, probability=0.0)
        >>> mask = torch.ones(2, 3, dtype=torch.bool)
        >>> assigner(torch.tensor([1.0, 0.0]), torch.tensor([0, 0]), mask).loss_mask[0]
        tensor([ True,  True, False])

    References:
        Lee and Tong, "Token-Efficient RL for LLM Reasoning", arXiv 2504.20834, S-GRPO. Another method of that name is
        that of Dai et al., arXiv 2505.07686.
    """

    outcome: AdvantageAssigner
    first: int
    probability: float
    cutoff: int | None = None

    def __post_init__(self) -> None:
        check_kinds(self)
        check_integer("first", self.first, least=0)
        check_number("probability", self.probability, "a number from 0 to 1", lambda x: 0 <= x <= 1)
        if not self.first and not self.probability:
            raise ValueError("first and probability: got 0 for both, want a positive one, else no token counts")
        check_integer("cutoff", self.cutoff, least=max(1, self.first), or_none=True)

    def assign(self, inputs: AdvantageInputs) -> AdvantageOutput:
        """The outcome's advantages on the tokens that were sampled."""
        output = self.assign_outcome(inputs)
        draws = torch.rand(inputs.completion_mask.shape, dtype=torch.float32)
        sampled = (draws < self.probability).to(inputs.completion_mask.device)
        sampled[:, : self.first] = True
        if self.cutoff is not None:
            sampled[:, self.cutoff :] = False
        loss_mask = output.loss_mask & sampled
        return output.changed(lambda each: each * loss_mask, loss_mask)
