"""Group-relative advantages: a completion against the others of its prompt (GRPO)."""

from dataclasses import dataclass

import torch

from iapo.advantages.normalization import Scale
from iapo.interfaces import AdvantageAssigner
from iapo.ops.checks import check_choice, check_kinds, check_number
from iapo.ops.groups import Groups
from iapo.types import AdvantageInputs, AdvantageOutput


@dataclass(frozen=True)
class GroupRelative(AdvantageAssigner):
    """GRPO: ``A_i = (r_i - mean_g) / (std_g + eps)``, the same for every token of completion ``i`` of group ``g``.

    ``std_g`` is the sample standard deviation (divides by the group's size minus one), as in TRL. Dr. GRPO's advantage
    is ``GroupRelative(scale="none")``, with a loss that divides by a constant length.

    *Degenerate cases.* A group whose rewards are all equal has advantage exactly 0. A completion without tokens has no
    token to get an advantage, but counts in its group's mean and standard deviation. A group of one has no baseline: an
    error, unless ``allow_singletons``, which gives it advantage 0.

    Args:
        scale: ``"std"`` divides by the group's standard deviation, ``"none"`` does not.
        eps: added to the standard deviation.
        allow_singletons: accept groups of one.

    Raises:
        ValueError: an unknown ``scale``, a negative ``eps``; on a call, a group of one that is not allowed.

    Example:
        >>> mask = torch.ones(2, 3, dtype=torch.bool)
        >>> GroupRelative(eps=0.0)(torch.tensor([1.0, 0.0]), torch.tensor([7, 7]), mask).advantages[:, 0]
        tensor([ 0.7071, -0.7071])

    References:
        DeepSeekMath, arXiv 2402.03300, section 4.1.2 (GRPO, outcome supervision); arXiv 2503.20783 (Dr. GRPO).
    """

    scale: Scale = "std"
    eps: float = 1e-4
    allow_singletons: bool = False

    def __post_init__(self) -> None:
        check_kinds(self)
        check_choice("scale", self.scale, Scale)
        check_number("eps", self.eps, "a number of at least 0", lambda x: x >= 0)

    def assign(self, inputs: AdvantageInputs) -> AdvantageOutput:
        """Each completion's deviation from its group's mean reward, scaled."""
        rewards, mask = inputs.rewards, inputs.completion_mask
        if len(inputs) == 0:
            return AdvantageOutput(torch.zeros_like(mask, dtype=rewards.dtype), mask, {})
        groups = Groups.of(inputs.group_ids)
        if not self.allow_singletons:
            groups.refuse_singletons()
        deviation = rewards - groups.mean(rewards)[groups.of_row]
        flat = groups.constant(rewards)
        std = (groups.sum(deviation.square()) / (groups.size - 1).clamp(min=1)).sqrt()
        advantage = deviation / (std + self.eps)[groups.of_row] if self.scale == "std" else deviation
        advantage = advantage.masked_fill(flat[groups.of_row], 0)
        return AdvantageOutput(
            advantages=advantage[:, None] * mask,
            loss_mask=mask,
            metrics={"reward_std": float(std.mean()), "frac_reward_zero_std": float(flat.float().mean())},
        )
