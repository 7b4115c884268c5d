"""Diagnostics: exact on tables that can be enumerated, against naive loops, and where there is nothing to estimate."""

import dataclasses
import math
import statistics
from fractions import Fraction

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from iapo import Rollout, TokenSignals
from iapo.advantages import GroupRelative, InformationAware
from iapo.diagnostics import (
    classify_completions,
    entropy_by_correctness,
    group_covariances,
    information_by_class,
    information_slope,
    length_change,
    length_gradient,
    loss_pull,
    ratio_of_sums,
    realised_length_change,
)
from iapo.diagnostics.length_gradient import every_other
from iapo.embedded import classify, generate_problems, model_path, rows
from iapo.logprobs import completion_logprobs
from iapo.losses import CISPO, GSPO, ClippedPolicyLoss
from iapo.rollout import ScriptedSampler, TransformersSampler
from iapo.testing.tabular import TabularLanguageModel, enumerate_completions

PROMPTS, MAX_TOKENS, EOS = ((1,), (2, 0)), 3, 0
COPIES = 64
"""Completions of a prompt: each exactly as often as the policy below says, so that a batch is its distribution."""
SAMPLE = COPIES / (COPIES - 1)
"""The unbiased covariance of a batch that is a whole distribution, by the covariance of that distribution."""


def dyadic_policy():
    """A table of two tokens whose probabilities are quarters, so that 64 completions hold it exactly."""
    model = TabularLanguageModel(vocab_size=3, order=1, seed=3)
    quarters = torch.tensor([[1, 1, 2], [1, 2, 1], [2, 1, 1], [1, 1, 2]], dtype=torch.float64)
    model.table.data = (quarters / 4).log()
    return model


def whole_distribution(model, halves=1):
    """A rollout in which every half (every other row) holds each completion as often as its probability says."""
    scripted = {}
    for prompt in PROMPTS:
        counts = [
            (list(ids), Fraction(p).limit_denominator(COPIES) * COPIES)
            for ids, p in enumerate_completions(model, prompt, EOS, MAX_TOKENS)
        ]
        assert all(count.denominator == 1 for _, count in counts)
        scripted[prompt] = [ids for ids, count in counts for _ in range(int(count) * halves)]
        assert len(scripted[prompt]) == COPIES * halves
    return ScriptedSampler(scripted)([list(prompt) for prompt in PROMPTS], COPIES * halves)


def expected_length(model):
    """Mean over the prompts of the expected length, by enumeration."""
    return statistics.fmean(
        math.fsum(p * len(ids) for ids, p in enumerate_completions(model, prompt, EOS, MAX_TOKENS))
        for prompt in PROMPTS
    )


def moved(model, step, scale):
    """A copy of the policy with ``scale * step`` added to its table."""
    other = TabularLanguageModel(vocab_size=3, order=1, seed=3)
    other.table.data = model.table.data + scale * step
    return other


def table_step(seed=0):
    return torch.randn(4, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def predicted(model, other, rollout):
    with torch.no_grad():
        before, after = (completion_logprobs(policy, rollout)[0] for policy in (model, other))
    return length_change(before, after, rollout.completion_mask, rollout.group_ids)


@pytest.mark.parametrize("scale", [0.01, 0.3, 2.0])
def test_the_covariance_with_the_ratio_is_the_change_exactly(scale):
    model = dyadic_policy()
    other = moved(model, table_step(), scale)
    found = predicted(model, other, whole_distribution(model)).exact.value / SAMPLE
    assert found == pytest.approx(expected_length(other) - expected_length(model), abs=1e-10)
    assert abs(found) > 1e-4


def test_the_first_order_form_is_wrong_by_the_square_of_the_step():
    model, step = dyadic_policy(), table_step()
    rollout = whole_distribution(model)
    errors = []
    for scale in (0.04, 0.02, 0.01):
        other = moved(model, step, scale)
        change = expected_length(other) - expected_length(model)
        errors.append(predicted(model, other, rollout).first_order.value / SAMPLE - change)
        assert abs(errors[-1]) < 0.2 * abs(change)
    assert errors[0] / errors[1] == pytest.approx(4, rel=0.05)
    assert errors[1] / errors[2] == pytest.approx(4, rel=0.05)


def assigned_terms(model, rollout):
    """Advantages of three terms over random signals."""
    generator = torch.Generator().manual_seed(1)
    shape = rollout.completion_mask.shape
    with torch.no_grad():
        logprobs = completion_logprobs(model, rollout)[0]
    signals = TokenSignals(information=torch.randn(shape, generator=generator), policy_logprobs=logprobs)
    rewards = torch.randint(0, 2, shape[:1], generator=generator).double()
    assigner = InformationAware(GroupRelative(), alpha=0.7, beta=0.4)
    return assigner(rewards, rollout.group_ids, rollout.completion_mask, signals)


LOSSES = [
    ClippedPolicyLoss(aggregation="token"),
    ClippedPolicyLoss(aggregation="sequence", kl_coef=0.1),
    ClippedPolicyLoss(aggregation="constant", max_length=7),
    GSPO(),
    CISPO(),
]


@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: f"{type(loss).__name__}-{getattr(loss, 'aggregation', '')}")
def test_each_terms_gradient_step_changes_the_length_as_its_value_says(loss):
    model = dyadic_policy()
    rollout = whole_distribution(model, halves=2)
    assigned = assigned_terms(model, rollout)
    pulls = {name: loss_pull(loss, term, assigned.loss_mask) for name, term in assigned.terms.items()}
    pulls["all"] = loss_pull(loss, assigned.advantages, assigned.loss_mask)

    def logprobs(part):
        return completion_logprobs(model, part)[0]

    values = length_gradient(logprobs, [model.table], rollout, pulls, micro_batch=50)
    assert values.pop("all") == pytest.approx(math.fsum(values.values()), abs=1e-9)
    assert set(values) == {"outcome", "information", "exploration"}
    for name, value in values.items():
        policy = completion_logprobs(model, rollout)[0]
        objective = -loss(
            policy,
            policy.detach(),
            assigned.terms[name],
            assigned.loss_mask,
            loss.normaliser(assigned.loss_mask),
            policy.detach(),
        ).loss
        (gradient,) = torch.autograd.grad(objective, model.table)
        unit = 1 / float(gradient.norm())
        errors = []
        for rate in (0.02 * unit, 0.01 * unit):
            change = expected_length(moved(model, gradient, rate)) - expected_length(model)
            errors.append(rate * value / SAMPLE - change)
            assert abs(errors[-1]) < max(2e-4, 0.25 * abs(change))
        assert abs(errors[0] / errors[1]) == pytest.approx(4, rel=0.1)


