"""Sampled truth: counts read right, and their statistics against enumeration and against theory."""

import dataclasses
import math
import statistics
from collections import Counter
from collections.abc import Callable, Hashable
from dataclasses import dataclass

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import LlamaForCausalLM

from iapo import Rollout, Sampler
from iapo.embedded import generate_problems, model_path
from iapo.estimators import AnswerCounts, ExactInformation, MonteCarloInformation
from iapo.estimators.answer_counts import (
    entropy_error,
    log_likelihood_error,
    miller_madow,
    plug_in_entropy,
    smoothed_log_likelihood,
)
from iapo.estimators.packed import needed_probes
from iapo.rollout import ScriptedSampler, TransformersSampler, collate, with_answers
from iapo.testing import check_information
from iapo.testing.information import PROMPT as WORLD_PROMPT
from iapo.testing.tabular import TabularLanguageModel, enumerate_completions

EOS, PROMPT, LENGTH = 0, (1, 3), 4


def read(completion: tuple[int, ...]) -> int | None:
    """The answer of a whole completion of `LENGTH` tokens or less: its last token, none if that is 1."""
    return None if completion[-1] == 1 else completion[-1]


@dataclass(frozen=True, eq=False)
class LoopSampler(Sampler):
    """Samples a table token by token until a text has ``width`` tokens, rows in no order, and reads answers."""

    model: TabularLanguageModel
    width: int
    seed: int
    answer_of: Callable[[tuple[int, ...]], Hashable | None] = read

    def sample(self, prompts, group_size):
        generator = torch.Generator().manual_seed(self.seed)
        groups = torch.arange(len(prompts)).repeat(group_size)
        groups = groups[torch.randperm(len(groups), generator=generator)].tolist()
        lengths = torch.tensor([len(prompts[group]) for group in groups])
        widest = int(lengths.max())
        ids = torch.tensor([[2] * (widest - len(prompts[group])) + list(prompts[group]) for group in groups])
        mask = torch.arange(widest) >= widest - lengths[:, None]
        for _ in range(self.width - int(lengths.min())):
            with torch.no_grad():
                logits = self.model(input_ids=ids, attention_mask=mask.long(), logits_to_keep=1).logits[:, -1]
            ids = torch.cat([ids, torch.multinomial(logits.softmax(-1), 1, generator=generator)], 1)
            mask = torch.nn.functional.pad(mask, (0, 1), value=True)
        rows = []
        for row, length in zip(ids[:, widest:].tolist(), lengths.tolist(), strict=True):
            row = row[: self.width - length]
            rows.append(row[: row.index(EOS) + 1] if EOS in row else row)
        begun = [tuple(prompts[group][len(PROMPT) :]) for group in groups]
        rows = [[] if EOS in before else row for before, row in zip(begun, rows, strict=True)]
        answers = [self.answer_of(before + tuple(row)) for before, row in zip(begun, rows, strict=True)]
        rollout = collate([list(prompts[group]) for group in groups], rows, groups, 0, tokenizer=None)
        return with_answers(rollout, [as_ids(answer) for answer in answers])


def as_ids(answer: Hashable | None) -> list[int]:
    return [] if answer is None else list(answer) if isinstance(answer, tuple) else [answer]


def rollout_of(completions, reasoning: int, padding: int = 2) -> Rollout:
    """Completions of the table, their first tokens probed, their own answers marked, the prompt padded."""
    padded = [[2] * padding + list(PROMPT)] * len(completions)
    rollout = collate(padded, completions, [0] * len(completions), 0, tokenizer=None)
    rollout = dataclasses.replace(
        rollout,
        prompt_mask=rollout.prompt_mask & (torch.arange(padding + len(PROMPT)) >= padding),
        reasoning_mask=rollout.completion_mask & (torch.arange(rollout.completion_ids.shape[1]) < reasoning),
    )
    answers = [read(tuple(completion)) for completion in completions]
    return with_answers(rollout, [as_ids(answer) for answer in answers])


COMPLETIONS = [(1, 2, 3, 2), (2, 2, 3, 3), (3, 1, 1, 0), (3, 3, 2, 1)]


