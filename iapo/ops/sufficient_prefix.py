"""The sufficient prefix: where the answer is first there, and from where on it stays."""

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from iapo.ops.checks import check_number

RelativeTo = Literal["certainty", "end"]
"""What a threshold is a share of: of certainty, or of what is known at the end of the reasoning."""

Anchor = Literal["first", "stays"]
"""Where a prefix is sufficient: where the answer is first there, or from where on it stays."""


@dataclass(frozen=True, eq=False)
class SufficientPrefix:
    """Where the answer of each completion is there.

    Args:
        first: tokens of the shortest measured prefix after which the answer is there, whether or not it is lost again.
        length: tokens of the shortest measured prefix after which the answer is there, and after every longer one too.
        reached: whether there is a ``first``; where not, ``first`` is the longest measured prefix.
        stays: whether there is a ``length``; where not, ``length`` is the longest measured prefix.
    """

    first: Int[Tensor, " batch"]
    length: Int[Tensor, " batch"]
    reached: Bool[Tensor, " batch"]
    stays: Bool[Tensor, " batch"]

    @property
    def lost(self) -> Bool[Tensor, " batch"]:
        """Where the answer was there and then, for a while or for good, was not: the curve is not monotone there."""
        return self.first < self.length

    def at(self, anchor: Anchor) -> tuple[Int[Tensor, " batch"], Bool[Tensor, " batch"]]:
        """``first`` and ``reached``, or ``length`` and ``stays``."""
        return (self.first, self.reached) if anchor == "first" else (self.length, self.stays)


def is_there(
    values: Float[Tensor, "batch probe"],
    measured: Bool[Tensor, "batch probe"],
    threshold: float,
    relative_to: RelativeTo = "certainty",
) -> Bool[Tensor, "batch probe"]:
    """Whether the answer is there after each measured prefix.

    With ``"certainty"`` the condition is ``exp(V_t) >= threshold``. If the values are log-likelihoods, the answer then
    has at least that probability. With ``"end"`` it is ``exp(V_t) >= threshold * exp(V_end)``, where ``V_end`` is the
    value of the longest measured prefix. Then the answer is always there at the end, however unlikely it is when the
    policy is forced to give it.

    Args:
        values: nats, growing with what is known.
        measured: the prefixes with a value.
        threshold: above 0, at most 1.
        relative_to: what the threshold is a share of.

    Returns:
        ``False`` at prefixes that were not measured.
    """
    least = torch.tensor(threshold, dtype=values.dtype, device=values.device).log()
    if relative_to == "end":
        _, last = first_and_last(measured)
        return measured & (values >= values.gather(1, last[:, None]) + least)
    return measured & (values >= least)


def sufficient_prefix(there: Bool[Tensor, "batch probe"], measured: Bool[Tensor, "batch probe"]) -> SufficientPrefix:
    """Where the answer is first there, and from where on it stays.

    *Degenerate cases.* A completion without a measured prefix reaches nothing and has lengths 0. Where the answer is
    there after the shortest measured prefix and after all others, that one is sufficient: nothing behind it was needed.

    Args:
        there: `is_there`.
        measured: the prefixes with a value.

    Example:
        >>> there = torch.tensor([[False, True, False, True, True]])
        >>> found = sufficient_prefix(there, torch.ones_like(there))
        >>> int(found.first), int(found.length), bool(found.lost)
        (1, 3, True)
    """
    steps = torch.arange(there.shape[1], device=there.device)
    there = there & measured
    _, last = first_and_last(measured)
    missing_until = steps.masked_fill(~(measured & ~there), -1).amax(1)
    staying = there & (steps > missing_until[:, None])

    def earliest(mask: Tensor) -> Tensor:
        return torch.where(mask.any(1), steps.masked_fill(~mask, there.shape[1]).amin(1), last)

    return SufficientPrefix(earliest(there), earliest(staying), there.any(1), staying.any(1))


def check_threshold(threshold: float) -> None:
    """Raise ``ValueError`` unless ``threshold`` is above 0 and at most 1."""
    check_number("threshold", threshold, "a number above 0, at most 1", lambda x: 0 < x <= 1)


def behind_prefix(
    length: Int[Tensor, " batch"], found: Bool[Tensor, " batch"], mask: Bool[Tensor, "batch token"]
) -> Bool[Tensor, "batch token"]:
    """The masked tokens behind the first ``length`` tokens of a completion, where there is such a prefix.

    Args:
        length: tokens of the prefix.
        found: where there is one; elsewhere no token is behind it.
        mask: the tokens over which the curve runs.
    """
    return mask & (torch.arange(mask.shape[1], device=mask.device) >= length[:, None]) & found[:, None]


def first_and_last(
    measured: Bool[Tensor, "batch probe"],
) -> tuple[Int[Tensor, " batch"], Int[Tensor, " batch"]]:
    """The shortest and the longest measured prefix of each completion, in tokens; 0 and 0 where there is none."""
    steps = torch.arange(measured.shape[1], device=measured.device)
    last = steps.masked_fill(~measured, 0).amax(1)
    first = steps.masked_fill(~measured, measured.shape[1]).amin(1)
    return torch.where(measured.any(1), first, 0), last
