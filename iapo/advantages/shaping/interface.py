"""The interface of length-aware rewards.

They belong to the assigners, not to the reward functions: an `iapo.Reward` gets a flat list of texts, but these need
the lengths in tokens and the groups of completions that share a prompt, which an assigner gets.
"""

from abc import ABC, abstractmethod

from jaxtyping import Bool, Float, Int
from torch import Tensor

from iapo.ops.checks import check_finite
from iapo.ops.correct import correct_by
from iapo.ops.hooks import Hooked
from iapo.ops.shapes import shape_checked


class RewardShaping(Hooked, ABC):
    """Changes rewards by the completions' lengths, before any baseline. `iapo.advantages.LengthShaped` applies it."""

    def at(self, progress: float) -> "RewardShaping":
        """The shaping at a moment of training, as `iapo.AdvantageAssigner.at`: itself, unless it has a schedule."""
        return self

    @shape_checked
    def __call__(
        self,
        rewards: Float[Tensor, " batch"],
        group_ids: Int[Tensor, " batch"],
        lengths: Int[Tensor, " batch"],
        correct: Bool[Tensor, " batch"] | None = None,
    ) -> Float[Tensor, " batch"]:
        """The rewards to learn from.

        Args:
            rewards: one finite number per completion.
            group_ids: completions with equal ids answer the same prompt.
            lengths: tokens of each completion.
            correct: the completions that are correct; ``None``: those with a reward above 0.5.

        Raises:
            jaxtyping.TypeCheckError: wrong shapes or dtypes, of arguments or of what the hook returned.
            FloatingPointError: the hook returned a reward that is not finite; the rows are named.
        """
        shaped = self.shape(rewards, group_ids, lengths, correct_by(rewards) if correct is None else correct)
        check_finite(f"{type(self).__name__}.shape: rewards", shaped)
        return shaped

    @abstractmethod
    def shape(
        self,
        rewards: Float[Tensor, " batch"],
        group_ids: Int[Tensor, " batch"],
        lengths: Int[Tensor, " batch"],
        correct: Bool[Tensor, " batch"],
    ) -> Float[Tensor, " batch"]:
        """Hook: the rewards to learn from; arguments are those of the call, checked."""