@pytest.mark.parametrize("measure", ["entropy", "likelihood"])
@pytest.mark.parametrize("max_prompts", [None, 5])
def test_continued_answers_converge_to_the_exact_values(measure, max_prompts):
    model, rollout = TabularLanguageModel(4, seed=1, scale=0.7), rollout_of(COMPLETIONS, reasoning=3)
    estimator = MonteCarloInformation(
        lambda given: LoopSampler(given, len(PROMPT) + LENGTH, seed=2), 3000, measure=measure, max_prompts=max_prompts
    )
    truth = ExactInformation(read, EOS, LENGTH, measure).probe(model, rollout)
    at = needed_probes(rollout)
    if measure == "likelihood":
        at &= rollout.answer_mask.any(1)[:, None]
    counts = estimator.distributions(model, rollout, at)
    values, errors = estimator.values(counts, rollout), estimator.standard_errors(counts, rollout)
    assert ((values - truth).abs() <= 4 * errors)[at].all()
    assert (errors[at & (truth != 0)] < 0.1).all()
    assert not values[~at].any()
    torch.testing.assert_close(estimator.probe(model, rollout).double(), values, atol=1e-6, rtol=0)
    information = estimator(model, rollout)
    assert estimator.information_sign == {"entropy": -1, "likelihood": 1}[measure]
    expected = ExactInformation(read, EOS, LENGTH, measure)(model, rollout)
    noise = (errors[:, 1:].square() + errors[:, :-1].square()).sqrt()
    assert ((information - expected).abs() <= 4 * noise + 1e-6)[rollout.reasoning_mask].all()
    if measure == "likelihood":
        assert not information[3].any(), "the last completion has no answer"


@pytest.mark.parametrize("measure", ["entropy", "likelihood"])
def test_forced_answers_converge_to_the_exact_values(measure):
    """The answer after a postfix, up to a closing token (3) or the end of sequence, read off the table."""
    model = TabularLanguageModel(4, seed=4, scale=0.7)
    rollout = with_answers(rollout_of([(1, 2, 1), (2, 2, 2)], reasoning=3), [[2], [1, 2]])
    postfix, most = (3, 1), 3
    estimator = MonteCarloInformation(
        lambda given: LoopSampler(given, width=len(PROMPT) + 3 + len(postfix) + most, seed=5),
        samples=4000,
        answers="forced",
        measure=measure,
        postfix_ids=postfix,
        closing_ids=(3,),
        eos_ids=(EOS,),
        max_answer_tokens=most,
    )
    counts = estimator.distributions(model, rollout)
    values, errors = estimator.values(counts, rollout), estimator.standard_errors(counts, rollout)
    own = [(2,), (1, 2)]
    for row, t in needed_probes(rollout).nonzero().tolist():
        text = (*PROMPT, *rollout.completion_ids[row, :t].tolist(), *postfix)
        masses = Counter()
        for ids, p in enumerate_completions(model, text, EOS, most):
            ends = [place for place, token in enumerate(ids) if token in (EOS, 3)]
            masses[ids[: ends[0]] if ends else ids] += p
        truth = -sum(p * math.log(p) for p in masses.values()) if measure == "entropy" else math.log(masses[own[row]])
        assert abs(float(values[row, t]) - truth) <= 4 * float(errors[row, t])
        assert float(errors[row, t]) < 0.15


def test_every_prefix_is_asked_for_once_without_padding():
    asked = []

    def complete(prompt, index):
        asked.append(prompt)
        return [[7, 7, 5, 6, 9], [5, 7, 5, 6], [5], [8, 3, 7]][index]

    rollout = collate([[9, 1], [1]], [[4, 3, 2], [2, 4]], [0, 1], 0, tokenizer=None)
    rollout = dataclasses.replace(rollout, reasoning_mask=torch.tensor([[False, True, False], [True, True, False]]))
    estimator = MonteCarloInformation(
        lambda model: ScriptedSampler(complete), 4, "forced", postfix_ids=(8, 9), closing_ids=(5, 6), eos_ids=(3,),
        max_answer_tokens=4, max_prompts=2,
    )  # fmt: skip
    counts = estimator.distributions(torch.nn.Identity(), rollout)
    prompts = [(9, 1, 4), (9, 1, 4, 3), (1,), (1, 2), (1, 2, 4)]
    assert [tuple(prompt) for prompt in asked] == [(*prompt, 8, 9) for prompt in prompts for _ in range(4)]
    assert set(counts.probes) == {(0, 1), (0, 2), (1, 0), (1, 1), (1, 2)}
    assert counts.shape == (2, 4)
    assert all(found == {(7, 7): 1, (5, 7): 1, (5,): 1, (8,): 1} for found in counts.probes.values())
    cut = dataclasses.replace(estimator, max_answer_tokens=3).distributions(torch.nn.Identity(), rollout)
    assert cut.probes[0, 1] == {(7, 7, 5): 1, (5, 7, 5): 1, (5,): 1, (8,): 1}
    one = torch.zeros(2, 4, dtype=torch.bool).index_put((torch.tensor(1), torch.tensor(2)), torch.tensor(True))
    assert set(estimator.distributions(torch.nn.Identity(), rollout, one).probes) == {(1, 2)}
    for wrong in (one[:, :3], torch.ones(2, 4, dtype=torch.bool)):
        with pytest.raises(ValueError, match="at:"):
            estimator.distributions(torch.nn.Identity(), rollout, wrong)


