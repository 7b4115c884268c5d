"""The plain data that the renderers read: one completion token by token, and the completions of one prompt."""

import math
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby

from iapo.ops.arguments import arguments_named

NOTHING_MEASURED = (
    "nothing to probe: no reasoning, or no final answer, is found here (--reasoning_style, --answer_style; if it was "
    "cut, --sampler.max_new_tokens)"
)
"""What is said of a completion without a measured token."""

LARGEST = 1e9
"""Largest magnitude that is accepted, nats; beyond it a number is a fault, not a measurement."""


@dataclass(frozen=True)
class CompletionTrace:
    """One completion as text and numbers.

    Args:
        prompt: the prompt as text.
        pieces: text of each completion token; an empty piece is a token that completes no character.
        information: ``s_t`` of each token, nats; read where ``measured``.
        probes: ``V_t`` after each prefix, one more than tokens; read beside measured tokens.
        probe_label: what a probe is, with its unit: ``"H(answer | prefix), nats"``.
        measured: the tokens whose information was measured (the reasoning span).
        reward: the completion's reward, if it has one.
        answer: the completion's answer as text, empty if it has none.
        policy_entropy: entropy of the policy's next-token distribution at each token, nats.

    Raises:
        ValueError: a length that does not fit the number of pieces, or a number that is not finite or beyond 1e9.

    Example:
        >>> trace = CompletionTrace("2+3=", ("5", "."), (0.5, 0.0), (0.5, 0.0, 0.0), "H, nats", (True, False))
        >>> trace.spans
        ((0, 1),)
    """

    prompt: str
    pieces: tuple[str, ...]
    information: tuple[float, ...]
    probes: tuple[float, ...]
    probe_label: str
    measured: tuple[bool, ...]
    reward: float | None = None
    answer: str = ""
    policy_entropy: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        tokens = len(self.pieces)
        _check_length("information", self.information, tokens, "one per piece")
        _check_length("probes", self.probes, tokens + 1, "one more than pieces")
        _check_length("measured", self.measured, tokens, "one per piece")
        _check_numbers("information", self.information)
        _check_numbers("probes", self.probes)
        if self.reward is not None:
            _check_numbers("reward", (self.reward,))
        if self.policy_entropy is not None:
            _check_length("policy_entropy", self.policy_entropy, tokens, "one per piece")
            _check_numbers("policy_entropy", self.policy_entropy)

    @property
    def spans(self) -> tuple[tuple[int, int], ...]:
        """The maximal runs of measured tokens, each as first token and one beyond the last."""
        return runs(self.measured, True)


@dataclass(frozen=True)
class Inspection:
    """The completions of one prompt, and what a reader has to know about them.

    Args:
        traces: at least one completion, all of one prompt and with one kind of probe.
        metadata: name and value of what a reader should know: model, estimator, temperature.
        title: heading of the page.
        edges: where the color scale steps, nats, ascending; below the first a token counts as near zero. The default
            is absolute, so that two inspections can be compared by eye.

    Raises:
        ValueError: no trace, different prompts or probe labels, or edges other than five positive ascending numbers.
    """

    traces: tuple[CompletionTrace, ...]
    metadata: Mapping[str, str] = field(default_factory=dict)
    title: str = "Information per token"
    edges: tuple[float, ...] = (0.01, 0.03, 0.1, 0.3, 1.0)

    def __post_init__(self) -> None:
        if not self.traces:
            raise ValueError("traces: got none, want at least one")
        for name in ("prompt", "probe_label"):
            values = {getattr(trace, name) for trace in self.traces}
            if len(values) > 1:
                raise ValueError(f"traces: want one {name} for all, got {len(values)} different ones")
        ascending = all(low < high for low, high in zip((0.0, *self.edges), self.edges, strict=False))
        if len(self.edges) != 5 or not ascending or not math.isfinite(self.edges[-1]):
            raise ValueError(f"edges: got {self.edges}, want five positive ascending numbers")

    def level(self, information: float) -> int:
        """Step of the color scale, -5 to 5; 0 is near zero.

        Args:
            information: ``s_t``, nats.
        """
        step = bisect_right(self.edges, abs(information))
        return step if information > 0 else -step


@dataclass(frozen=True)
class TraceSummary:
    """Totals over a completion's measured tokens; ``None`` where there is no such token.

    Args:
        tokens: tokens of the completion.
        measured: tokens that were measured.
        first_probe: probe before the first measured token.
        last_probe: probe after the last measured token.
        information: ``sum_t s_t``, nats; for one unbroken span the difference of the two probes.
        per_token: nats per measured token.
        near_zero: share of measured tokens with ``|s_t|`` below the threshold.
    """

    tokens: int
    measured: int
    first_probe: float | None
    last_probe: float | None
    information: float | None
    per_token: float | None
    near_zero: float | None


@arguments_named
def summarize(trace: CompletionTrace, threshold: float) -> TraceSummary:
    """Add up a completion.

    Args:
        trace: the completion.
        threshold: ``|s_t|`` below it counts as near zero, nats.
    """
    values = [s for s, measured in zip(trace.information, trace.measured, strict=True) if measured]
    if not values:
        return TraceSummary(len(trace.pieces), 0, None, None, None, None, None)
    total = math.fsum(values)
    return TraceSummary(
        tokens=len(trace.pieces),
        measured=len(values),
        first_probe=trace.probes[trace.spans[0][0]],
        last_probe=trace.probes[trace.spans[-1][1]],
        information=total,
        per_token=total / len(values),
        near_zero=sum(abs(s) < threshold for s in values) / len(values),
    )


@arguments_named
def strongest(trace: CompletionTrace, count: int, sign: int) -> tuple[int, ...]:
    """Indices of the measured tokens of one sign that have the largest ``|s_t|``, largest first.

    Args:
        trace: the completion.
        count: at most so many.
        sign: 1 for tokens with positive information, -1 for those with negative.
    """
    signed = [(-sign * s, t) for t, s in enumerate(trace.information) if trace.measured[t] and sign * s > 0]
    return tuple(t for _, t in sorted(signed)[:count])


def runs(mask: Sequence[bool], value: bool) -> tuple[tuple[int, int], ...]:
    """The maximal runs of one value, each as first index and one beyond the last."""
    found, start = [], 0
    for key, group in groupby(mask):
        stop = start + len(list(group))
        if key == value:
            found.append((start, stop))
        start = stop
    return tuple(found)


def _check_length(name: str, values: Sequence[object], want: int, why: str) -> None:
    if len(values) != want:
        raise ValueError(f"{name}: got {len(values)} values, want {want} ({why})")


def _check_numbers(name: str, values: Sequence[float]) -> None:
    for index, value in enumerate(values):
        if not abs(value) <= LARGEST:
            raise ValueError(f"{name}: got {value} at index {index}, want a finite number of magnitude at most 1e9")
