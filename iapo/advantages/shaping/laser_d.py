"""LASER-D's reward: a bonus within a target length that follows from the prompt's difficulty; LASER-DE's as well."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from iapo.advantages.parameters import check_weights
from iapo.advantages.shaping.interface import RewardShaping
from iapo.ops.checks import check_integer, check_integers
from iapo.ops.groups import Groups
from iapo.ops.shapes import shape_checked


@shape_checked
def laser_targets(
    correct: Bool[Tensor, " batch"],
    group_ids: Int[Tensor, " batch"],
    lengths: Int[Tensor, " batch"],
    # Not tuple[int, ...]: to check one, beartype draws from Python's random numbers, which belong to the caller.
    thresholds: tuple,
    expected_correct: int,
) -> Int[Tensor, " batch"]:
    """The target length of each completion, by the difficulty of its prompt.

    A prompt is easy, medium or hard by the share of its ``G`` completions that are correct: at least 2/3, at least
    1/3, or less. At least ``floor(2 G / 3)`` completions of an easy prompt and ``floor(G / 3)`` of a medium one are
    then correct; of a hard one, 1 counts. The target is the smallest threshold ``l`` within which so many of them are
    expected to end: ``P(n <= l) * (that number) >= expected_correct``, where ``P`` is over all completions in the batch
    of prompts of the same difficulty.

    Args:
        correct: which completions are correct.
        group_ids: completions with equal ids answer the same prompt.
        lengths: tokens of each completion.
        thresholds: tokens, the targets to choose from.
        expected_correct: correct completions of a prompt that the target must leave.

    Returns:
        Tokens. Where no threshold does, the longest length in the batch.
    """
    groups = Groups.of(group_ids)
    solved = groups.sum(correct.double()).long()
    size = groups.size
    difficulty = (3 * solved >= size).long() + (3 * solved >= 2 * size).long()  # 2: easy, 1: medium, 0: hard
    sure = torch.where(difficulty > 0, difficulty * size // 3, 1)[groups.of_row]
    levels = Groups.of(difficulty[groups.of_row])
    same = levels.size[levels.of_row]
    targets = torch.full_like(lengths, int(lengths.max()) if len(lengths) else 0)
    for threshold in sorted(thresholds, reverse=True):
        within = levels.sum((lengths <= threshold).long())[levels.of_row]
        targets[(within * sure >= expected_correct * same) & (targets > threshold)] = threshold
    return targets


@dataclass(frozen=True)
class LaserD(RewardShaping):
    """LASER-D: ``r + weight * 1[correct and n <= target]``, the target by the prompt's difficulty (`laser_targets`).

    With an ``exploring_weight`` it is LASER-DE: a wrong completion that is longer than the target gets that much more,
    so that it goes on exploring.

    The paper takes the share of completions within a threshold from a monitoring set, which it samples again every some
    steps. Here it is taken from the batch itself: it costs no further sampling, is never out of date, and the shaping
    has no state. It is noisier where few prompts of a batch have the same difficulty. The paper's code gives a wrong
    completion -0.5 before any bonus and none to one that repeats itself; here the rewards are what the reward functions
    make them, and repetition is not looked for.

    *Degenerate cases.* Where no threshold leaves enough correct completions (a medium prompt with fewer than three),
    the target is the longest length in the batch: every correct completion gets the bonus, no wrong one.

    Args:
        thresholds: tokens, the targets to choose from.
        weight: of the bonus; 0.5 in the paper.
        exploring_weight: of the bonus of long wrong completions; 0 is LASER-D, 0.5 the paper's LASER-DE.
        expected_correct: correct completions of a prompt that the target must leave; 1 in the paper.

    Raises:
        ValueError: no ``thresholds``, a threshold or ``expected_correct`` below 1, a number that is not finite, or a
            negative weight.

    Example:
        >>> rewards, ids = torch.tensor([1.0, 1.0, 1.0, 0.0]), torch.tensor([0, 0, 0, 0])
        >>> LaserD(thresholds=(8, 16, 24))(rewards, ids, torch.tensor([10, 12, 20, 30]))
        tensor([1.5000, 1.5000, 1.0000, 0.0000])

    References:
        Liu et al., "Learn to Reason Efficiently with Adaptive Length-based Reward Shaping", arXiv 2505.15612, LASER-D
        and LASER-DE; the number of expected correct responses.
    """

    thresholds: tuple[int, ...]
    weight: float = 0.5
    exploring_weight: float = 0.0
    expected_correct: int = 1

    def __post_init__(self) -> None:
        check_integers("thresholds", self.thresholds)
        check_integer("expected_correct", self.expected_correct)
        check_weights(weight=self.weight, exploring_weight=self.exploring_weight)

    def shape(
        self,
        rewards: Float[Tensor, " batch"],
        group_ids: Int[Tensor, " batch"],
        lengths: Int[Tensor, " batch"],
        correct: Bool[Tensor, " batch"],
    ) -> Float[Tensor, " batch"]:
        """The rewards plus the bonus of correct completions within the target, and of wrong ones beyond it."""
        within = lengths <= laser_targets(correct, group_ids, lengths, self.thresholds, self.expected_correct)
        bonus = self.weight * (correct & within).to(rewards.dtype)
        return rewards + bonus + self.exploring_weight * (~correct & ~within).to(rewards.dtype)
