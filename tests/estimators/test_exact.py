"""Information by enumeration: against its definition, summed over completions one by one in float64."""

import dataclasses
import math
from collections import defaultdict

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from iapo import Rollout
from iapo.estimators import EarlyExitEntropy, ExactInformation, UnsupportedModelError
from iapo.estimators.exact import continuations
from iapo.rollout import collate
from iapo.testing.tabular import TabularLanguageModel, enumerate_completions

EOS, PROMPT = 0, (1, 0)
LIMIT = 1e-10
"""Nats, float64."""

READERS = {
    "whole": lambda ids: ids,
    "last": lambda ids: ids[-1],
    "last two": lambda ids: ids[-2:],
    "sum": lambda ids: sum(ids) % 3,
    "length": len,
}


def coarse(answer):
    """Merges answers into two."""
    return hash(answer) % 2


@st.composite
def worlds(draw, orders=(0, 1, 2, None)):
    """A model, where its completions are cut, and a reader of answers."""
    model = TabularLanguageModel(
        vocab_size=draw(st.integers(2, 3)),
        order=draw(st.sampled_from(orders)),
        seed=draw(st.integers(0, 2**20)),
        scale=draw(st.sampled_from([0.5, 1.0, 2.0])),
    )
    return model, draw(st.integers(1, 4)), draw(st.sampled_from(sorted(READERS)))


def rollout_of(completions, reasoning=None, padding=0) -> Rollout:
    """The completions as a rollout, padded by more than needed; ``reasoning`` tokens of each are probed (all)."""
    rollout = collate([PROMPT] * len(completions), completions, [0] * len(completions), 0, tokenizer=None)
    steps = torch.arange(rollout.completion_ids.shape[1])
    probed = rollout.completion_mask & (steps < (math.inf if reasoning is None else reasoning))
    left, right = (padding, 0), (0, padding)
    pad = torch.nn.functional.pad
    return Rollout(
        prompt_ids=pad(rollout.prompt_ids, left, value=1),
        prompt_mask=pad(rollout.prompt_mask, left),
        completion_ids=pad(rollout.completion_ids, right, value=1),
        completion_mask=pad(rollout.completion_mask, right),
        reasoning_mask=pad(probed, right),
        group_ids=rollout.group_ids,
    )


def expected_information(completions, information) -> dict[tuple[int, ...], float]:
    """``E[s_t | prefix]`` over the policy for every prefix that goes on."""
    sums, masses = defaultdict(float), defaultdict(float)
    for (ids, p), row in zip(completions, information.tolist(), strict=True):
        for t in range(len(ids)):
            sums[ids[:t]] += p * row[t]
            masses[ids[:t]] += p
    return {prefix: sums[prefix] / masses[prefix] for prefix in sums}


def conditional_information(completions, prefix, answer_of) -> float:
    """``I(y; o_t | prefix)`` by its definition."""
    t = len(prefix)
    inside = [(ids[t], answer_of(ids), p) for ids, p in completions if ids[:t] == prefix and len(ids) > t]
    total = sum(p for _, _, p in inside)
    joint, tokens, answers = defaultdict(float), defaultdict(float), defaultdict(float)
    for token, answer, p in inside:
        joint[token, answer] += p / total
        tokens[token] += p / total
        answers[answer] += p / total
    return sum(p * math.log(p / (tokens[token] * answers[y])) for (token, y), p in joint.items() if p > 0)


def entropy_after(completions, prefix, answer_of) -> float:
    masses = defaultdict(float)
    for ids, p in completions:
        if ids[: len(prefix)] == prefix:
            masses[answer_of(ids)] += p
    total = sum(masses.values())
    return -sum(p / total * math.log(p / total) for p in masses.values() if p > 0)


@given(world=worlds(), measure=st.sampled_from(["entropy", "likelihood"]), padding=st.integers(0, 2))
@settings(max_examples=25, deadline=None)
def test_expectation_is_conditional_mutual_information(world, measure, padding):
    model, limit, reader = world
    completions = enumerate_completions(model, PROMPT, EOS, limit)
    estimator = ExactInformation(READERS[reader], EOS, limit, measure)
    information = estimator(model, rollout_of([ids for ids, _ in completions], padding=padding))
    for prefix, found in expected_information(completions, information).items():
        assert found == pytest.approx(conditional_information(completions, prefix, READERS[reader]), abs=LIMIT)
        assert found >= -LIMIT