@st.composite
def ragged(draw):
    """Completions of a random tabular policy's vocabulary in groups of 1 to 6, in any order, garbage in the padding."""
    sizes = draw(st.lists(st.integers(1, 6), min_size=1, max_size=3))
    ids = draw(st.permutations([50 - 3 * g for g, size in enumerate(sizes) for _ in range(size)]))
    width = draw(st.integers(1, 6))
    lengths = torch.tensor(draw(st.lists(st.integers(0, width), min_size=len(ids), max_size=len(ids))))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31 - 1)))
    mask = torch.arange(width) < lengths[:, None]
    shape = mask.shape

    def noise():
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    rollout = Rollout(
        prompt_ids=torch.randint(0, 4, (len(ids), 2), generator=generator),
        prompt_mask=torch.ones(len(ids), 2, dtype=torch.bool),
        completion_ids=torch.randint(0, 4, shape, generator=generator),
        completion_mask=mask,
        reasoning_mask=mask & (torch.rand(shape, generator=generator) < 0.7),
        group_ids=torch.tensor(ids),
    )
    return rollout, noise(), noise()


def rows_of(ids, counted=None):
    """Rows by group, those counted alone."""
    groups = {}
    for row, group in enumerate(ids.tolist()):
        if counted is None or counted[row]:
            groups.setdefault(group, []).append(row)
    return list(groups.values())


def covariance(x, y):
    mean_x, mean_y = statistics.fmean(x), statistics.fmean(y)
    return math.fsum((a - mean_x) * (b - mean_y) for a, b in zip(x, y, strict=True)) / (len(x) - 1)


def mean_of(values):
    """Mean and standard error."""
    error = statistics.stdev(values) / math.sqrt(len(values)) if len(values) > 1 else None
    return statistics.fmean(values), error


def same(estimate, expected, tolerance=1e-9):
    value, error = expected
    assert estimate.value == pytest.approx(value, abs=tolerance, rel=tolerance)
    assert (estimate.standard_error is None) == (error is None)
    assert error is None or estimate.standard_error == pytest.approx(error, abs=tolerance, rel=tolerance)


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
    found = realised_length_change(old.completion_mask, old.group_ids, new.completion_mask, new.group_ids)

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