def test_the_embedded_model_goes_on_to_its_own_answer(embedded_tokenizer):
    """From the end of the reasoning nothing is left to find out; from its beginning something is."""
    model = LlamaForCausalLM.from_pretrained(model_path()).eval()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        sampler = TransformersSampler(model, embedded_tokenizer, max_new_tokens=160)
        rollout = sampler([problem.prompt for problem in generate_problems(4, seed=0)], 1)
        ends = rollout.reasoning_mask.long().cumsum(1).argmax(1)
        answered = rollout.answer_mask.any(1)
        assert answered.any()
        first_and_last = torch.zeros(needed_probes(rollout).shape, dtype=torch.bool)
        first_and_last[torch.arange(4), ends + 1] = True
        first_and_last[:, 0] = True
        estimator = MonteCarloInformation(
            lambda given: dataclasses.replace(sampler, model=given), 32, measure="likelihood"
        )
        counts = estimator.distributions(model, rollout, first_and_last)
    own = estimator.values(counts, rollout)
    last = own[torch.arange(4), ends + 1]
    assert (last[answered] > math.log(0.8)).all()
    assert (counts.entropies()[:, 0] >= 0).all()
    assert not own[~answered].any()


def draws(probabilities, n: int, repetitions: int, seed: int) -> list[Counter]:
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.multinomial(torch.tensor(probabilities).repeat(repetitions, 1), n, True, generator=generator)
    return [Counter((answer,) for answer in row) for row in drawn.tolist()]


DISTRIBUTIONS = [[0.4, 0.3, 0.2, 0.1], [0.125] * 8, [0.85, 0.1, 0.05]]


@pytest.mark.parametrize("probabilities", DISTRIBUTIONS)
def test_miller_madow_removes_most_of_the_bias(probabilities):
    truth = -sum(p * math.log(p) for p in probabilities)
    drawn = draws(probabilities, n=40, repetitions=3000, seed=1)
    plain = statistics.fmean(map(plug_in_entropy, drawn)) - truth
    corrected = statistics.fmean(map(miller_madow, drawn)) - truth
    assert plain == pytest.approx(-(len(probabilities) - 1) / 80, rel=0.3)
    assert abs(corrected) < abs(plain) / 4


@pytest.mark.parametrize("probabilities", DISTRIBUTIONS)
def test_standard_errors_are_the_spread_over_repetitions(probabilities):
    drawn = draws(probabilities, n=200, repetitions=2000, seed=2)
    spread = statistics.stdev(map(miller_madow, drawn))
    ratio = statistics.fmean(map(entropy_error, drawn)) / spread
    assert 0.9 < ratio < (1.5 if len(set(probabilities)) == 1 else 1.12), "cautious where the first order vanishes"
    for answer, p in enumerate(probabilities):
        found = [smoothed_log_likelihood(counts, (answer,)) for counts in drawn]
        errors = statistics.fmean(log_likelihood_error(counts, (answer,)) for counts in drawn)
        assert errors == pytest.approx(statistics.stdev(found), rel=0.12)
        assert abs(statistics.fmean(found) - math.log(p)) < 0.25 * errors


