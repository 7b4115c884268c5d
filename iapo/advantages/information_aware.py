"""Information-aware advantages: outcome, plus information, plus exploration (IAPO)."""

import functools
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from iapo.advantages.credit import information_to_go
from iapo.advantages.group_relative import GroupRelative
from iapo.advantages.normalization import Center, Scale, normalize
from iapo.advantages.parameters import check_weights
from iapo.advantages.schedules import Schedule, resolved_weight, weight_at
from iapo.advantages.wrapping import WrappingAssigner
from iapo.interfaces import AdvantageAssigner
from iapo.ops.checks import check_choice, check_integer, check_kinds, check_number
from iapo.ops.groups import Groups
from iapo.ops.masked import masked_mean
from iapo.types import AdvantageInputs, AdvantageOutput, TokenSignals

Credit = Literal["own", "to_go"]
AppliesTo = Literal["all", "correct"]
Covers = Literal["measured", "completion"]
Exploration = Literal["policy_probability", "policy_entropy"]


@dataclass(frozen=True)
class InformationAware(WrappingAssigner):
    """IAPO: ``A_t = outcome + alpha * norm(credited information_t) + beta * norm(c_t)``.

    The credited information is the token's own ``s_t``, or the discounted sum of its own and of what follows
    (`information_to_go`). ``norm`` centers and scales over the tokens where information was measured: those of the
    completion, of all completions of the group, or of the batch. If it is centered within the completion, the term sums
    to zero over each completion. If it is centered over the group, the group's mean is subtracted from every token, so
    that a longer completion pays more: length has a price. ``c_t`` is ``+pi_old(o_t)`` in a correct completion and
    ``-pi_old(o_t)`` in a wrong one (``"policy_probability"``), or minus and plus the policy's entropy
    (``"policy_entropy"``); its z-score is always within the completion.

    The defaults differ from the paper, which credits the token's own information, centered in the completion, in
    correct and in wrong completions (``InformationAware.paper``). `OfficialCompat` computes what the paper's released
    code does. In the study of the documentation, training with the defaults gave shorter completions at no loss of
    accuracy, and the paper's setting gave none that were shorter. Information about a completion's own answer does not
    depend on whether that answer is correct: if wrong completions get the term too, it can outweigh the reward.

    *Degenerate cases.* ``alpha = beta = 0`` is the outcome's advantage, bitwise. Where all values normalized together
    are equal, up to ``resolution``, their term is 0. Three kinds of tokens get no information term and do not enter its
    statistics: those without measured information (under ``covers="measured"``), those of wrong completions (under
    ``applies_to="correct"``), and those of completions that the outcome leaves out of the loss (`GFPO`,
    `OverlongFiltered`).

    The output's ``terms`` are ``outcome`` and, if they have a weight, ``information`` and ``exploration``, multiplied
    by their weights.

    With a ``saturation``, the information of each token is first bounded: ``1 - exp(-max(s_t, 0) / saturation)`` is 0
    for a token without information, or with negative information, and approaches 1. So a policy gains nothing by
    raising the information of a token that has much of it. It is made for `iapo.estimators.LeaveOut`, whose values are
    large for every step that something follows from. With ``credit="own"``, ``center="group"`` and ``scale="none"`` a
    token is then worth ``alpha`` times what its use is above, or below, that of the mean token of the group's correct
    completions, which is at most ``alpha``.

    With a ``solve_rate_power`` the information term of a group is multiplied by the share of its completions that are
    correct, to that power. Where a problem is rarely solved the outcome decides alone, and shortening waits until it is
    solved. It is a brake: where a large ``alpha`` costs accuracy, the term gets weaker, and so the accuracy comes back.

    Args:
        outcome: assigns the outcome's part; its loss mask is kept.
        alpha: weight of the information term: a number, or a schedule, which `at` replaces by its number.
        beta: weight of the exploration term, likewise.
        credit: ``"own"`` information or information ``"to_go"``.
        saturation: nats at which bounded information is 0.63; ``None``: information is not bounded.
        discount: of information to go, per token.
        center: the tokens over which the information term is normalized.
        scale: ``"std"`` divides the information term by the standard deviation, ``"none"`` leaves it in nats.
        resolution: nats (if bounded, a number); under ``scale="std"``, information with a standard deviation of at most
            this counts as equal. An estimate has rounding errors (2e-5 nats in fp32). Where the answer is already
            certain, dividing by the standard deviation would scale them up to the size of real information.
        applies_to: the completions that get an information term, which is normalized over their tokens only.
        per_group: the most completions of a group that get an information term, so that a loop estimates information
            for no more of them. The first in the batch are taken of those that could get the term, whether or not the
            outcome leaves them out of the loss. They are a fair sample as long as the order of completions does not
            depend on what they are, such as their length. With 1, centering over the group is centering over the
            completion, and length has no price. ``None``: all.
        solve_rate_power: exponent of the group's share of correct completions, by which the information term is
            multiplied; 0: it is not.
        covers: the tokens that get an information term: those where information was ``"measured"``, or all tokens of
            the ``"completion"``, with information 0 where it was not measured. Then tokens after the reasoning, such as
            an answer that is repeated, have a price too.
        exploration: what ``c_t`` is: the policy's probability or its entropy.

    Raises:
        ValueError: a number that is not finite, a negative weight or power, a saturation that is not positive, a
            discount outside [0, 1], a negative resolution, an unknown choice; on a call, a schedule without `at`.

    Example:
        >>> sorted(InformationAware(beta=0.01).requires)
        ['information', 'policy_logprobs']

    References:
        IAPO, arXiv 2602.19049: the advantage of a token; credit to go, centering over the group, scaling, restriction
        to correct completions and schedules are ours.
    """

    outcome: AdvantageAssigner = field(default_factory=GroupRelative)
    alpha: float | Schedule = 0.5
    beta: float | Schedule = 0.0
    credit: Credit = "to_go"
    saturation: float | None = None
    discount: float = 0.9
    center: Center = "group"
    scale: Scale = "std"
    resolution: float = 1e-4
    applies_to: AppliesTo = "correct"
    per_group: int | None = None
    solve_rate_power: float = 0.0
    covers: Covers = "measured"
    exploration: Exploration = "policy_probability"

    def __post_init__(self) -> None:
        check_kinds(self)
        check_weights(alpha=self.alpha, beta=self.beta, solve_rate_power=self.solve_rate_power)
        check_number("resolution", self.resolution, "a number of nats of at least 0", lambda x: x >= 0)
        check_number("saturation", self.saturation, "a positive number of nats", lambda x: x > 0, or_none=True)
        check_number("discount", self.discount, "a number from 0 to 1", lambda x: 0 <= x <= 1)
        check_integer("per_group", self.per_group, or_none=True)
        check_choice("credit", self.credit, Credit)
        check_choice("center", self.center, Center)
        check_choice("scale", self.scale, Scale)
        check_choice("applies_to", self.applies_to, AppliesTo)
        check_choice("covers", self.covers, Covers)
        check_choice("exploration", self.exploration, Exploration)

    @staticmethod
    def paper(alpha: float, beta: float) -> "InformationAware":
        """The paper's setting; it searches both weights in {1e-6, 1e-4, 1e-2, 1}."""
        return InformationAware(
            GroupRelative(),
            alpha=alpha,
            beta=beta,
            credit="own",
            center="completion",
            resolution=0.0,
            applies_to="all",
        )

    @property
    def requires(self) -> frozenset[str]:
        """The outcome's signals, those of terms with a weight, and no others."""
        explored = "policy_logprobs" if self.exploration == "policy_probability" else "policy_entropy"
        own = {"information": self.alpha, explored: self.beta}
        return self.outcome.requires | {name for name, weight in own.items() if weight}

    def wants_information(self, inputs: AdvantageInputs) -> Bool[Tensor, " batch"]:
        """The completions that get an information term, and those whose information the outcome reads."""
        wanted = self._gets_information_term(inputs)
        if self.outcome.requires_estimate:
            wanted = wanted | self.outcome.wants_information(inputs)
        return wanted

    def own_fields_at(self, progress: float) -> dict[str, Any]:
        """The two weights at a moment of training."""
        return {"alpha": weight_at(self.alpha, progress), "beta": weight_at(self.beta, progress)}

    def assign(self, inputs: AdvantageInputs) -> AdvantageOutput:
        """The outcome's advantages plus the terms that have a weight."""
        alpha, beta, signals = resolved_weight("alpha", self.alpha), resolved_weight("beta", self.beta), inputs.signals
        output = self.assign_outcome(inputs)
        terms, metrics = {"outcome": output.advantages}, dict(output.metrics)
        if alpha:
            assert signals.information is not None
            mask = inputs.read_at("information")
            credited = signals.information.masked_fill(~mask, 0)
            if self.saturation is not None:
                credited = -torch.expm1(-credited.clamp(min=0) / self.saturation)
            if self.credit == "to_go":
                credited = information_to_go(credited, mask, self.discount)
            counted = mask if self.covers == "measured" else inputs.completion_mask
            counted = counted & (self._gets_information_term(inputs) & output.loss_mask.any(1))[:, None]
            resolution = self.resolution if self.scale == "std" else 0.0
            term = normalize(credited, counted, inputs.group_ids, self.center, self.scale, resolution=resolution)
            terms["information"] = alpha * self._at_solve_rate(term, inputs)
            if mask.any():
                metrics["iapo/information_per_token"] = float(masked_mean(signals.information, mask))
        if beta:
            explored = self._explored(signals)
            signed = torch.where(inputs.correct[:, None], explored, -explored)
            terms["exploration"] = beta * normalize(signed, inputs.completion_mask, inputs.group_ids, "completion")
        terms = {name: term.masked_fill(~output.loss_mask, 0) for name, term in terms.items()}
        return AdvantageOutput(functools.reduce(torch.add, terms.values()), output.loss_mask, metrics, terms)

    def _gets_information_term(self, inputs: AdvantageInputs) -> Bool[Tensor, " batch"]:
        could = torch.ones_like(inputs.correct) if self.applies_to == "all" else inputs.correct
        return could if self.per_group is None else Groups.of(inputs.group_ids).first(could, self.per_group)

    def _at_solve_rate(
        self, term: Float[Tensor, "batch token"], inputs: AdvantageInputs
    ) -> Float[Tensor, "batch token"]:
        if self.solve_rate_power == 0:
            return term
        groups = Groups.of(inputs.group_ids)
        solved = groups.mean(inputs.correct.to(term.dtype))
        return term * solved[groups.of_row, None] ** self.solve_rate_power

    def _explored(self, signals: TokenSignals) -> Float[Tensor, "batch token"]:
        """What the exploration term raises in correct completions and lowers in wrong ones."""
        if self.exploration == "policy_entropy":
            assert signals.policy_entropy is not None
            return -signals.policy_entropy
        assert signals.policy_logprobs is not None
        return signals.policy_logprobs.exp()
