"""The trace: validation, totals, order of tokens; and its making from a rollout."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from inspections import LABEL, inspections, trace_of

from iapo import Rollout
from iapo.embedded import build_tokenizer, split_symbols
from iapo.inspection import CompletionTrace, Inspection, strongest, summarize, trace_from_rollout
from iapo.testing import rollouts

EDGES = (0.01, 0.03, 0.1, 0.3, 1.0)


@given(inspections())
@settings(max_examples=60, deadline=None)
def test_summary_against_a_loop(inspection: Inspection) -> None:
    for trace in inspection.traces:
        kept = [t for t in range(len(trace.pieces)) if trace.measured[t]]
        got = summarize(trace, 0.01)
        assert (got.tokens, got.measured) == (len(trace.pieces), len(kept))
        if not kept:
            assert (got.first_probe, got.last_probe, got.information, got.per_token, got.near_zero) == (None,) * 5
            continue
        assert got.first_probe == trace.probes[kept[0]]
        assert got.last_probe == trace.probes[kept[-1] + 1]
        assert got.information == math.fsum(trace.information[t] for t in kept)
        assert got.per_token == got.information / len(kept)
        assert got.near_zero == sum(abs(trace.information[t]) < 0.01 for t in kept) / len(kept)


@given(inspections(), st.integers(0, 5), st.sampled_from([1, -1]))
@settings(max_examples=60, deadline=None)
def test_strongest_are_of_one_sign_measured_and_not_beaten(inspection: Inspection, count: int, sign: int) -> None:
    trace = inspection.traces[0]
    found = strongest(trace, count, sign)
    candidates = [t for t, m in enumerate(trace.measured) if m and sign * trace.information[t] > 0]
    assert len(found) == min(count, len(candidates))
    assert set(found) <= set(candidates)
    sizes = [abs(trace.information[t]) for t in found]
    assert sizes == sorted(sizes, reverse=True)
    left = [abs(trace.information[t]) for t in candidates if t not in found]
    assert not found or not left or max(left) <= min(sizes)


@given(st.floats(-3, 3))
def test_level_against_a_count(information: float) -> None:
    steps = sum(abs(information) >= edge for edge in EDGES)
    assert Inspection((trace_of(("a",), (0.1,)),)).level(information) == (steps if information > 0 else -steps)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"information": (0.1,)}, r"information: got 1 values, want 2 \(one per piece\)"),
        ({"probes": (0.1, 0.2)}, r"probes: got 2 values, want 3 \(one more than pieces\)"),
        ({"measured": ()}, "measured: got 0 values, want 2"),
        ({"policy_entropy": (0.1,)}, "policy_entropy: got 1 values, want 2"),
        ({"information": (0.1, math.nan)}, "information: got nan at index 1"),
        ({"probes": (math.inf, 0.0, 0.0)}, "probes: got inf at index 0"),
        ({"reward": math.nan}, "reward: got nan"),
        ({"policy_entropy": (0.0, 1e12)}, "policy_entropy: got 1000000000000.0 at index 1"),
    ],
)
def test_a_trace_that_does_not_fit_together_is_refused(change: dict[str, object], message: str) -> None:
    good = {"prompt": "p", "pieces": ("a", "b"), "information": (0.1, 0.2), "probes": (1.0, 0.9, 0.7)}
    with pytest.raises(ValueError, match=message):
        CompletionTrace(**{**good, "probe_label": LABEL, "measured": (True, True), **change})  # type: ignore[arg-type]


def test_inspections_that_do_not_fit_together_are_refused() -> None:
    trace = trace_of(("a",), (0.1,))
    with pytest.raises(ValueError, match="traces: got none"):
        Inspection(())
    with pytest.raises(ValueError, match="want one prompt for all, got 2"):
        Inspection((trace, trace_of(("a",), (0.1,), prompt="other")))
    for edges in ((0.1, 0.2), (0.1, 0.1, 0.2, 0.3, 0.4), (0.0, 0.1, 0.2, 0.3, 0.4), (0.1, 0.2, 0.3, 0.4, math.inf)):
        with pytest.raises(ValueError, match="edges: got"):
            Inspection((trace,), edges=edges)


@given(rollouts(vocab=29), st.integers(0, 2**31 - 1))
@settings(max_examples=50, deadline=None)
def test_trace_of_a_rollout_against_a_loop(rollout: Rollout, seed: int) -> None:
    tokenizer = build_tokenizer(64)
    batch, width = rollout.completion_ids.shape
    generator = torch.Generator().manual_seed(seed)
    information = torch.randn(batch, width, generator=generator)
    probes = torch.randn(batch, width + 1, generator=generator)
    for row in range(batch):
        trace = trace_from_rollout(rollout, row, tokenizer, information, probes, LABEL, policy_entropy=information)
        ids = [int(i) for i, m in zip(rollout.completion_ids[row], rollout.completion_mask[row], strict=True) if m]
        assert trace.pieces == tuple(tokenizer.convert_ids_to_tokens(ids))
        assert tuple(split_symbols("".join(trace.pieces))) == trace.pieces
        assert trace.information == tuple(float(information[row, t]) for t in range(len(ids)))
        assert trace.probes == tuple(float(probes[row, t]) for t in range(len(ids) + 1))
        assert trace.measured == tuple(bool(rollout.reasoning_mask[row, t]) for t in range(len(ids)))
        assert trace.policy_entropy == trace.information
        prompt = rollout.prompt_ids[row, rollout.prompt_mask[row]]
        assert trace.prompt == "".join(tokenizer.convert_ids_to_tokens(prompt.tolist()))
        assert rollout.answer_ids is not None
        answer = rollout.answer_ids[row, rollout.answer_mask[row]]
        assert trace.answer == "".join(tokenizer.convert_ids_to_tokens(answer.tolist()))


def test_wrong_row_and_width_are_refused() -> None:
    ids = torch.zeros(2, 3, dtype=torch.long)
    mask = torch.ones(2, 3, dtype=torch.bool)
    rollout = Rollout(ids, mask, ids, mask, mask, torch.zeros(2, dtype=torch.long))
    tokenizer = build_tokenizer(64)
    with pytest.raises(IndexError, match="row: got 2, want 0 to 1"):
        trace_from_rollout(rollout, 2, tokenizer, torch.zeros(2, 3), torch.zeros(2, 4), LABEL)
    with pytest.raises(ValueError, match=r"probes: got shape \(2, 3\), want \(2, 4\)"):
        trace_from_rollout(rollout, 0, tokenizer, torch.zeros(2, 3), torch.zeros(2, 3), LABEL)
    assert trace_from_rollout(rollout, 1, tokenizer, torch.zeros(2, 3), torch.zeros(2, 4), LABEL).answer == ""


@pytest.mark.parametrize(("asked", "found", "measured"), [(False, 0.0, False), (True, 0.0, True), (False, 0.5, True)])
def test_where_no_answer_could_be_asked_about_nothing_was_measured(asked: bool, found: float, measured: bool) -> None:
    """Zeros of an estimator that asks about the answer are no certainty; one that asks otherwise is believed."""
    ids = torch.tensor([[4, 5, 6]])
    mask = torch.ones(1, 3, dtype=torch.bool)
    answer = torch.tensor([[asked]])
    rollout = Rollout(ids, mask, ids, mask, mask, torch.tensor([0]), answer_ids=ids[:, :1], answer_mask=answer)
    trace = trace_from_rollout(
        rollout, 0, build_tokenizer(64), torch.full((1, 3), found), torch.full((1, 4), found), LABEL
    )
    assert trace.measured == (measured,) * 3
    assert (summarize(trace, 0.01).near_zero is None) == (not measured)
