"""Refinement: against a recursive reference in Python, and what it must keep of the estimator it wraps."""

import dataclasses
import math
from dataclasses import dataclass
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from models import tiny_model
from ragged_rollouts import rollout as ragged_rollout

from iapo.estimators import (
    AnswerLikelihood,
    Boundaries,
    ClassBoundaries,
    EarlyExitEntropy,
    PrefixEstimator,
    Refined,
    StepBoundaries,
)
from iapo.estimators.packed import needed_probes
from iapo.testing import rollouts

MODEL = tiny_model("llama", layers=1)


class Recorded(PrefixEstimator):
    """Hands out prepared values and records what was asked for."""

    def __init__(self, values, sign=1):
        self.values, self.information_sign, self.calls, self.caches = values, sign, [], []

    def probe_at(self, model, rollout, at, cache=None):
        self.calls.append(at)
        self.caches.append(cache)
        return self.values.masked_fill(~at, 0)


def spans(mask) -> list[tuple[int, int]]:
    """Probes at the two ends of each run of ``True``."""
    edges = [t for t in range(len(mask) + 1) if (t > 0 and mask[t - 1]) != (t < len(mask) and mask[t])]
    return list(zip(edges[::2], edges[1::2], strict=True))


def naive_probed(values, allowed, start, stop, stride, threshold) -> set[int]:
    """The probes of one span, by recursion."""
    marks = [t for t in range(start, stop + 1) if allowed[t] or t in (start, stop)]
    first = sorted({*marks[::stride], stop})

    def refine(a: int, b: int) -> set[int]:
        inside = [t for t in marks if a < t < b]
        if not inside or threshold is None or not abs(values[b] - values[a]) > threshold:
            return set()
        middle = min(inside, key=lambda t: (abs(2 * t - a - b), t))
        return {middle} | refine(a, middle) | refine(middle, b)

    return set(first).union(*(refine(a, b) for a, b in pairwise(first)))


def naive_information(values, probed, token) -> list[float]:
    result = [0.0] * token
    order = sorted(probed)
    for a, b in pairwise(order):
        for t in range(a, b):
            result[t] = (values[b] - values[a]) / (b - a)
    return result


def random_values(rollout, seed, jumps=0.3):
    """Steps at some tokens, so that some intervals move and others do not."""
    generator = torch.Generator().manual_seed(seed)
    shape = needed_probes(rollout).shape
    moves = torch.randn(shape, generator=generator) * (torch.rand(shape, generator=generator) < jumps)
    return moves.double().cumsum(1)


cases = {
    "rollout": rollouts(max_token=20),
    "stride": st.integers(1, 9),
    "threshold": st.sampled_from([0.0, 0.3, 1.0, None]),
    "seed": st.integers(0, 1000),
}


@dataclass(frozen=True, eq=False)
class Marks(Boundaries):
    """The same boundaries whatever the rollout."""

    marks: torch.Tensor

    def __call__(self, rollout):
        return self.marks


@given(**cases, marked=st.booleans(), sign=st.sampled_from([1, -1]))
@settings(max_examples=80)
def test_probes_and_information_agree_with_the_recursion(rollout, stride, threshold, seed, marked, sign):
    values = random_values(rollout, seed)
    marks = torch.rand(values.shape, generator=torch.Generator().manual_seed(seed)) < 0.4
    recorded = Recorded(values, sign)
    estimator = Refined(recorded, stride, threshold, Marks(marks) if marked else None)
    found, information = estimator.refine(MODEL, rollout), estimator(MODEL, rollout)
    token = rollout.completion_ids.shape[1]
    for row in range(len(rollout)):
        v, allowed = values[row].tolist(), marks[row].tolist() if marked else [True] * (token + 1)
        expected, probed = torch.zeros(token, dtype=torch.float64), set()
        for start, stop in spans(rollout.reasoning_mask[row].tolist()):
            inside = naive_probed(v, allowed, start, stop, stride, threshold)
            expected += sign * torch.tensor(naive_information(v, inside, token), dtype=torch.float64)
            probed |= inside
        assert set(found.probed[row].nonzero().flatten().tolist()) == probed
        torch.testing.assert_close(information[row].double(), expected, atol=1e-12, rtol=0)
    asked = recorded.calls[: found.rounds]
    assert not asked or int(torch.stack(asked).sum(0).max()) <= 1, "no prefix is probed twice"
    assert len({id(cache) for cache in recorded.caches[: found.rounds]}) <= 1
    assert None not in recorded.caches, "rounds share one cache"


