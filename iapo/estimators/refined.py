"""Fewer probes: coarse ones first, then bisection of the intervals over which the value moved."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from iapo.estimators.boundaries import Boundaries, boundaries_of
from iapo.estimators.packed import fill_cache, longest_prefix, needed_probes, packable_attention
from iapo.estimators.prefix_estimator import PrefixEstimator
from iapo.estimators.wrapping import WrappingEstimator
from iapo.ops.checks import check_integer, check_kinds, check_number
from iapo.policy.forward import inference_mode
from iapo.policy.ranks import all_reduce_max
from iapo.types import Rollout


@dataclass(frozen=True, eq=False)
class RefinedProbes:
    """What `Refined.refine` returns.

    Args:
        probes: the value of every prefix that a difference will read, probed or interpolated; 0 elsewhere.
        probed: the prefixes that were probed.
        rounds: how many times the wrapped estimator was asked.
    """

    probes: Float[Tensor, "batch probe"]
    probed: Bool[Tensor, "batch probe"]
    rounds: int


@dataclass(frozen=True)
class Refined(WrappingEstimator):
    """Another estimator, probed coarsely and refined where its value moved.

    First both ends of every reasoning span and every ``stride``-th boundary inside it are probed. Then, round after
    round, every interval ``(a, b)`` between neighboring probes with ``|V_b - V_a| > threshold`` is probed at the
    boundary nearest to its middle, until no such interval has a boundary left inside. All rows' intervals of a round go
    through one call of the wrapped estimator; all rounds read one key-value cache.

    The information of an interval that was not refined is spread evenly over its tokens:
    ``s_t = (V_b - V_a) / (b - a)``. So sums telescope: over every probed interval, and over every span, they are those
    of the wrapped estimator, exactly.

    *What it estimates.* What the wrapped estimator estimates, in nats, at a fraction of its probes.

    *Bias.* That of the wrapped estimator, and of no one direction beyond it. A value that moves and returns between two
    probes is missed: the information of the tokens there cancels out, and each gets an equal share of what remains.
    Tokens of an interval without a boundary inside share the interval's information equally. A smaller stride reduces
    the first error, more boundaries the second.

    *Degenerate cases.* ``stride=1`` without ``boundaries`` is the wrapped estimator; an empty reasoning span gives 0.

    Args:
        estimator: what is probed.
        stride: boundaries from one probe of the first round to the next.
        threshold: nats by which the value must move for an interval to be refined; ``None``: none is, there is one
            round.
        boundaries: where probes may lie, such as `StepBoundaries`; ``None``: between any two tokens. Ends of reasoning
            spans are always among them.
        always: where the first round probes besides, whatever the stride: where a value that moves and returns must
            not be missed. ``None``: nowhere.

    Raises:
        ValueError: ``stride`` below 1, a ``threshold`` that is negative or not finite, or, on a call, boundaries of
            another shape.
    """

    estimator: PrefixEstimator
    stride: int = 8
    threshold: float | None = 0.1
    boundaries: Boundaries | None = None
    always: Boundaries | None = None

    def __post_init__(self) -> None:
        check_kinds(self)
        check_integer("stride", self.stride)
        check_number("threshold", self.threshold, "a number of nats of at least 0", lambda x: x >= 0, or_none=True)

    def probe(self, model: nn.Module, rollout: Rollout) -> Float[Tensor, "batch probe"]:
        """The wrapped estimator's values at the probed prefixes, and between them on straight lines."""
        return self.refine(model, rollout).probes

    def refine(self, model: nn.Module, rollout: Rollout) -> RefinedProbes:
        """The probes, and which of them were probed."""
        needed = needed_probes(rollout)
        allowed = needed if self.boundaries is None else needed & boundaries_of(self.boundaries, rollout)
        always = torch.zeros_like(needed) if self.always is None else needed & boundaries_of(self.always, rollout)
        if not all_reduce_max(int(needed.any()), model):
            return RefinedProbes(torch.zeros(needed.shape, dtype=torch.float32, device=needed.device), needed, 0)
        with packable_attention(model), inference_mode(model):
            cache = fill_cache(model, rollout, longest_prefix(needed))
        at = first_round(rollout, allowed, self.stride) | always
        values = self.estimator.probe_at(model, rollout, at, cache)
        probed, rounds = at, 1
        while self.threshold is not None:
            at = next_round(values, probed, allowed, self.threshold)
            if not all_reduce_max(int(at.any()), model):
                break
            values = torch.where(at, self.estimator.probe_at(model, rollout, at, cache), values)
            probed, rounds = probed | at, rounds + 1
        return RefinedProbes(interpolate(values, probed, needed), probed, rounds)


