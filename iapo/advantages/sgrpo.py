"""A loss over some tokens only: the first ones, and a random sample of the later ones (S-GRPO)."""

from dataclasses import dataclass

import torch

from iapo.advantages.parameters import check_length
from iapo.advantages.wrapping import WrappingAssigner
from iapo.interfaces import AdvantageAssigner
from iapo.types import AdvantageInputs, AdvantageOutput


@dataclass(frozen=True)
class SGRPO(WrappingAssigner):
    """S-GRPO: ``outcome``'s advantages, on the first ``first`` tokens and on each later one with ``probability``.

    The other tokens leave the loss mask. Random numbers come from torch's global CPU generator, one for each entry of
    the batch, masked ones included. So ``torch.manual_seed`` repeats the sample, a restored generator state continues
    it, and it is the same on every device. It changes with the order and the width of the batch.

    The S-GRPO with which the authors of IAPO compare has a cutoff as well, in their repository: tokens beyond it never
    count. Here there is none, as in the paper of S-GRPO.

    *Degenerate cases.* With ``probability=1`` it is ``outcome``; with 0 only the first tokens count.

    Args:
        outcome: assigns the advantages, `GroupRelative` in the paper.
        first: tokens at a completion's start that always count.
        probability: of each later token to count.

    Raises:
        ValueError: a negative ``first``, a ``probability`` outside [0, 1], or both 0.

    Example:
        >>> from iapo.advantages import GroupRelative
        >>> assigner = SGRPO(GroupRelative(), first=2, probability=0.0)
        >>> mask = torch.ones(2, 3, dtype=torch.bool)
        >>> assigner(torch.tensor([1.0, 0.0]), torch.tensor([0, 0]), mask).loss_mask[0]
        tensor([ True,  True, False])

    References:
        Lee and Tong, "Token-Efficient RL for LLM Reasoning", arXiv 2504.20834, S-GRPO.
    """

    outcome: AdvantageAssigner
    first: int
    probability: float

    def __post_init__(self) -> None:
        check_length("first", self.first, least=0)
        if not 0 <= self.probability <= 1:
            raise ValueError(f"probability: got {self.probability}, want a number from 0 to 1")
        if not self.first and not self.probability:
            raise ValueError("first and probability: got 0 for both, want a positive one, else no token counts")

    def assign(self, inputs: AdvantageInputs) -> AdvantageOutput:
        """The outcome's advantages on the tokens that were sampled."""
        output = self.assign_outcome(inputs)
        sampled = (torch.rand(inputs.completion_mask.shape) < self.probability).to(inputs.completion_mask.device)
        sampled[:, : self.first] = True
        loss_mask = output.loss_mask & sampled
        terms = None if output.terms is None else {name: term * loss_mask for name, term in output.terms.items()}
        return AdvantageOutput(output.advantages * loss_mask, loss_mask, output.metrics, terms)
