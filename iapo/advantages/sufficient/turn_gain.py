"""A reward for every turn: how much likelier it made the right answer (IGPO)."""

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from iapo.advantages.credit import information_to_go
from iapo.advantages.normalization import Scale
from iapo.advantages.steps import Ids, read_by, steps_by
from iapo.advantages.sufficient.curve import curve_of
from iapo.interfaces import AdvantageAssigner
from iapo.ops.checks import check_choice, check_integer, check_integers, check_number
from iapo.ops.groups import Groups
from iapo.types import AdvantageInputs, AdvantageOutput

Centers = Literal["rewards", "returns"]


@dataclass(frozen=True)
class TurnGain(AdvantageAssigner):
    """IGPO: turns are rewarded by the gain in the right answer's probability, the final one by the outcome.

    With ``p_k = exp(V)`` after turn ``k`` of ``K`` and ``r`` the completion's reward::

        r_k = p_k - p_{k-1},    r_{K+1} = r,    R_k = r_k + discount * R_{k+1}

    The tokens of turn ``k`` get ``R_k - mean_g R_1`` (``centers="returns"``, as the released code does: the mean is
    that of whole completions of the group), or the discounted sum of rewards that were centered over all turns of the
    group (``centers="rewards"``). ``scale="std"`` divides by the standard deviation of what was centered (sample
    standard deviation, as in `iapo.advantages.GroupRelative`). Probe the reference answer.

    A turn is a run of neighboring measured tokens, or of ``step`` of them: a rollout whose ``reasoning_mask`` leaves
    out what tools returned has its turns. Behind the last one stands the final turn, which holds the answer.

    *Departures.* IGPO takes the probability as the geometric mean over the answer's tokens; the curve of
    `iapo.estimators.AnswerLikelihood` has that of the whole answer, closing tokens included. The released code
    discounts by token, here it is by turn.

    *Degenerate cases.* A completion that was not measured has its final turn only. A group of one is compared with
    itself. Where all that is centered together is equal, it is 0 after centering. A discount of 1 makes the return of a
    turn ``r + p_K - p_{k-1}``.

    Args:
        step: tokens of a turn, with ``after_ids`` at most; ``None``: neighboring measured tokens are one turn.
        discount: from one turn to the next, 0 to 1.
        centers: what is centered over the group.
        scale: whether it is divided by the standard deviation.
        eps: added to the standard deviation.
        after_ids: ids of the tokens behind which a turn ends; none: only ``step`` ends one.

    Raises:
        ValueError: a ``step`` below 1, a discount outside [0, 1], an unknown choice, a negative ``eps``,
            ``after_ids`` below 0; on a call, prefix values above 0.

    Example:
        >>> from iapo import TokenSignals
        >>> mask, values = torch.ones(2, 2, dtype=torch.bool), torch.tensor([[0.25, 0.5, 1.0], [0.25, 0.5, 0.5]]).log()
        >>> rule = TurnGain(step=1, scale="none")
        >>> rule(torch.tensor([1.0, 0.0]), torch.tensor([0, 0]), mask, TokenSignals(prefix_values=values)).advantages
        tensor([[ 0.7500,  0.5000],
                [-0.7500, -1.0000]])

    References:
        "Information Gain-based Policy Optimization", arXiv 2510.14967 (IGPO), turn rewards, and the code released with
        it.
    """

    step: int | None = None
    discount: float = 1.0
    centers: Centers = "returns"
    scale: Scale = "std"
    eps: float = 1e-6
    after_ids: Ids = ()

    def __post_init__(self) -> None:
        check_integer("step", self.step, or_none=True)
        check_integers("after_ids", self.after_ids, least=0, or_empty=True)
        check_choice("centers", self.centers, Centers)
        check_choice("scale", self.scale, Scale)
        check_number("discount", self.discount, "a number from 0 to 1", lambda x: 0 <= x <= 1)
        check_number("eps", self.eps, "a number of at least 0", lambda x: x >= 0)

    @property
    def requires(self) -> frozenset[str]:
        """The prefix values, and the token ids if they say where turns end."""
        return frozenset({"prefix_values"}) | read_by(self.after_ids)

    def assign(self, inputs: AdvantageInputs) -> AdvantageOutput:
        """The centered return of each token's turn."""
        curve, mask = curve_of(inputs), inputs.completion_mask
        steps = steps_by(inputs, curve.mask, self.step, self.after_ids)
        count = steps.real.sum(1, keepdim=True)
        turn = torch.arange(steps.real.shape[1] + 1, device=count.device)
        rewards = torch.nn.functional.pad(steps.gains(curve.probabilities()), (0, 1))
        rewards = torch.where(turn == count, inputs.rewards.double()[:, None], rewards)
        taken = turn <= count
        if self.centers == "rewards":
            rewards = self._centered(rewards, taken, rewards, taken, inputs.group_ids)
        returns = information_to_go(rewards, taken, self.discount)  # R_k = r_k + discount * R_{k+1}
        if self.centers == "returns":
            returns = self._centered(returns, taken, returns[:, :1], taken[:, :1], inputs.group_ids)
        advantages = returns.gather(1, steps.index) * mask
        return AdvantageOutput(advantages.to(inputs.rewards.dtype), mask, {})

    def _centered(
        self,
        values: Float[Tensor, "batch turn"],
        taken: Bool[Tensor, "batch turn"],
        baseline: Float[Tensor, "batch some"],
        counted: Bool[Tensor, "batch some"],
        group_ids: Int[Tensor, " batch"],
    ) -> Float[Tensor, "batch turn"]:
        """Values less the group's mean of the baseline, over its standard deviation; 0 where a turn was not taken."""
        groups = Groups.of(group_ids)
        number = groups.sum(counted.double().sum(1))
        mean = (groups.sum(baseline.masked_fill(~counted, 0).sum(1)) / number)[groups.of_row][:, None]
        divisor = torch.ones_like(mean)
        if self.scale == "std":
            spread = (baseline - mean).square().masked_fill(~counted, 0).sum(1)
            divisor = (groups.sum(spread) / (number - 1).clamp(min=1)).sqrt()[groups.of_row][:, None] + self.eps
        return ((values - mean) / divisor).masked_fill(~taken, 0)