@given(world=worlds())
@settings(max_examples=15, deadline=None)
def test_no_answer_is_an_outcome_of_the_entropy(world):
    model, limit, reader = world

    def answer_of(ids):
        return None if len(ids) % 2 else READERS[reader](ids)

    completions = enumerate_completions(model, PROMPT, EOS, limit)
    rollout = rollout_of([ids for ids, _ in completions])
    information = ExactInformation(answer_of, EOS, limit)(model, rollout)
    for prefix, found in expected_information(completions, information).items():
        assert found == pytest.approx(conditional_information(completions, prefix, answer_of), abs=LIMIT)
    likelihood = ExactInformation(answer_of, EOS, limit, "likelihood").probe(model, rollout)
    for (ids, _), row in zip(completions, likelihood, strict=True):
        assert answer_of(ids) is not None or not row.any()


@given(world=worlds(), data=st.data())
@settings(max_examples=25, deadline=None)
def test_information_telescopes(world, data):
    model, limit, reader = world
    completions = enumerate_completions(model, PROMPT, EOS, limit)
    ids = data.draw(st.sampled_from(completions))[0]
    length = data.draw(st.integers(0, len(ids)))
    rollout = rollout_of([ids], reasoning=length)
    answer_of = READERS[reader]
    entropies = [entropy_after(completions, ids[:t], answer_of) for t in (0, length)]
    found = ExactInformation(answer_of, EOS, limit)(model, rollout).sum()
    assert float(found) == pytest.approx(entropies[0] - entropies[1], abs=LIMIT)
    masses = [
        sum(p for other, p in completions if other[:t] == ids[:t] and answer_of(other) == answer_of(ids))
        / sum(p for other, p in completions if other[:t] == ids[:t])
        for t in (0, length)
    ]
    found = ExactInformation(answer_of, EOS, limit, "likelihood")(model, rollout).sum()
    assert float(found) == pytest.approx(math.log(masses[1]) - math.log(masses[0]), abs=LIMIT)


@given(world=worlds())
@settings(max_examples=20, deadline=None)
def test_a_coarser_answer_is_told_less(world):
    """Data processing: merging answers never raises the expected information of a token."""
    model, limit, reader = world
    completions = enumerate_completions(model, PROMPT, EOS, limit)
    rollout = rollout_of([ids for ids, _ in completions])
    fine, merged = (
        expected_information(completions, ExactInformation(answer_of, EOS, limit)(model, rollout))
        for answer_of in (READERS[reader], lambda ids: coarse(READERS[reader](ids)))
    )
    assert all(merged[prefix] <= fine[prefix] + LIMIT for prefix in fine)


@given(world=worlds(), t=st.integers(0, 3), tail=st.lists(st.integers(0, 1), min_size=4, max_size=4))
@settings(max_examples=20, deadline=None)
def test_later_tokens_do_not_matter(world, t, tail):
    model, limit, reader = world
    ids = (1,) * limit
    other = (*ids[: min(t, limit)], *tail)[:limit]
    estimator = ExactInformation(READERS[reader], EOS, limit)
    seen = min(t, limit)
    # A completion ends with its first end of sequence.
    other = other[: other.index(EOS) + 1] if EOS in other else other
    first, second = (estimator(model, rollout_of([row]))[0, :seen] for row in (ids, other))
    torch.testing.assert_close(first, second, atol=0, rtol=0)


