"""Information by enumeration: against its definition, summed over completions one by one in float64."""

import dataclasses
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from models import tiny_model

from iapo import Rollout
from iapo.estimators import ExactInformation
from iapo.estimators.exact import continuations
from iapo.rollout import collate
from iapo.testing.information import (
    EOS,
    PROMPT,
    READERS,
    conditional_information,
    entropy_after,
    expected_information,
    worlds,
)
from iapo.testing.tabular import TabularLanguageModel, enumerate_completions

LIMIT = 1e-10
"""Nats, float64."""


def rollout_of(completions, reasoning=None) -> Rollout:
    """The completions as a rollout, of each of which the first ``reasoning`` tokens are probed (``None``: all)."""
    rollout = collate([PROMPT] * len(completions), completions, [0] * len(completions), 0, tokenizer=None)
    steps = torch.arange(rollout.completion_ids.shape[1])
    probed = rollout.completion_mask & (steps < (math.inf if reasoning is None else reasoning))
    return dataclasses.replace(rollout, reasoning_mask=probed)


@given(world=worlds())
@settings(max_examples=15, deadline=None)
def test_no_answer_is_an_outcome_of_the_entropy(world):
    model, limit, reader = world.model, world.limit, world.reader

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
def test_spans_have_the_information_of_the_definition(world, data):
    model, limit, reader, completions = world.model, world.limit, world.reader, world.completions
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


@given(world=worlds(orders=(1, 2)), old=st.sampled_from([(1, 1), (1, 2)]))
@settings(max_examples=15, deadline=None)
def test_tokens_older_than_the_order_do_not_matter(world, old):
    model = world.model
    vocab = model.config.vocab_size
    rows = [(min(old[0], vocab - 1), 1, 1, 1), (min(old[1], vocab - 1), 1, 1, 1)]
    order = 1 if len(model.table) == vocab + 1 else 2
    probes = ExactInformation(READERS["last"], EOS, 4).probe(model, rollout_of(rows))
    torch.testing.assert_close(probes[0, 1 + order :], probes[1, 1 + order :], atol=0, rtol=0)


@given(world=worlds(), prefix=st.lists(st.integers(0, 1), max_size=3).map(tuple))
@settings(max_examples=25, deadline=None)
def test_continuations_begin_with_the_prefix(world, prefix):
    model, limit = world.model, world.limit
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


def test_what_the_model_rules_out_has_no_part_in_the_entropy():
    model, answer_of = TabularLanguageModel(3), READERS["last"]
    with torch.no_grad():
        model.table[:, 2] = -torch.inf
    completions = enumerate_completions(model, PROMPT, EOS, 3)
    assert any(p == 0 and answer_of(ids) == 2 for ids, p in completions)
    expected = [entropy_after(completions, (1,) * t, answer_of) for t in range(4)]
    found = ExactInformation(answer_of, EOS, 3).probe(model, rollout_of([(1, 1, 1)]))
    torch.testing.assert_close(found, torch.tensor([expected], dtype=torch.float64), atol=LIMIT, rtol=0)


def test_nothing_to_enumerate():
    model, estimator = TabularLanguageModel(3), ExactInformation(READERS["last"], EOS, 3)
    rollout = rollout_of([(1, 2, 1)])
    assert estimator(model, rollout.select(slice(0, 0))).shape[0] == 0
    nothing = dataclasses.replace(rollout, reasoning_mask=torch.zeros(1, 3, dtype=torch.bool))
    assert not dataclasses.replace(estimator, max_sequences=1)(model, nothing).any()


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


def test_completions_beyond_the_positions_are_refused():
    model, rollout = tiny_model("gpt2"), rollout_of([[3, 4]])
    model.config.n_positions = len(PROMPT) + 1
    assert ExactInformation(tuple, EOS, 2).probe(model, rollout).isfinite().all()
    model.config.n_positions = len(PROMPT)
    with pytest.raises(ValueError, match=f"take {len(PROMPT) + 1} positions, the model has {len(PROMPT)} "):
        ExactInformation(tuple, EOS, 2).probe(model, rollout)
