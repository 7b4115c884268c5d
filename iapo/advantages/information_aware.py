"""Information-aware advantages: outcome, plus what a token told, plus exploration (IAPO)."""

from dataclasses import dataclass, field
from typing import Literal, get_args

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from iapo.advantages.credit import information_to_go
from iapo.advantages.group_relative import GroupRelative
from iapo.interfaces import AdvantageAssigner
from iapo.masked import masked_mean, masked_zscore
from iapo.types import AdvantageOutput, TokenSignals

Credit = Literal["own", "to_go"]
Center = Literal["completion", "group", "batch"]


@dataclass(frozen=True)
class InformationAware(AdvantageAssigner):
    """IAPO: ``A_t = outcome + alpha * norm(credited information_t) + beta * norm(c_t)``.

    The credited information is the token's own ``s_t`` or what follows it, discounted (`information_to_go`). ``norm``
    is a z-score over the tokens where information was measured: those of the completion, of all completions of the
    group, or of the batch. Centred within a completion, the term sums to zero over it; centred over the group, every
    token is charged the group's average rate, which prices length. ``c_t`` is ``+pi_old(o_t)`` in a correct completion
    and ``-pi_old(o_t)`` in a wrong one, its z-score always within the completion.

    The defaults depart from the paper: it credits the token's own information, centred in the completion
    (``InformationAware.paper``). On the embedded task in a lab, information to go with discount 0.9, centred over the
    group, with ``alpha=0.1`` and no exploration term, was shorter at no loss of accuracy, and the paper's setting was
    not.

    *Degenerate cases.* ``alpha = beta = 0`` is the outcome's advantage, bitwise. Where all values normalised together
    are equal, their term is 0. Tokens without measured information get no information term.

    Args:
        outcome: assigns the outcome's part; its loss mask is kept.
        alpha: weight of the information term.
        beta: weight of the exploration term.
        credit: ``"own"`` information or information ``"to_go"``.
        discount: of information to go, per token.
        center: the tokens over which the information term is normalised.
        correct_above: a completion is correct if its reward is above this.

    Raises:
        ValueError: a weight that is negative or not finite, a discount outside [0, 1], an unknown choice.

    Example:
        >>> sorted(InformationAware(beta=0.01).requires)
        ['information', 'policy_logprobs']

    References:
        IAPO, arXiv 2602.19049: the advantage of a token; credit to go and centring over the group are ours.
    """

    outcome: AdvantageAssigner = field(default_factory=GroupRelative)
    alpha: float = 0.1
    beta: float = 0.0
    credit: Credit = "to_go"
    discount: float = 0.9
    center: Center = "group"
    correct_above: float = 0.5

    def __post_init__(self) -> None:
        for name, weight in (("alpha", self.alpha), ("beta", self.beta)):
            if not 0 <= weight < float("inf"):
                raise ValueError(f"{name}: got {weight}, want a finite number of at least 0")
        if not 0 <= self.discount <= 1:
            raise ValueError(f"discount: got {self.discount}, want a number from 0 to 1")
        for name, choice, choices in (("credit", self.credit, Credit), ("center", self.center, Center)):
            if choice not in get_args(choices):
                raise ValueError(f"{name}: got {choice!r}, want one of {', '.join(get_args(choices))}")

    @classmethod
    def paper(cls, alpha: float, beta: float) -> "InformationAware":
        """The paper's choices; it searches both weights in {1e-6, 1e-4, 1e-2, 1}."""
        return cls(GroupRelative(), alpha=alpha, beta=beta, credit="own", center="completion")

    @property
    def requires(self) -> frozenset[str]:
        """The outcome's signals, those of terms with a weight, and no others."""
        own = {"information": self.alpha, "policy_logprobs": self.beta}
        return self.outcome.requires | {name for name, weight in own.items() if weight}

    def assign(
        self,
        rewards: Float[Tensor, " batch"],
        group_ids: Int[Tensor, " batch"],
        completion_mask: Bool[Tensor, "batch token"],
        signals: TokenSignals,
    ) -> AdvantageOutput:
        """See the class."""
        output = self.outcome(rewards, group_ids, completion_mask, signals)
        advantages, metrics = output.advantages, dict(output.metrics)
        if self.alpha and signals.information is not None:
            mask = completion_mask if signals.information_mask is None else signals.information_mask
            credited = signals.information
            if self.credit == "to_go":
                credited = information_to_go(credited, mask, self.discount)
            advantages = advantages + self.alpha * self._normalised(credited, mask, group_ids)
            metrics["iapo/information_per_token"] = float(masked_mean(signals.information, mask))
            metrics["iapo/information_per_completion"] = float((signals.information * mask).sum(1).mean())
        if self.beta and signals.policy_logprobs is not None:
            sign = torch.where(rewards > self.correct_above, 1.0, -1.0)[:, None]
            confidence = sign * signals.policy_logprobs.exp()
            advantages = advantages + self.beta * masked_zscore(confidence, completion_mask, dim=1)
        advantages = advantages.masked_fill(~output.loss_mask, 0)
        return AdvantageOutput(advantages, output.loss_mask, metrics)

    def _normalised(
        self, values: Float[Tensor, "batch token"], mask: Bool[Tensor, "batch token"], group_ids: Int[Tensor, " batch"]
    ) -> Float[Tensor, "batch token"]:
        if self.center == "completion":
            return masked_zscore(values, mask, dim=1)
        if self.center == "batch":
            return masked_zscore(values, mask)
        scaled = torch.zeros_like(values)
        for group in group_ids.unique():
            rows = group_ids == group
            scaled[rows] = masked_zscore(values[rows], mask[rows])
        return scaled