def test_tokens_that_the_model_ignores_told_nothing():
    """At order 0 the last token, the answer, is independent of the others; endless, so that only the limit stops it."""
    model = TabularLanguageModel(vocab_size=4, order=0, seed=3)
    with torch.no_grad():
        model.table[:, EOS] = -torch.inf
    information = ExactInformation(READERS["last"], EOS, 4)(model, rollout_of([(1, 2, 3, 1), (3, 3, 1, 2)]))
    torch.testing.assert_close(information[:, :3], torch.zeros(2, 3, dtype=torch.float64), atol=1e-14, rtol=0)
    probabilities = model.table[0].detach().softmax(0)[1:]
    assert float(information[0, 3]) == pytest.approx(float(-(probabilities * probabilities.log()).sum()), abs=LIMIT)


@given(world=worlds(orders=(1, 2)), old=st.sampled_from([(1, 1), (1, 2)]))
@settings(max_examples=15, deadline=None)
def test_tokens_older_than_the_order_do_not_matter(world, old):
    model, _, _ = world
    vocab = model.config.vocab_size
    rows = [(min(old[0], vocab - 1), 1, 1, 1), (min(old[1], vocab - 1), 1, 1, 1)]
    order = 1 if len(model.table) == vocab + 1 else 2
    probes = ExactInformation(READERS["last"], EOS, 4).probe(model, rollout_of(rows))
    torch.testing.assert_close(probes[0, 1 + order :], probes[1, 1 + order :], atol=0, rtol=0)


@given(world=worlds(), prefix=st.lists(st.integers(0, 1), max_size=3).map(tuple))
@settings(max_examples=25, deadline=None)
def test_continuations_are_the_completions_that_begin_with_the_prefix(world, prefix):
    model, limit, _ = world
    prefix = prefix[:limit]
    prefix = prefix[: prefix.index(EOS) + 1] if EOS in prefix else prefix
    with torch.no_grad():
        found = continuations(model, PROMPT, prefix, EOS, limit)
    assert math.fsum(math.exp(logp) for _, logp in found) == pytest.approx(1, abs=1e-12)
    inside = {ids: p for ids, p in enumerate_completions(model, PROMPT, EOS, limit) if ids[: len(prefix)] == prefix}
    total = math.fsum(inside.values())
    assert {ids for ids, _ in found} == set(inside)
    for ids, logp in found:
        assert math.exp(logp) == pytest.approx(inside[ids] / total, rel=1e-10)


def test_rows_order_and_a_span_in_the_middle():
    model, estimator = TabularLanguageModel(3, order=None, seed=5), ExactInformation(READERS["sum"], EOS, 4)
    rollout = rollout_of([(1, 2, 1, 2), (2, 0), (0,), (1, 1, 1, 0)], padding=1)
    whole = estimator(model, rollout)
    flipped = estimator(model, rollout.select(torch.tensor([3, 2, 1, 0])))
    torch.testing.assert_close(flipped.flip(0), whole[:, :4], atol=0, rtol=0)
    middle = rollout.reasoning_mask & (torch.arange(5) == 2)
    found = estimator(model, dataclasses.replace(rollout, reasoning_mask=middle))
    torch.testing.assert_close(found, whole.masked_fill(~middle, 0), atol=0, rtol=0)


def test_nothing_to_enumerate():
    model, estimator = TabularLanguageModel(3), ExactInformation(READERS["last"], EOS, 3)
    rollout = rollout_of([(1, 2, 1)])
    assert estimator(model, rollout.select(slice(0, 0))).shape[0] == 0
    nothing = dataclasses.replace(rollout, reasoning_mask=torch.zeros(1, 3, dtype=torch.bool))
    assert not dataclasses.replace(estimator, max_sequences=1)(model, nothing).any()


def test_training_mode_is_put_back():
    model = TabularLanguageModel(3).train()
    ExactInformation(READERS["last"], EOS, 2)(model, rollout_of([(1, 2)]))
    assert model.training