def span_ends(rollout: Rollout) -> Bool[Tensor, "batch probe"]:
    """``True`` at both ends of every run of the reasoning mask."""
    mask = nn.functional.pad(rollout.reasoning_mask, (1, 1))
    return mask[:, 1:] != mask[:, :-1]


def first_round(rollout: Rollout, allowed: Bool[Tensor, "batch probe"], stride: int) -> Bool[Tensor, "batch probe"]:
    """Ends of spans, and in each span every ``stride``-th of the ``allowed`` probes, counted from its start."""
    ends = span_ends(rollout)
    begins = ends & nn.functional.pad(rollout.reasoning_mask, (0, 1))
    counts = allowed.long().cumsum(1)
    before_span = torch.where(begins, counts, 0).cummax(1).values
    return ends | (allowed & ((counts - before_span) % stride == 0))


def next_round(
    values: Float[Tensor, "batch probe"],
    probed: Bool[Tensor, "batch probe"],
    allowed: Bool[Tensor, "batch probe"],
    threshold: float,
) -> Bool[Tensor, "batch probe"]:
    """In every interval between probes that moved by more than ``threshold``: the allowed probe nearest its middle.

    Args:
        values: of the probes at ``probed``.
        probed: every span's two ends among them.
        allowed: where probes may lie, none outside a span.
        threshold: nats.
    """
    left, right = _neighbors(probed)
    moved = (values.gather(1, right) - values.gather(1, left)).abs() > threshold
    candidates = allowed & ~probed & moved
    steps = torch.arange(probed.shape[1], device=probed.device)
    # One number orders candidates: distance to the middle, then position. An interval is named by its left end.
    key = (2 * steps - left - right).abs() * probed.shape[1] + steps
    key = key.masked_fill(~candidates, torch.iinfo(key.dtype).max)
    best = torch.full_like(key, torch.iinfo(key.dtype).max).scatter_reduce(1, left, key, "amin")
    return candidates & (key == best.gather(1, left))


def interpolate(
    values: Float[Tensor, "batch probe"], probed: Bool[Tensor, "batch probe"], needed: Bool[Tensor, "batch probe"]
) -> Float[Tensor, "batch probe"]:
    """``values`` where ``probed``, on the straight line between neighbors at other ``needed`` probes, 0 elsewhere."""
    left, right = _neighbors(probed)
    steps = torch.arange(probed.shape[1], device=probed.device)
    share = (steps - left).to(values.dtype) / (right - left).clamp(min=1)
    low, high = values.gather(1, left), values.gather(1, right)
    between = torch.where(probed, values, low + (high - low) * share)
    return torch.where(needed, between, torch.zeros_like(values))


def _neighbors(probed: Bool[Tensor, "batch probe"]) -> tuple[Int[Tensor, "batch probe"], Int[Tensor, "batch probe"]]:
    """The nearest probed position at or before, and at or after, every position; the outermost ones beyond them."""
    steps = torch.arange(probed.shape[1], device=probed.device)
    last = probed.shape[1] - 1
    left = torch.where(probed, steps, 0).cummax(1).values
    right = torch.where(probed, steps, last).flip(1).cummin(1).values.flip(1)
    return left, right