@given(**cases)
@settings(max_examples=40)
def test_sums_of_spans_are_those_of_the_wrapped_estimator(rollout, stride, threshold, seed):
    values = random_values(rollout, seed, jumps=1.0)
    information = Refined(Recorded(values), stride, threshold)(MODEL, rollout)
    exact = Recorded(values)(MODEL, rollout)
    for row in range(len(rollout)):
        for start, stop in spans(rollout.reasoning_mask[row].tolist()):
            torch.testing.assert_close(
                information[row, start:stop].sum(), exact[row, start:stop].sum(), atol=1e-12, rtol=0
            )


@given(**cases, lower=st.sampled_from([0.0, 0.1, 0.2]))
@settings(max_examples=30)
def test_a_lower_threshold_probes_no_less(rollout, stride, threshold, seed, lower):
    values = random_values(rollout, seed)
    higher = None if threshold is None else max(threshold, lower)
    few = Refined(Recorded(values), stride, higher).refine(MODEL, rollout)
    many = Refined(Recorded(values), stride, lower).refine(MODEL, rollout)
    assert not (few.probed & ~many.probed).any()


@given(rollout=rollouts(holes=False, max_token=30), stride=st.integers(1, 40), at=st.integers(0, 29))
@settings(max_examples=40)
def test_one_jump_is_found_whatever_the_stride(rollout, stride, at):
    values = torch.zeros(needed_probes(rollout).shape)
    values[:, at + 1 :] = 1.5
    found = Refined(Recorded(values), stride, threshold=1.0).refine(MODEL, rollout)
    torch.testing.assert_close(found.probes, values.masked_fill(~needed_probes(rollout), 0), atol=0, rtol=0)
    width = rollout.reasoning_mask.sum(1)
    most = width // stride + 2 + math.ceil(math.log2(stride + 1))
    assert (found.probed.sum(1) <= torch.where(width > 0, most, 0)).all()


@given(rollout=rollouts())
@settings(max_examples=15)
def test_stride_one_is_the_wrapped_estimator(rollout):
    model = tiny_model("qwen2").double()
    for wrapped in (EarlyExitEntropy((4, 5)), AnswerLikelihood((4, 5), closing_ids=(6,))):
        refined = Refined(wrapped, stride=1, threshold=0)
        assert refined.refine(model, rollout).rounds <= 1
        torch.testing.assert_close(
            refined(model, rollout), wrapped(model, rollout), atol=1e-6, rtol=0, check_dtype=False
        )


@given(rollout=rollouts(max_token=12), stride=st.integers(2, 6))
@settings(max_examples=15)
def test_with_a_model_and_no_threshold_every_token_is_right(rollout, stride):
    """A random model moves at every token; rounds of probes into one cache must not disturb each other."""
    model = tiny_model("llama").double()
    for wrapped in (EarlyExitEntropy((4, 5)), AnswerLikelihood((4, 5))):
        refined = Refined(wrapped, stride, threshold=0)(model, rollout)
        torch.testing.assert_close(refined, wrapped(model, rollout), atol=1e-6, rtol=0, check_dtype=False)


@given(rollout=rollouts(max_token=15), data=st.data())
@settings(max_examples=60)
def test_step_boundaries_agree_with_a_loop(rollout, data):
    tokens = st.lists(st.integers(0, 30), max_size=12, unique=True).map(tuple)
    before, after, run, result = (data.draw(tokens) for _ in range(4))
    surprisal = data.draw(st.sampled_from([None, 0.0, 0.5]))
    generator = torch.Generator().manual_seed(data.draw(st.integers(0, 100)))
    logprobs = -2 * torch.rand(rollout.completion_ids.shape, generator=generator)
    rollout = dataclasses.replace(rollout, sampler_logprobs=logprobs)
    found = StepBoundaries(before, after, run, result, surprisal)(rollout)
    for row, ids in enumerate(rollout.completion_ids.tolist()):
        for t in range(len(ids) + 1):
            front = ids[t - 1] if t > 0 else None
            behind = ids[t] if t < len(ids) else None
            inside = front in run and behind in run
            surprising = surprisal is not None and behind is not None and -logprobs[row, t] > surprisal
            expected = (
                behind in before
                or front in after
                or (front in run) != (behind in run)
                or (t > 1 and ids[t - 2] in result)
                or (surprising and not inside)
            )
            assert bool(found[row, t]) == expected, (row, t)


@st.composite
def labeled(draw: st.DrawFn):
    """A rollout and the class of each of its tokens."""
    rollout = draw(rollouts(max_token=15))
    lengths = rollout.completion_mask.sum(1).tolist()
    return rollout, [draw(st.lists(st.sampled_from("abc"), min_size=n, max_size=n)) for n in lengths]


