"""Estimators that ask about an answer, on rollouts with exits: against the model run on each text by itself."""

import dataclasses
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from models import tiny_model

from iapo import Rollout
from iapo.estimators import (
    AnswerEntropy,
    AnswerLikelihood,
    Calibrated,
    EarlyExitEntropy,
    MonteCarloInformation,
    OARPerturbation,
)
from iapo.estimators.packed import needed_probes
from iapo.rollout import ScriptedSampler
from iapo.testing import rollouts

UNUSED = (29, 30)
"""The estimators' own tokens, which a rollout with exits has no use for."""


@st.composite
def with_exits(draw: st.DrawFn) -> Rollout:
    """Rollouts whose exits have postfixes of several lengths, some beginning alike, and an answer in some rows."""
    rollout = draw(rollouts())
    batch = len(rollout)
    answered = rollout.answer_mask.any(1).tolist()
    begin = draw(st.lists(st.sampled_from([[4], [4, 5], [4, 5, 6], [7, 5]]), min_size=batch, max_size=batch))
    tail = draw(st.lists(st.lists(st.integers(0, 28), min_size=1, max_size=3), min_size=batch, max_size=batch))
    rows = [[*b, *t] if a else [] for b, t, a in zip(begin, tail, answered, strict=True)]
    width = max(1, *map(len, rows)) + draw(st.integers(0, 2))
    ids = torch.full((batch, width), draw(st.integers(0, 28)))
    scored = torch.zeros(batch, width, dtype=torch.bool)
    for row, tokens in enumerate(rows):
        ids[row, : len(tokens)] = torch.tensor(tokens, dtype=torch.long)
        scored[row, len(begin[row]) : len(tokens)] = True
    return dataclasses.replace(rollout, exit_ids=ids, exit_scored=scored)


def exit_of(rollout: Rollout, row: int) -> tuple[list[int], list[int]]:
    scored = rollout.exit_scored[row].nonzero().flatten().tolist()
    ids = rollout.exit_ids[row].tolist()
    return (ids[: scored[0]], ids[scored[0] : scored[-1] + 1]) if scored else ([], [])


def naive(model, rollout: Rollout, row: int, probe: int, before: list[int], scored: list[int]) -> float:
    """Log-likelihood of ``scored`` after prompt, ``probe`` completion tokens and ``before``, without padding."""
    prompt = rollout.prompt_ids[row][rollout.prompt_mask[row]].tolist()
    prefix = [*prompt, *rollout.completion_ids[row, :probe].tolist(), *before]
    with torch.no_grad():
        logp = model(torch.tensor([[*prefix, *scored]])).logits[0].double().log_softmax(-1)
    return sum(float(logp[len(prefix) + i - 1, token]) for i, token in enumerate(scored))


@settings(max_examples=25)
@given(with_exits(), st.sampled_from([None, 1, 2]))
def test_an_early_exit_is_asked_for_as_the_exit_does(rollout, chunk):
    model = tiny_model("llama")
    found = EarlyExitEntropy(UNUSED, chunk=chunk).probe(model, rollout)
    expected = torch.zeros_like(found, dtype=torch.float64)
    for row, probe in needed_probes(rollout).nonzero().tolist():
        prompt = rollout.prompt_ids[row][rollout.prompt_mask[row]].tolist()
        before = exit_of(rollout, row)[0] or list(UNUSED)
        ids = torch.tensor([[*prompt, *rollout.completion_ids[row, :probe].tolist(), *before]])
        with torch.no_grad():
            logp = model(ids).logits[0, -1].double().log_softmax(-1)
        expected[row, probe] = -(logp.exp() * logp).sum()
    torch.testing.assert_close(found.double(), expected, atol=2e-5, rtol=0)


def test_sampled_answers_are_asked_for_as_the_exit_does():
    """The exit of row 0 is 4, 5 | 8, 9 (a tag's end and 6 in one token 8), that of row 1 is missing."""
    prompts: list[list[int]] = []
    answers = [(8, 9), (6, 7), (8, 8), (3, 9)]

    class Noting(ScriptedSampler):
        def sample(self, prompt_ids, group_size):
            prompts.extend(list(prompt) for prompt in prompt_ids)
            return super().sample(prompt_ids, group_size)

    rollout = ScriptedSampler({(1, 2): [[3], [3]]})([[1, 2]], group_size=2)
    rollout = dataclasses.replace(
        rollout,
        answer_ids=torch.tensor([[6], [0]]),
        answer_mask=torch.tensor([[True], [False]]),
        exit_ids=torch.tensor([[4, 5, 8, 9], [0, 0, 0, 0]]),
        exit_scored=torch.tensor([[False, False, True, True], [False] * 4]),
    )
    sampler = Noting(lambda prompt, index: list(answers[index % 4]))
    estimator = MonteCarloInformation(
        lambda model: sampler, 4, "forced", postfix_ids=UNUSED, closing_ids=(9,), max_answer_tokens=2
    )
    counts = estimator.distributions(None, rollout).probes
    assert prompts == [[1, 2, 4, 5], [1, 2, 3, 4, 5], [1, 2, *UNUSED], [1, 2, 3, *UNUSED]]
    assert counts[0, 0] == {(6,): 1, (6, 7): 1, (8, 8): 1, (3,): 1}, "8, 9 is the row's own answer"
    assert counts[1, 1] == {(8,): 1, (6, 7): 1, (8, 8): 1, (3,): 1}