def test_too_many_continuations_are_counted_before_any_forward():
    model, rollout = TabularLanguageModel(3), rollout_of([(1, 2, 1)])
    count = len(enumerate_completions(model, PROMPT, EOS, 3))
    estimator = ExactInformation(READERS["last"], EOS, 3, max_sequences=count)
    assert estimator(model, rollout).any()
    model.forward = lambda **_: pytest.fail("a forward ran")
    with pytest.raises(ValueError, match=f"max_sequences.* {count} continuations"):
        dataclasses.replace(estimator, max_sequences=count - 1)(model, rollout)


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        ({"measure": "surprise"}, "measure"),
        ({"eos_id": -1}, "eos_id"),
        ({"max_new_tokens": 0}, "max_new_tokens"),
        ({"max_sequences": 0}, "max_sequences"),
    ],
)
def test_bad_parameters_are_named(arguments, name):
    with pytest.raises(ValueError, match=name):
        ExactInformation(**({"answer_of": len, "eos_id": 0, "max_new_tokens": 3} | arguments))


def test_bad_calls_are_named():
    model, rollout = TabularLanguageModel(3), rollout_of([(1, 2, 1)])
    with pytest.raises(ValueError, match="max_new_tokens: got 2, a prefix has 3"):
        ExactInformation(len, EOS, 2)(model, rollout)
    with pytest.raises(ValueError, match="eos_id: got 3"):
        ExactInformation(len, 3, 3)(model, rollout)
    unprompted = dataclasses.replace(rollout, prompt_mask=torch.zeros(1, 2, dtype=torch.bool))
    with pytest.raises(ValueError, match="prompt_ids"):
        ExactInformation(len, EOS, 3)(model, unprompted)
    with torch.no_grad():
        model.table[:, 2] = -torch.inf
    with pytest.raises(FloatingPointError, match="rows"):
        ExactInformation(READERS["whole"], EOS, 3, "likelihood")(model, rollout)


# The table itself.


@given(
    order=st.integers(0, 3),
    ids=st.lists(st.integers(0, 2), min_size=1, max_size=7),
    left=st.integers(0, 3),
    right=st.integers(0, 2),
    keep=st.integers(0, 3),
)
def test_logits_are_the_rows_of_the_last_tokens(order, ids, left, right, keep):
    model = TabularLanguageModel(3, order=order)
    padded = torch.tensor([[2] * left + ids + [1] * right])
    mask = torch.tensor([[0] * left + [1] * len(ids) + [0] * right])
    logits = model(input_ids=padded, attention_mask=mask).logits[0]
    for position in range(len(ids)):
        digits = [token + 1 for token in ids[: position + 1]][max(0, position + 1 - order) :]
        row = sum(digit * 4**place for place, digit in enumerate(reversed(digits)))
        torch.testing.assert_close(logits[left + position], model.table[row], atol=0, rtol=0)
    last = logits[left + len(ids) - 1]
    torch.testing.assert_close(logits[left + len(ids) :], last.expand(right, -1), atol=0, rtol=0)
    kept = model(input_ids=padded, attention_mask=mask, logits_to_keep=keep).logits[0]
    torch.testing.assert_close(kept, logits[-keep:], atol=0, rtol=0)
    index = torch.tensor([0, padded.shape[1] - 1])
    kept = model(input_ids=padded, attention_mask=mask, logits_to_keep=index).logits[0]
    torch.testing.assert_close(kept, logits[index], atol=0, rtol=0)


def test_the_hash_reads_the_whole_history():
    model = TabularLanguageModel(3)
    rows = torch.cartesian_prod(*[torch.arange(3)] * 6)
    last = model(input_ids=rows).logits[:, -1]
    assert len(last.unique(dim=0)) > 0.9 * len(rows)


def test_packed_estimators_refuse_a_table():
    model, rollout = TabularLanguageModel(3), rollout_of([(1, 2, 1)])
    with pytest.raises(UnsupportedModelError, match="TabularLanguageModel"):
        EarlyExitEntropy(postfix_ids=(1,))(model, rollout)
    with pytest.raises(ValueError, match="past_key_values"):
        model(input_ids=rollout.prompt_ids, past_key_values=object())


@pytest.mark.parametrize(
    ("arguments", "name"), [({"vocab_size": 0}, "vocab_size"), ({"order": -1}, "order"), ({"eos_token_id": 3}, "eos")]
)
def test_bad_tables_are_named(arguments, name):
    with pytest.raises(ValueError, match=name):
        TabularLanguageModel(**({"vocab_size": 3} | arguments))