@given(case=labeled(), beside=st.sampled_from([None, frozenset("a"), frozenset("bc")]))
@settings(max_examples=40)
def test_class_boundaries_agree_with_a_loop(case, beside):
    rollout, labels = case
    found = ClassBoundaries(lambda _: labels, beside)(rollout)
    for row, own in enumerate(labels):
        for t in range(rollout.completion_ids.shape[1] + 1):
            expected = 0 < t < len(own) and own[t - 1] != own[t]
            if expected and beside is not None:
                expected = own[t - 1] in beside or own[t] in beside
            assert bool(found[row, t]) == expected, (row, t)


@given(case=labeled(), seed=st.integers(0, 1000))
@settings(max_examples=40)
def test_at_class_boundaries_the_totals_of_classes_are_exact(case, seed):
    rollout, labels = case
    values = random_values(rollout, seed)
    where = ClassBoundaries(lambda _: labels)
    found = Refined(Recorded(values), 1, None, where)(MODEL, rollout)
    exact = Recorded(values)(MODEL, rollout)
    for name in "abc":
        mask = torch.zeros_like(rollout.reasoning_mask)
        for row, own in enumerate(labels):
            mask[row, : len(own)] = torch.tensor([label == name for label in own], dtype=torch.bool)
        torch.testing.assert_close(found[mask].double().sum(), exact[mask].double().sum(), atol=1e-12, rtol=0)


@given(**cases, marked=st.integers(0, 2**20))
@settings(max_examples=30)
def test_always_is_probed_at_first_and_refined_between(rollout, stride, threshold, seed, marked):
    values, needed = random_values(rollout, seed), needed_probes(rollout)
    marks = torch.randint(0, 2, needed.shape, generator=torch.Generator().manual_seed(marked)).bool()
    recorded = Recorded(values)
    found = Refined(recorded, stride, threshold, always=Marks(marks)).refine(MODEL, rollout)
    plain = Recorded(values)
    Refined(plain, stride, None).refine(MODEL, rollout)
    if needed.any():
        assert torch.equal(recorded.calls[0], plain.calls[0] | (marks & needed))
    moved = found.probes.diff(dim=1).abs() > (math.inf if threshold is None else threshold) + 1e-6
    left = moved & rollout.reasoning_mask
    assert not (left & ~(found.probed[:, 1:] & found.probed[:, :-1])).any()


def test_the_prefixes_are_read_once():
    """One forward over prompt and completion, however many rounds."""
    model, lengths, sample = tiny_model("llama"), [], ragged_rollout(token=20)
    model.register_forward_pre_hook(
        lambda module, args, inputs: lengths.append(inputs["input_ids"].shape[1]), with_kwargs=True
    )
    found = Refined(EarlyExitEntropy((4,), chunk=1, guard=False), 16, 0).refine(model, sample)
    assert found.rounds > 2
    assert sum(length > 1 for length in lengths) == 1


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda: Refined(EarlyExitEntropy((4,)), stride=0), "stride"),
        (lambda: Refined(EarlyExitEntropy((4,)), threshold=-1), "threshold"),
        (lambda: StepBoundaries(after_ids=(-1,)), "after_ids"),
        (lambda: StepBoundaries(surprisal=-0.1), "surprisal"),
    ],
)
def test_bad_parameters_are_named(make, name):
    with pytest.raises(ValueError, match=name):
        make()


def test_boundaries_that_cannot_be_used_are_refused():
    from ragged_rollouts import rollout

    with pytest.raises(ValueError, match=r"Marks: want shape \(batch, token \+ 1\) = .*, got \(1, 1\)"):
        Refined(EarlyExitEntropy((4,)), boundaries=Marks(torch.ones(1, 1, dtype=torch.bool)))(MODEL, rollout())
    with pytest.raises(ValueError, match=r"Marks: want shape"):
        Refined(EarlyExitEntropy((4,)), always=Marks(torch.ones(1, 1, dtype=torch.bool)))(MODEL, rollout())
    with pytest.raises(ValueError, match="classify: got 1 completions"):
        ClassBoundaries(lambda _: [["a"]])(rollout())
    with pytest.raises(ValueError, match=r"classify\[0\]: got 1 labels for \d+ tokens"):
        ClassBoundaries(lambda _: [["a"]] * len(rollout()))(rollout())
    with pytest.raises(ValueError, match="sampler_logprobs"):
        Refined(EarlyExitEntropy((4,)), boundaries=StepBoundaries(surprisal=1.0))(MODEL, rollout())
