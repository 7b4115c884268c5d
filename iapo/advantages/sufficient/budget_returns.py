"""Returns over budgets: what the answer is worth if the reasoning is stopped at any of them (BRPO)."""

import itertools
from dataclasses import dataclass, field

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from iapo.advantages.group_relative import GroupRelative
from iapo.advantages.sufficient.curve import behind_measured, curve_of
from iapo.advantages.sufficient.rule import PrefixRule
from iapo.interfaces import AdvantageAssigner
from iapo.ops.checks import check_integers, check_kinds, is_finite_number
from iapo.ops.groups import Groups
from iapo.types import AdvantageInputs, AdvantageOutput


@dataclass(frozen=True)
class BudgetReturns(PrefixRule):
    """BRPO: between budgets ``b_{s-1}`` and ``b_s``, ``s`` from 1 to ``S``, a token's advantage is ``R_s - B_s``.

    With ``r_k`` the probability of the right answer if the reasoning is stopped after ``b_k`` measured tokens (of a
    shorter completion, after its last one) and ``p_k`` the weight of a budget::

        R_s = sum_{k >= s} p_k r_k
        B_s = ((s - 1) / S) * (sum_{k < s} 2^k r_k / sum_{k < s} 2^k) * sum_{k >= s} p_k
            + ((S - s + 1) / S) * mean over the group of R_s

    So a token is paid for the answers at all budgets behind it, against what was known before it and what the group
    gets. Probe the reference answer.

    *Departures.* The released code samples four answers at each budget; their mean is an estimate of the probability
    that is computed here. It trains on those answers as well; here tokens that were not measured, such as the answer's,
    get the outcome's advantage. Tokens behind the last budget count in no return and get 0: the last one belongs at the
    sampler's limit.

    *Degenerate cases.* A completion that was not measured gets the outcome's advantages and counts in no mean. A
    completion that ends before a budget has the same ``r_k`` there as at its end. One budget is a comparison with the
    group, at that length.

    Args:
        budgets: measured tokens, increasing.
        weights: one for each budget, of any positive sum, which is divided out; ``None``: equal ones.
        outcome: assigns the advantages of tokens that were not measured; its loss mask is kept.

    Raises:
        ValueError: budgets that are not increasing from at least 1, weights that are negative, sum to 0, or are not one
            for each budget; on a call, prefix values above 0.

    Example:
        >>> from iapo import TokenSignals
        >>> mask, values = torch.ones(2, 2, dtype=torch.bool), torch.tensor([[0.2, 0.2, 1.0], [0.2, 0.2, 0.2]]).log()
        >>> rule = BudgetReturns(budgets=(1, 2))
        >>> rule(torch.tensor([1.0, 0.0]), torch.tensor([0, 0]), mask, TokenSignals(prefix_values=values)).advantages
        tensor([[ 0.2000,  0.3000],
                [-0.2000, -0.1000]])

    References:
        Qi et al., "Optimizing Anytime Reasoning via Budget Relative Policy Optimization", arXiv 2505.13438, and the
        code released with it (AnytimeReasoner).
    """

    budgets: tuple[int, ...]
    weights: tuple[float, ...] | None = None
    outcome: AdvantageAssigner = field(default_factory=GroupRelative)

    def __post_init__(self) -> None:
        check_kinds(self)
        check_integers("budgets", self.budgets)
        if any(b <= a for a, b in itertools.pairwise(self.budgets)):
            raise ValueError(f"budgets: got {self.budgets}, want increasing numbers of tokens")
        if self.weights is not None and not _is_prior(self.weights, len(self.budgets)):
            raise ValueError(
                f"weights: got {self.weights!r}, want {len(self.budgets)} finite numbers of at least 0, not all 0"
            )

    def assign(self, inputs: AdvantageInputs) -> AdvantageOutput:
        """Returns less their baselines at measured tokens, the outcome's advantages at others."""
        curve, output = curve_of(inputs), self.assign_outcome(inputs)
        budgets = torch.tensor(self.budgets, device=curve.mask.device)
        places = behind_measured(curve.mask, budgets.expand(len(inputs), -1))
        known = curve.measured.any(1)
        correct = curve.probabilities().gather(1, places)
        prior = torch.tensor(self.weights or (1.0,) * len(budgets), dtype=correct.dtype, device=correct.device)
        advantage = budget_advantages(correct, prior / prior.sum(), inputs.group_ids, known)
        # The number of budgets that the measured tokens before this one use up.
        used = (curve.mask.long().cumsum(1)[:, :, None] > budgets).sum(2)
        credited = torch.nn.functional.pad(advantage, (0, 1)).gather(1, used).to(output.advantages.dtype)
        advantages = torch.where(curve.mask & output.loss_mask, credited, output.advantages)
        metrics = dict(output.metrics)
        if bool(known.any()):
            metrics["iapo/accuracy_at_budgets"] = float((correct[known] * prior / prior.sum()).sum(1).mean())
        return AdvantageOutput(advantages, output.loss_mask, metrics)


def budget_advantages(
    correct: Float[Tensor, "batch budget"],
    prior: Float[Tensor, " budget"],
    group_ids: Int[Tensor, " batch"],
    known: Bool[Tensor, " batch"],
) -> Float[Tensor, "batch budget"]:
    """The advantage of the tokens before each budget, behind the one before it: see `BudgetReturns`.

    Args:
        correct: ``r_k``, the probability of the right answer at each budget.
        prior: ``p_k``, which sums to 1.
        group_ids: completions with equal ids share the mean.
        known: the completions that count in it; what the others get is of no use.
    """
    budgets = len(prior)
    returns = (correct * prior).flip(1).cumsum(1).flip(1)
    left = prior.flip(0).cumsum(0).flip(0)
    growth = 2.0 ** torch.arange(budgets, dtype=correct.dtype, device=correct.device)
    past = torch.nn.functional.pad((correct * growth).cumsum(1) / growth.cumsum(0), (1, 0))[:, :-1] * left
    groups = Groups.of(group_ids)
    count = groups.sum(known.to(correct.dtype)).clamp(min=1)
    mean = (groups.sum(returns * known[:, None]) / count[:, None])[groups.of_row]
    share = torch.arange(budgets, dtype=correct.dtype, device=correct.device) / budgets
    return returns - share * past - (1 - share) * mean


def _is_prior(weights: object, count: int) -> bool:
    """Whether these are ``count`` weights that can be divided by their sum."""
    return (
        isinstance(weights, tuple)
        and len(weights) == count
        and all(is_finite_number(weight) and weight >= 0 for weight in weights)
        and sum(weights) > 0
    )
