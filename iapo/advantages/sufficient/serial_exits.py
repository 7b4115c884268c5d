"""Serial exits from one completion, with a reward that halves at each right one (S-GRPO of Dai et al.)."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from iapo.advantages.sufficient.curve import Curve, behind_measured, curve_of, describe_prefix
from iapo.interfaces import AdvantageAssigner
from iapo.ops.checks import check_integer, check_number
from iapo.ops.sufficient_prefix import check_threshold, is_there, sufficient_prefix
from iapo.types import AdvantageInputs, AdvantageOutput


@dataclass(frozen=True)
class SerialExits(AdvantageAssigner):
    """S-GRPO (serial-group decaying-reward): exits from one completion are compared with each other.

    The reasoning is left at ``m`` positions ``p_1 < ... < p_m``, the last one being its end. With ``c_i`` whether the
    answer given there is right, and ``n_i`` how many of the exits up to ``i`` are right::

        r_i = c_i * decay^(n_i - 1),    A_i = r_i - mean_j r_j,    A_t = (1 / m) * sum of A_i over the exits behind t

    A token of the reasoning is part of every exit behind it, and the last exit is the completion itself, with its
    answer and its own reward. So what leads to the first right answer gains, and what follows it costs. Probe the
    reference answer.

    It is not `SGRPO`, the S-GRPO of Lee and Tong (arXiv 2504.20834), which has the same name and samples tokens.

    *Departures.* In the paper exits are random and their answers are sampled; here exits are evenly spaced over the
    measured tokens, and an exit is right where the right answer has a probability of at least ``threshold``. The paper
    also trains on the answers given at the exits, of which only the last one exists here. The mean over the exits is
    GRPO's mean over outputs; each output's own mean over its tokens is left to the loss.

    *Degenerate cases.* A completion with fewer measured tokens than ``exits`` is left behind each of them; one that was
    not measured has one exit, hence advantage 0. Where no exit is right, advantages are 0 too: a wrong completion
    teaches nothing unless the answer was right on the way. Groups are not used.

    Args:
        exits: how many, at least 2.
        decay: factor of the reward from one right exit to the next; 0.5 in the paper.
        threshold: probability at which the answer of an exit is right.

    Raises:
        ValueError: a number that is not finite, ``exits`` below 2, a ``decay`` or a threshold outside (0, 1].

    Example:
        >>> from iapo import TokenSignals
        >>> values = torch.tensor([[-4.0, -0.1, -0.1]])
        >>> rule = SerialExits(exits=2)
        >>> mask = torch.ones(1, 2, dtype=torch.bool)
        >>> rule(torch.ones(1), torch.tensor([0]), mask, TokenSignals(prefix_values=values)).advantages
        tensor([[ 0.0000, -0.1250]])

    References:
        Dai, Yang and Si, "S-GRPO: Early Exit via Reinforcement Learning in Reasoning Models", arXiv 2505.07686.
    """

    exits: int = 8
    decay: float = 0.5
    threshold: float = 0.5

    def __post_init__(self) -> None:
        check_integer("exits", self.exits, least=2)
        check_threshold(self.threshold)
        check_number("decay", self.decay, "a number above 0, at most 1", lambda x: 0 < x <= 1)

    @property
    def requires(self) -> frozenset[str]:
        """The prefix values."""
        return frozenset({"prefix_values"})

    def assign(self, inputs: AdvantageInputs) -> AdvantageOutput:
        """The mean advantage of the exits that hold each token."""
        curve, mask = curve_of(inputs), inputs.completion_mask
        there = is_there(curve.values, curve.measured, self.threshold)
        ends, real = exits_of(curve, self.exits)
        right = torch.where(ends.isinf(), inputs.correct[:, None], _at(there, ends)) & real
        reward = right * self.decay ** (right.long().cumsum(1) - 1).clamp(min=0).double()
        count = real.sum(1, keepdim=True)
        advantage = (reward - reward.sum(1, keepdim=True) / count).masked_fill(~real, 0)
        token = torch.arange(mask.shape[1], device=mask.device)
        held = token[None, :, None] < ends[:, None, :]
        advantages = ((held * advantage[:, None, :]).sum(2) / count).to(inputs.rewards.dtype) * mask
        metrics = describe_prefix(sufficient_prefix(there, curve.measured), curve)
        return AdvantageOutput(advantages, mask, metrics)


def exits_of(curve: Curve, exits: int) -> tuple[Float[Tensor, "batch exit"], Bool[Tensor, "batch exit"]]:
    """Where each completion is left: behind how many tokens, and whether the row has that many exits.

    The last of ``exits`` columns is infinite: the completion itself, with all its tokens.
    """
    measured = curve.mask.sum(1, keepdim=True)
    number = torch.arange(1, exits, device=measured.device)
    # The smallest count of measured tokens that is at least the share number / exits.
    wanted = (measured * number + exits - 1) // exits
    before = torch.nn.functional.pad(wanted, (1, 0))[:, :-1]
    real = (wanted > before) & (wanted < measured)
    ends = behind_measured(curve.mask, wanted.clamp(min=1)).double()
    last = torch.full((len(ends), 1), torch.inf, dtype=ends.dtype, device=ends.device)
    return torch.cat([ends, last], 1), torch.cat([real, torch.ones_like(last, dtype=torch.bool)], 1)


def _at(there: Bool[Tensor, "batch probe"], ends: Float[Tensor, "batch exit"]) -> Bool[Tensor, "batch exit"]:
    return there.gather(1, ends.clamp(max=there.shape[1] - 1).long())
