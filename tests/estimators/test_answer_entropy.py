"""Entropy over whole answers: against every candidate run through the model alone, and its degenerate cases."""

import dataclasses
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from models import Bent, tiny_model
from ragged_rollouts import rollout as ragged_rollout
from tolerances import rounding

from iapo import Rollout
from iapo.estimators import AnswerEntropy, UnsupportedModelError
from iapo.estimators.candidates import known_candidates
from iapo.estimators.packed import Block, needed_probes, probe_prefixes
from iapo.policy.logprobs import entropy
from iapo.testing import rollouts

POSTFIX = (4, 5, 6)

candidates = st.one_of(
    st.none(),
    st.lists(st.lists(st.integers(0, 30), min_size=1, max_size=3).map(tuple), min_size=1, max_size=4, unique=True).map(
        tuple
    ),
)


def naive_likelihoods_at(model, rollout: Rollout, row: int, t: int, answers) -> list[float]:
    """Log-likelihood of each answer after ``t`` completion tokens, each run through the model by itself, unpadded."""
    prompt = rollout.prompt_ids[row][rollout.prompt_mask[row]].tolist()
    prefix = prompt + rollout.completion_ids[row, :t].tolist() + list(POSTFIX)
    found = []
    for answer in answers:
        with torch.no_grad():
            logp = model(torch.tensor([prefix + list(answer)])).logits[0].double().log_softmax(-1)
        found.append(sum(float(logp[len(prefix) + i - 1, token]) for i, token in enumerate(answer)))
    return found


def naive_groups(rollout: Rollout) -> list[list[tuple[int, ...]]]:
    own = [tuple(ids[mask].tolist()) for ids, mask in zip(rollout.answer_ids, rollout.answer_mask, strict=True)]
    groups = rollout.group_ids.tolist()
    return [sorted({a for a, g in zip(own, groups, strict=True) if g == group and a}) for group in groups]


def naive_likelihoods(model, rollout: Rollout, answers, closing) -> dict[tuple[int, int], list[float]]:
    """The log-likelihood of each row's closed answers, by row and probe."""
    closed = [[(*answer, *closing) for answer in own] for own in answers]
    needed = needed_probes(rollout).nonzero().tolist()
    return {(row, t): naive_likelihoods_at(model, rollout, row, t, closed[row]) for row, t in needed if closed[row]}


def values_of(likelihoods, rollout: Rollout, value) -> torch.Tensor:
    probes = torch.zeros(needed_probes(rollout).shape, dtype=torch.float64)
    for place, logs in likelihoods.items():
        probes[place] = value([math.exp(log) for log in logs])
    return probes


def naive_entropy(likelihoods: list[float]) -> float:
    shares = [p / sum(likelihoods) for p in likelihoods]
    return -sum(p * math.log(p) for p in shares if p > 0)


@given(
    rollout=rollouts(max_token=7),
    answers=candidates,
    closing=st.sampled_from([(), (7,), (7, 8)]),
    chunk=st.one_of(st.none(), st.integers(1, 5)),
    family=st.sampled_from(["llama", "gpt2", "qwen3"]),
)
@settings(max_examples=30, deadline=None)
def test_entropy_and_missed_mass_are_exact(rollout, answers, closing, chunk, family):
    model = tiny_model(family)
    estimator = AnswerEntropy(POSTFIX, answers, closing, chunk)
    sets = naive_groups(rollout) if answers is None else [answers] * len(rollout)
    likelihoods = naive_likelihoods(model, rollout, sets, closing)
    # Differences of these log-likelihoods decide, however small the entropy.
    atol = rounding(model, torch.tensor([log for logs in likelihoods.values() for log in logs]))
    expected = values_of(likelihoods, rollout, naive_entropy)
    torch.testing.assert_close(estimator.probe(model, rollout).double(), expected, atol=atol, rtol=0)
    missed = estimator.missed_mass(model, rollout, needed_probes(rollout)).double()
    expected = values_of(likelihoods, rollout, lambda found: 1 - sum(found))
    torch.testing.assert_close(missed, expected, atol=atol, rtol=0)


@given(rollout=rollouts(), tokens=st.lists(st.integers(0, 30), min_size=1, max_size=6, unique=True))
@settings(max_examples=20, deadline=None)
def test_single_tokens_give_the_entropy_within_the_set(rollout, tokens):
    """The entropy of the distribution of `EarlyExitEntropy`, restricted to the candidates."""
    model = tiny_model("llama").double()
    found = AnswerEntropy(POSTFIX, tuple((token,) for token in tokens)).probe(model, rollout)
    block = Block.chain(torch.tensor(POSTFIX).expand(len(rollout), -1), kept=1)
    expected = probe_prefixes(
        model, rollout, block, lambda logits: entropy(logits[:, :, 0, tokens]), needed_probes(rollout)
    )
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=0, check_dtype=False)
    assert (found <= math.log(len(tokens)) + 1e-6).all()


@given(rollout=rollouts(), answer=st.lists(st.integers(0, 30), min_size=1, max_size=3).map(tuple))
@settings(max_examples=10, deadline=None)
def test_one_candidate_has_no_entropy(rollout, answer):
    assert not AnswerEntropy(POSTFIX, (answer,)).probe(tiny_model("llama"), rollout).any()


@given(rollout=rollouts())
@settings(max_examples=20, deadline=None)
def test_groups_keep_their_own_answers(rollout):
    known = known_candidates(rollout)
    assert [sorted(known[group]) for group in rollout.group_ids.tolist()] == naive_groups(rollout)


def test_nothing_to_ask_about():
    rollout = Rollout(
        prompt_ids=torch.ones(1, 2, dtype=torch.long),
        prompt_mask=torch.ones(1, 2, dtype=torch.bool),
        completion_ids=torch.ones(1, 3, dtype=torch.long),
        completion_mask=torch.ones(1, 3, dtype=torch.bool),
        reasoning_mask=torch.ones(1, 3, dtype=torch.bool),
        group_ids=torch.zeros(1, dtype=torch.long),
        answer_ids=torch.ones(1, 1, dtype=torch.long),
        answer_mask=torch.zeros(1, 1, dtype=torch.bool),
    )
    model, estimator = tiny_model("llama"), AnswerEntropy(POSTFIX)
    assert not estimator(model, rollout).any()
    assert not estimator.missed_mass(model, rollout, needed_probes(rollout)).any()
    assert estimator(model, rollout.select(slice(0, 0))).shape[0] == 0
    with pytest.raises(ValueError, match="answer_ids"):
        estimator(model, dataclasses.replace(rollout, answer_ids=None, answer_mask=None))


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        ({"postfix_ids": ()}, "postfix_ids"),
        ({"candidates": ()}, "candidates"),
        ({"candidates": ((1,), ())}, "candidates"),
        ({"candidates": ((1,), (1,))}, "distinct"),
        ({"closing_ids": (-1,)}, "closing_ids"),
        ({"chunk": 0}, "chunk"),
    ],
)
def test_bad_parameters_are_named(arguments, name):
    with pytest.raises(ValueError, match=name):
        AnswerEntropy(**({"postfix_ids": (4,)} | arguments))


def test_a_model_that_ignores_positions_is_refused():
    """Unless told not to look."""

    def without_positions(inputs):
        return {name: value for name, value in inputs.items() if name != "position_ids"}

    model, estimator = Bent(tiny_model("llama"), without_positions), AnswerEntropy((4, 5), candidates=((8,), (9,)))
    with pytest.raises(UnsupportedModelError, match="differs from the naive one"):
        estimator(model, ragged_rollout())
    dataclasses.replace(estimator, guard=False)(model, ragged_rollout())
