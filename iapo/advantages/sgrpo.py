"""A loss over some tokens only: the first ones, and later ones by chance (S-GRPO)."""

import dataclasses
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from iapo.advantages.parameters import check_length
from iapo.interfaces import AdvantageAssigner
from iapo.types import AdvantageOutput, TokenSignals


@dataclass(frozen=True)
class SGRPO(AdvantageAssigner):
    """S-GRPO: ``outcome``'s advantages, on the first ``first`` tokens and on each later one with ``probability``.

    The other tokens leave the loss mask. The draws come from torch's global CPU generator, one number per entry of the
    batch whatever the mask, so that ``torch.manual_seed`` repeats them, a restored generator state continues them, and
    they are the same on every device. They do not repeat if the batch's order or width changes.

    *Degenerate cases.* With ``probability=1`` it is ``outcome``, with 0 its first tokens alone.

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
        """The outcome's answer."""
        return self.outcome.wants_information(rewards, group_ids, completion_mask)

    def at(self, progress: float) -> AdvantageAssigner:
        """With the outcome's weights of the moment."""
        return dataclasses.replace(self, outcome=self.outcome.at(progress))

    def assign(
        self,
        rewards: Float[Tensor, " batch"],
        group_ids: Int[Tensor, " batch"],
        completion_mask: Bool[Tensor, "batch token"],
        signals: TokenSignals,
    ) -> AdvantageOutput:
        """See the class."""
        output = self.outcome(rewards, group_ids, completion_mask, signals)
        drawn = (torch.rand(completion_mask.shape) < self.probability).to(completion_mask.device)
        drawn[:, : self.first] = True
        loss_mask = output.loss_mask & drawn
        terms = None if output.terms is None else {name: term * loss_mask for name, term in output.terms.items()}
        return AdvantageOutput(output.advantages * loss_mask, loss_mask, output.metrics, terms)