class TestNothingToEstimate:
    mask = torch.tensor([[True, True, False], [True, False, False]])
    same_length = torch.ones(2, 3, dtype=torch.bool)
    values = torch.tensor([[-1.0, -2.0, 0.0], [-0.5, 0.0, 0.0]])
    alone, together = torch.tensor([0, 1]), torch.tensor([4, 4])

    def gradient(self, mask, ids):
        parameter = torch.ones((), requires_grad=True)
        rollout = Rollout(torch.ones(len(ids), 1).long(), torch.ones(len(ids), 1).bool(), mask.long(), mask, mask, ids)
        pulls = {"x": torch.ones(mask.shape)}

        def logprobs(part):
            assert len(part), "models do not take an empty batch"
            return parameter * part.completion_mask

        return length_gradient(logprobs, [parameter], rollout, pulls, 8)

    def test_groups_of_one(self):
        assert length_change(self.values, self.values + 1, self.mask, self.alone) is None
        assert information_slope(self.values, self.mask, self.mask, self.alone) is None
        assert self.gradient(self.mask, self.alone) == {}
        assert group_covariances(torch.ones(2), torch.ones(2), self.alone).shape == (0,)

    def test_groups_too_small_for_two_halves(self):
        mask = torch.tensor([[True, True], [True, False], [True, True]])
        assert self.gradient(mask, torch.tensor([0, 0, 0])) == {}

    def test_equal_lengths(self):
        change = length_change(self.values, self.values * 1.1, self.same_length, self.together)
        assert (change.first_order.value, change.exact.value) == (0, 0)
        assert information_slope(self.values, self.same_length, self.same_length, self.together) is None
        assert self.gradient(torch.ones(4, 3, dtype=torch.bool), torch.zeros(4).long()) == {"x": 0.0}

    def test_no_correct_completion(self):
        found = entropy_by_correctness(self.values, self.mask, self.together, torch.tensor([False, False]))
        assert set(found) == {"wrong"}

    def test_no_tokens_and_no_completions(self):
        nothing = torch.zeros(2, 3, dtype=torch.bool)
        assert entropy_by_correctness(self.values, nothing, self.together, torch.tensor([True, False])) == {}
        assert information_slope(self.values, nothing, nothing, self.together) is None
        assert information_by_class(self.values, nothing, self.mask, self.together, [["a", "b"], ["a"]]) == {}
        assert length_change(self.values, self.values, nothing, self.together).first_order.value == 0
        empty, ids = torch.zeros(0, 3), torch.zeros(0, dtype=torch.long)
        assert length_change(empty, empty, empty.bool(), ids) is None
        assert information_slope(empty, empty.bool(), empty.bool(), ids) is None
        assert entropy_by_correctness(empty, empty.bool(), ids, ids.bool()) == {}
        assert realised_length_change(empty.bool(), ids, empty.bool(), ids) is None
        assert self.gradient(empty.bool(), ids) == {}

    def test_no_prompt_in_both(self):
        assert realised_length_change(self.mask, self.alone, self.mask, torch.tensor([2, 3])) is None

    def test_one_group_has_no_standard_error_and_metrics_say_so(self):
        change = length_change(self.values, self.values + 0.1, self.mask, self.together)
        prefix = "iapo/diagnostics/length_change"
        assert set(change.metrics()) == {f"{prefix}/first_order", f"{prefix}/exact"}
        assert set(ratio_of_sums(torch.ones(2), torch.ones(2)).metrics("x")) == {"x", "x_se"}

    def test_a_ratio_that_overflows_is_left_out(self):
        change = length_change(self.values, self.values + 500, self.mask, self.together)
        assert change.exact is None
        assert change.first_order.value == pytest.approx(250)
        assert "iapo/diagnostics/length_change/exact" not in change.metrics()

    @pytest.mark.parametrize("bad", [torch.nan, -torch.inf])
    def test_log_probabilities_that_are_not_finite_are_named(self, bad):
        spoiled = self.values.clone()
        spoiled[1, 0] = bad
        with pytest.raises(FloatingPointError, match=r"rows \[1\]"):
            length_change(self.values, spoiled, self.mask, self.together)

    def test_labels_and_pulls_of_another_size_are_named(self):
        with pytest.raises(ValueError, match=r"labels\[1\]: got 2 labels for 1 tokens"):
            information_by_class(self.values, self.mask, self.mask, self.together, [["a", "b"], ["a", "b"]])
        with pytest.raises(ValueError, match=r"labels: got 1 completions, want 2"):
            information_by_class(self.values, self.mask, self.mask, self.together, [["a", "b"]])
        rollout = Rollout(self.mask.long(), self.same_length, self.mask.long(), self.mask, self.mask, self.together)
        with pytest.raises(ValueError, match=r"pulls\['x'\]: got shape \(2, 2\)"):
            length_gradient(lambda part: part, [], rollout, {"x": torch.ones(2, 2)}, 8)
        with pytest.raises(ValueError, match="micro_batch: got 0"):
            length_gradient(lambda part: part, [], rollout, {}, 0)


def test_tokens_of_the_embedded_task_get_their_classes():
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(model_path())
    model = AutoModelForCausalLM.from_pretrained(model_path())
    torch.manual_seed(0)
    problems = rows(generate_problems(4, seed=5))
    rollout = TransformersSampler(model, tokenizer, max_new_tokens=30)([row["prompt"] for row in problems], 4)
    prompts = [problems[group]["prompt"] for group in rollout.group_ids.tolist()]
    labels = classify_completions(rollout, prompts, tokenizer, classify)
    ended = rollout.completion_lengths < 30
    assert ended.any()
    assert not ended.all()
    assert all(labels[row][-1] == "format" for row in ended.nonzero().flatten().tolist()), "end of sequence has a class"
    information = torch.ones(rollout.completion_mask.shape)
    found = information_by_class(
        information, rollout.completion_mask, rollout.completion_mask, rollout.group_ids, labels
    )
    assert {"needed", "filler", "format"} <= set(found)
    assert all(estimate.value == 1 for estimate in found.values())
    assert dataclasses.asdict(found["needed"]) == {"value": 1.0, "standard_error": 0.0, "groups": 4}