@settings(max_examples=25)
@given(with_exits(), st.sampled_from([None, 1, 2]))
def test_likelihood_is_that_of_the_exit(rollout, chunk):
    model = tiny_model("llama")
    found = AnswerLikelihood(UNUSED, UNUSED, chunk=chunk).probe(model, rollout)
    expected = torch.zeros_like(found, dtype=torch.float64)
    for row, probe in needed_probes(rollout).nonzero().tolist():
        before, scored = exit_of(rollout, row)
        if scored:
            expected[row, probe] = naive(model, rollout, row, probe, before, scored)
    torch.testing.assert_close(found.double(), expected, atol=2e-5, rtol=0)


@settings(max_examples=25)
@given(with_exits(), st.booleans())
def test_entropy_is_over_the_exits_of_a_group(rollout, fixed):
    model, estimator = tiny_model("llama"), AnswerEntropy(UNUSED, closing_ids=UNUSED)
    asked = estimator.with_groups(rollout) if fixed else rollout
    found = estimator.probe(model, asked)
    missed = estimator.missed_mass(model, asked, needed_probes(rollout))
    expected, rest = torch.zeros(2, *found.shape, dtype=torch.float64)
    for row, probe in needed_probes(rollout).nonzero().tolist():
        exits: dict[tuple, tuple] = {}
        for other in (rollout.group_ids == rollout.group_ids[row]).nonzero().flatten().tolist():
            answer = tuple(rollout.answer_ids[other][rollout.answer_mask[other]].tolist())
            if answer:
                exits.setdefault(answer, exit_of(rollout, other))
        if not exits:
            continue
        texts = [before + scored for before, scored in exits.values()]
        shared = 0
        while shared < min(len(before) for before, _ in exits.values()) and len({text[shared] for text in texts}) == 1:
            shared += 1
        shared = max(1, shared)
        logs = [naive(model, rollout, row, probe, text[:shared], text[shared:]) for text in texts]
        total = math.fsum(map(math.exp, logs))
        shares = [math.exp(log) / total for log in logs]
        expected[row, probe] = -sum(share * math.log(share) for share in shares if share > 0)
        rest[row, probe] = 1 - total
    torch.testing.assert_close(found.double(), expected, atol=2e-5, rtol=0)
    torch.testing.assert_close(missed.double(), rest, atol=2e-5, rtol=0)


@settings(max_examples=10)
@given(with_exits())
def test_influence_and_calibration_ask_with_the_exit(rollout):
    model = tiny_model("llama")
    likelihood = AnswerLikelihood(UNUSED, UNUSED)
    plain = likelihood.probe(model, rollout)
    torch.testing.assert_close(Calibrated(likelihood, model).probe(model, rollout), plain, atol=2e-5, rtol=0)
    found = OARPerturbation(UNUSED, replacement_id=3, measure="likelihood")(model, rollout)
    row = 0
    places = rollout.reasoning_mask[row].nonzero().flatten().tolist()
    before, scored = exit_of(rollout, row)
    if not places or not scored:
        assert not found[row].any()
        return
    last = places[-1] + 1
    whole = naive(model, rollout, row, last, before, scored)
    changed = rollout.completion_ids.clone()
    changed[row, places[0]] = 3
    other = naive(model, dataclasses.replace(rollout, completion_ids=changed), row, last, before, scored)
    assert float(found[row, places[0]]) == pytest.approx(whole - other, abs=2e-5)


def test_an_exit_must_begin_before_the_answer():
    ids, mask = torch.ones(1, 2, dtype=torch.long), torch.ones(1, 2, dtype=torch.bool)
    rollout = Rollout(ids, mask, ids, mask, mask, ids[:, 0], None, ids, mask, exit_ids=ids, exit_scored=mask)
    with pytest.raises(ValueError, match="exit_scored: the first token of row 0 is scored"):
        AnswerLikelihood(UNUSED)(tiny_model("llama"), rollout)
    outside = dataclasses.replace(rollout, exit_ids=torch.tensor([[1, 999]]), exit_scored=torch.tensor([[False, True]]))
    with pytest.raises(ValueError, match=r"rollout.exit_ids: got token id 999"):
        AnswerLikelihood(UNUSED)(tiny_model("llama"), outside)
    with pytest.raises(ValueError, match=r"exit_scored: rows \[0\] have an answer and no exit"):
        dataclasses.replace(rollout, exit_scored=torch.zeros(1, 2, dtype=torch.bool))
    with pytest.raises(ValueError, match="exit_ids and exit_scored: give both or neither, got only exit_ids"):
        dataclasses.replace(rollout, exit_scored=None)
    gone = dataclasses.replace(rollout, answer_mask=torch.zeros(1, 2, dtype=torch.bool))
    assert not AnswerLikelihood(UNUSED)(tiny_model("llama"), gone).any(), "an answer taken away is not asked about"