@given(counts=st.dictionaries(st.tuples(st.integers(0, 5)), st.integers(1, 50), min_size=1))
def test_statistics_of_counts(counts):
    n = sum(counts.values())
    shares = [count / n for count in counts.values()]
    plain = -sum(share * math.log(share) for share in shares)
    assert plug_in_entropy(counts) == pytest.approx(plain, abs=1e-12)
    assert miller_madow(counts) == pytest.approx(plain + (len(counts) - 1) / (2 * n), abs=1e-12)
    assert (entropy_error(counts) > 0) == (len(counts) > 1)
    for answer in [*counts, (9,)]:
        p = (counts.get(answer, 0) + 0.5) / (n + 1)
        assert smoothed_log_likelihood(counts, answer) == pytest.approx(math.log(p), abs=1e-12)
        assert log_likelihood_error(counts, answer) == pytest.approx(math.sqrt((1 - p) / (n * p)), rel=1e-9)


def test_counts_are_laid_out_by_row_and_probe():
    counts = AnswerCounts({(0, 1): {(5,): 2, (): 2}, (1, 0): {(5,): 4}}, (2, 3))
    own = [(5,), ()]
    assert counts.entropies().nonzero().tolist() == [[0, 1]]
    assert counts.entropy_errors().nonzero().tolist() == [[0, 1]]
    assert counts.log_likelihoods(own)[0, 1] == pytest.approx(math.log(2.5 / 5))
    assert counts.log_likelihoods(own).nonzero().tolist() == [[0, 1]], "a row without an answer has value 0"
    assert counts.log_likelihood_errors(own).nonzero().tolist() == [[0, 1]]


def test_nothing_to_sample():
    def refuse(model):
        raise AssertionError("the sampler of an empty batch was called")

    rollout = rollout_of([(1, 2, 3, 1)], reasoning=3)
    estimator = MonteCarloInformation(lambda model: ScriptedSampler(refuse), 4)
    assert estimator(torch.nn.Identity(), rollout.select(slice(0, 0))).shape[0] == 0
    nothing = dataclasses.replace(rollout, reasoning_mask=torch.zeros(1, 4, dtype=torch.bool))
    assert not estimator(torch.nn.Identity(), nothing).any()
    assert not dataclasses.replace(estimator, measure="likelihood")(torch.nn.Identity(), rollout).any()


def test_answers_that_are_not_marked():
    rollout = rollout_of([(1, 2, 3, 2)], reasoning=3)
    estimator = MonteCarloInformation(lambda model: ScriptedSampler(lambda prompt, index: [1]), 4)
    with pytest.raises(ValueError, match="sampler returned: want answer_ids"):
        estimator(torch.nn.Identity(), rollout)
    unmarked = dataclasses.replace(rollout, answer_ids=None, answer_mask=None)
    with pytest.raises(ValueError, match="rollout: want answer_ids"):
        dataclasses.replace(estimator, measure="likelihood")(torch.nn.Identity(), unmarked)


FORCED = {"answers": "forced", "postfix_ids": (4,), "max_answer_tokens": 2}


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        ({"answers": "guessed"}, "answers"),
        ({"measure": "surprise"}, "measure"),
        ({"samples": 0}, "samples"),
        ({"max_prompts": 0}, "max_prompts"),
        ({"postfix_ids": (4,)}, "postfix_ids"),
        ({"closing_ids": (4,)}, "closing_ids"),
        ({"eos_ids": (4,)}, "eos_ids"),
        ({"max_answer_tokens": 4}, "max_answer_tokens"),
        (FORCED | {"postfix_ids": ()}, "postfix_ids"),
        (FORCED | {"closing_ids": (-1,)}, "closing_ids"),
        (FORCED | {"eos_ids": [2]}, "eos_ids"),
        (FORCED | {"max_answer_tokens": None}, "max_answer_tokens"),
        (FORCED | {"max_answer_tokens": 0}, "max_answer_tokens"),
    ],
)
def test_bad_parameters_are_named(arguments, name):
    with pytest.raises(ValueError, match=name):
        MonteCarloInformation(**({"sampler": lambda model: None, "samples": 4} | arguments))


def test_sampled_is_mutual_information_up_to_noise():
    """The same checks that the exact estimator passes to ten digits."""

    def make(answer_of, eos, limit):
        assert (eos, len(WORLD_PROMPT)) == (EOS, len(PROMPT))
        return MonteCarloInformation(
            lambda model: LoopSampler(model, len(WORLD_PROMPT) + limit, 3, answer_of), samples=600
        )

    assert all(check_information(make, examples=4, tolerance=0.2, max_limit=3).values())
