"""Diagnostics against naive loops over completions and tokens."""

import math
import statistics

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from ragged_batches import covariance, mean_of, ragged, rows_of, same

from iapo.diagnostics import (
    entropy_by_correctness,
    information_by_class,
    information_slope,
    length_change,
    length_gradient,
    realized_length_change,
)
from iapo.diagnostics.gradient_of_length import every_other
from iapo.policy.logprobs import completion_logprobs
from iapo.testing.tabular import TabularLanguageModel


@given(ragged())
def test_predicted_change_against_the_loop(batch):
    rollout, before, after = batch
    mask, lengths = rollout.completion_mask, rollout.completion_lengths.tolist()
    change = [
        math.fsum(float(a - b) for a, b, m in zip(x, y, keep, strict=True) if m)
        for x, y, keep in zip(after, before, mask, strict=True)
    ]
    groups = [members for members in rows_of(rollout.group_ids) if len(members) > 1]
    found = length_change(before, after.masked_fill(~mask, torch.nan), mask, rollout.group_ids)
    if not groups:
        assert found is None
        return
    same(found.first_order, mean_of([covariance([lengths[i] for i in g], [change[i] for i in g]) for g in groups]))
    ratio = [math.exp(c) for c in change]
    assert found.exact.value == pytest.approx(
        mean_of([covariance([lengths[i] for i in g], [ratio[i] for i in g]) for g in groups])[0], abs=1e-8, rel=1e-8
    )


@given(ragged(), ragged())
def test_realised_change_against_the_loop(first, second):
    old, new = first[0], second[0]
    both = set(old.group_ids.tolist()) & set(new.group_ids.tolist())
    found = realized_length_change(old.completion_mask, old.group_ids, new.completion_mask, new.group_ids)

    def mean_length(rollout, group):
        return statistics.fmean(rollout.completion_lengths[rollout.group_ids == group].tolist())

    same(found, mean_of([mean_length(new, group) - mean_length(old, group) for group in sorted(both)]))


@settings(max_examples=30)
@given(ragged(), st.integers(1, 4))
def test_length_gradient_against_one_completion_at_a_time(batch, micro_batch):
    rollout, pull, _ = batch
    model = TabularLanguageModel(vocab_size=4, seed=5)
    model.table.data = model.table.data[:, :4].clone()
    pull = pull * rollout.completion_mask
    unused = torch.zeros(3, requires_grad=True)

    def logprobs(part):
        return completion_logprobs(model, part)[0]

    found = length_gradient(logprobs, [model.table, unused], rollout, {"x": pull, "y": -2 * pull}, micro_batch)

    def gradient(row, weights):
        part = rollout.select(torch.tensor([row]))
        value = (weights[: part.completion_ids.shape[1]] * logprobs(part)[0]).sum()
        return torch.autograd.grad(value, model.table)[0]

    lengths, ids = rollout.completion_lengths.double(), rollout.group_ids
    seen, half = {}, []
    for group in ids.tolist():
        seen[group] = seen.get(group, -1) + 1
        half.append(seen[group] % 2)
    assert every_other(ids).tolist() == [h == 0 for h in half]
    expected = 0.0
    for own in (0, 1):
        groups = [g for g in rows_of(ids, [h == own for h in half]) if len(g) > 1]
        if not groups:
            assert found == {}
            return
        slope = torch.zeros_like(model.table)
        for g in groups:
            mean = statistics.fmean(lengths[g].tolist())
            for row in g:
                weight = (float(lengths[row]) - mean) / (len(g) - 1) / len(groups)
                slope += gradient(row, torch.full(pull.shape[1:], weight, dtype=torch.float64))
        expected += sum(float((slope * gradient(row, pull[row])).sum()) for row in range(len(ids)) if half[row] != own)
    assert found["x"] == pytest.approx(expected, abs=1e-9, rel=1e-9)
    assert found["y"] == pytest.approx(-2 * expected, abs=1e-9, rel=1e-9)


@given(ragged())
def test_information_slope_against_the_loop(batch):
    rollout, information, _ = batch
    measured, lengths = rollout.reasoning_mask, rollout.completion_lengths.tolist()
    spoiled = information.masked_fill(~measured, torch.nan)
    found = information_slope(spoiled, measured, rollout.completion_mask, rollout.group_ids)
    products, squares = [], []
    for g in rows_of(rollout.group_ids, measured.any(1).tolist()):
        rates = [statistics.fmean(information[i][measured[i]].tolist()) for i in g]
        x = [lengths[i] - statistics.fmean(lengths[j] for j in g) for i in g]
        y = [rate - statistics.fmean(rates) for rate in rates]
        if any(abs(a) > 1e-12 for a in x):
            products.append(math.fsum(a * b for a, b in zip(x, y, strict=True)))
            squares.append(math.fsum(a * a for a in x))
    clustered(found, products, squares)


def clustered(found, above, below):
    """A ratio of sums over groups with its standard error."""
    if not below:
        assert found is None
        return
    value, count = math.fsum(above) / math.fsum(below), len(below)
    spread = math.fsum((a - value * b) ** 2 for a, b in zip(above, below, strict=True))
    same(found, (value, math.sqrt(spread * count / (count - 1)) / math.fsum(below) if count > 1 else None))
    assert found.groups == count


@given(ragged(), st.randoms(use_true_random=False))
def test_entropy_and_classes_against_the_loop(batch, random):
    rollout, values, _ = batch
    mask, ids = rollout.completion_mask, rollout.group_ids
    correct = torch.tensor([random.random() < 0.5 for _ in ids])
    labels = [[random.choice("ab") for _ in range(n)] for n in rollout.completion_lengths.tolist()]
    entropies = entropy_by_correctness(values.masked_fill(~mask, torch.nan), mask, ids, correct)
    measured = rollout.reasoning_mask
    classes = information_by_class(values.masked_fill(~measured, torch.nan), measured, mask, ids, labels)
    wanted = {name: (entropies, mask & rows[:, None]) for name, rows in (("correct", correct), ("wrong", ~correct))}
    for name in "ab":
        chosen = torch.zeros_like(mask)
        for row, own in enumerate(labels):
            for t, label in enumerate(own):
                chosen[row, t] = measured[row, t] and label == name
        wanted[name] = (classes, chosen)
    for name, (found, chosen) in wanted.items():
        pools = [values[g][chosen[g]].tolist() for g in rows_of(ids)]
        clustered(found.get(name), [math.fsum(p) for p in pools if p], [len(p) for p in pools if p])


@given(ragged(), st.integers(0, 3))
def test_padding_and_the_order_of_completions_change_nothing(batch, more):
    rollout, before, after = batch
    order = torch.randperm(len(rollout), generator=torch.Generator().manual_seed(more))

    def changed(values):
        return torch.nn.functional.pad(values[order], (0, more))

    mask, measured, ids = rollout.completion_mask, rollout.reasoning_mask, rollout.group_ids
    for function, tensors in (
        (length_change, (before, after, mask)),
        (information_slope, (before, measured, mask)),
    ):
        plain = function(*tensors, ids)
        other = function(*(changed(each) for each in tensors), ids[order])
        for one, two in zip(numbers(plain), numbers(other), strict=True):
            assert one == pytest.approx(two, abs=1e-7, rel=1e-7)


def numbers(found):
    if found is None:
        return []
    values = found.metrics() if not hasattr(found, "value") else found.metrics("x")
    return list(values.values())
