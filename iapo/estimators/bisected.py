"""Fewer probes where only one position matters: bisection for the prefix from which on the answer is there."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from iapo.estimators.packed import fill_cache, longest_prefix, needed_probes, packable_attention
from iapo.estimators.prefix_estimator import PrefixEstimator
from iapo.estimators.refined import interpolate
from iapo.estimators.wrapping import WrappingEstimator
from iapo.ops.checks import check_choice, check_integer, check_kinds
from iapo.ops.sufficient_prefix import (
    RelativeTo,
    check_threshold,
    first_and_last,
    is_there,
    sufficient_prefix,
)
from iapo.policy.forward import inference_mode
from iapo.policy.ranks import all_reduce_max
from iapo.types import Rollout


@dataclass(frozen=True, eq=False)
class BisectedProbes:
    """What `Bisected.bisect` returns.

    Args:
        probes: the value of every prefix that a difference will read, probed or interpolated; 0 elsewhere.
        probed: the prefixes that were probed.
        monotone: ``False`` for a completion whose answer was there at a probed prefix and was not at a longer one.
        rounds: how many times the wrapped estimator was asked.
    """

    probes: Float[Tensor, "batch probe"]
    probed: Bool[Tensor, "batch probe"]
    monotone: Bool[Tensor, " batch"]
    rounds: int


@dataclass(frozen=True)
class Bisected(WrappingEstimator):
    """Another estimator, probed only where needed to find the sufficient prefix (`iapo.ops.sufficient_prefix`).

    First both ends of the reasoning and ``checks`` prefixes between them, evenly spaced, are probed. Where the answer
    is not there at one of them and there at the next, the prefix between the two at the middle is probed, round after
    round, until the two are neighbors. This takes ``2 + checks`` probes and the logarithm of what lies between two of
    the first ones, in place of one for every token. Prefixes between probes are on the straight line between their
    values, so that rules that read the curve by the same threshold find the prefix that was found here.

    *The check.* Bisection is right if an answer that is there once stays there. Where the first probes show an answer
    that was there and is lost again, the completion's curve is not monotone, and every prefix is probed. Rules then see
    the whole curve, and report the share of such completions as ``iapo/sufficient/lost``. A loss between two checks is
    overlooked, so more ``checks`` overlook fewer. On the embedded task more than half of the curves are not monotone,
    and 3 checks find the prefix that all probes find in three quarters of the completions
    (``benchmarks/sufficient.py``): probe everywhere unless it is too dear.

    *What it estimates.* The wrapped estimator's values, in nats, at the probed prefixes.

    *Bias.* Beyond that of the wrapped estimator: the information between probes is spread evenly, so that rules that
    pay for each token's information, such as `iapo.advantages.InformationAware`, want another estimator.

    *Degenerate cases.* An empty reasoning span has no probe. Where the answer is there from the start, or never, only
    the first round is probed.

    Args:
        estimator: what is probed.
        threshold: share of certainty at which the answer is there: that of the rule that reads the values.
        relative_to: whether that is absolute or relative to the end of the reasoning, likewise.
        checks: prefixes of the first round beside the two ends, at least 0.

    Raises:
        ValueError: a threshold outside (0, 1], an unknown ``relative_to``, a negative number of checks.
    """

    estimator: PrefixEstimator
    threshold: float = 0.5
    relative_to: RelativeTo = "certainty"
    checks: int = 3

    def __post_init__(self) -> None:
        check_kinds(self)
        check_threshold(self.threshold)
        check_choice("relative_to", self.relative_to, RelativeTo)
        check_integer("checks", self.checks, least=0)

    def probe(self, model: nn.Module, rollout: Rollout) -> Float[Tensor, "batch probe"]:
        """The wrapped estimator's values at the probed prefixes, and between them on straight lines."""
        return self.bisect(model, rollout).probes

    def bisect(self, model: nn.Module, rollout: Rollout) -> BisectedProbes:
        """The probes, which of them were probed, and where the curve is not monotone."""
        needed = needed_probes(rollout)
        monotone = torch.ones(len(needed), dtype=torch.bool, device=needed.device)
        if not all_reduce_max(int(needed.any()), model):
            nothing = torch.zeros(needed.shape, dtype=torch.float32, device=needed.device)
            return BisectedProbes(nothing, needed, monotone, 0)
        with packable_attention(model), inference_mode(model):
            cache = fill_cache(model, rollout, longest_prefix(needed))
        at = evenly_spaced(needed, self.checks)
        values = self.estimator.probe_at(model, rollout, at, cache)
        probed, rounds = at, 1
        while True:
            there = is_there(self.information_sign * values, probed, self.threshold, self.relative_to)
            found = sufficient_prefix(there, probed)
            monotone = monotone & ~found.lost
            at = torch.where(monotone[:, None], middle(there, probed, needed), needed & ~probed)
            if not all_reduce_max(int(at.any()), model):
                return BisectedProbes(interpolate(values, probed, needed), probed, monotone, rounds)
            values = torch.where(at, self.estimator.probe_at(model, rollout, at, cache), values)
            probed, rounds = probed | at, rounds + 1


def evenly_spaced(needed: Bool[Tensor, "batch probe"], between: int) -> Bool[Tensor, "batch probe"]:
    """The first and the last needed prefix of each row, and ``between`` others at even steps of their number."""
    rank, count = needed.long().cumsum(1) - 1, needed.sum(1, keepdim=True)
    wanted = (count - 1) * torch.arange(between + 2, device=needed.device) // (between + 1)
    return needed & (rank[:, :, None] == wanted[:, None, :]).any(2)


def middle(
    there: Bool[Tensor, "batch probe"], probed: Bool[Tensor, "batch probe"], needed: Bool[Tensor, "batch probe"]
) -> Bool[Tensor, "batch probe"]:
    """The needed prefix in the middle between the longest probed one that has no answer and the next that has.

    Args:
        there: where the answer is there, of the probed prefixes.
        probed: the prefixes with a value.
        needed: those that may be probed.

    Returns:
        At most one prefix of a row; none where the two are neighbors, or one of them is missing.
    """
    first, _ = first_and_last(there)
    steps = torch.arange(there.shape[1], device=there.device)
    missing = probed & ~there & (steps < first[:, None])
    inside = needed & (steps > first_and_last(missing)[1][:, None]) & (steps < first[:, None])
    inside &= (there.any(1) & missing.any(1))[:, None]
    return inside & (inside.long().cumsum(1) == (inside.sum(1, keepdim=True) + 1) // 2)
