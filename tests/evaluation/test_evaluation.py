"""Evaluation measures against enumeration, and the bootstrap against a closed form."""

import itertools
import math
from fractions import Fraction

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from iapo.evaluation.evaluation import EvaluationResult, change, evaluate, interval, markdown_table, pass_at_k
from iapo.rollout import ScriptedSampler


@given(st.integers(1, 7).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n), st.integers(1, n))))
def test_pass_at_k_counts_subsets(case):
    samples, right, k = case
    outcomes = [index < right for index in range(samples)]
    subsets = list(itertools.combinations(outcomes, k))
    expected = Fraction(sum(any(subset) for subset in subsets), len(subsets))
    assert float(pass_at_k(torch.tensor([right]), samples, k)) == pytest.approx(float(expected), abs=1e-12)


@given(st.integers(1, 2000), st.data())
def test_pass_at_k_is_stable_for_many_samples(samples, data):
    right, k = data.draw(st.integers(0, samples)), data.draw(st.integers(1, samples))
    expected = 1 - Fraction(math.comb(samples - right, k), math.comb(samples, k))
    assert float(pass_at_k(torch.tensor([right]), samples, k)) == pytest.approx(float(expected), abs=1e-12)


def test_k_above_the_samples_is_an_error():
    with pytest.raises(ValueError, match="k: got 5, want 1 to the number of samples, 4"):
        pass_at_k(torch.tensor([1]), 4, 5)


def test_the_interval_has_the_width_of_the_normal_approximation():
    values = torch.randn(400, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    found = interval(values)
    error = float(values.std()) / 20
    assert found.value == pytest.approx(float(values.mean()))
    assert found.high - found.low == pytest.approx(2 * 1.96 * error, rel=0.1)


def test_a_ratio_is_one_of_means():
    found = interval(torch.tensor([1.0, 0.0]), torch.tensor([1.0, 3.0]))
    assert found.value == 0.25


def result(right: list[list[int]], lengths: list[list[int]]) -> EvaluationResult:
    correct = torch.tensor(right).bool()
    return EvaluationResult(correct, torch.tensor(lengths), correct[:, 0], torch.tensor(lengths)[:, 0])


def test_measures_and_table():
    one = result([[1, 0], [1, 1]], [[10, 20], [30, 40]])
    measures = one.measures(ks=(1, 2))
    assert measures["accuracy"].value == measures["pass@1"].value == 0.75
    assert measures["pass@2"].value == 1.0
    assert measures["length@2"].value == measures["length"].value == 25.0
    assert measures["ratio@2"].value == pytest.approx(1 / 25)
    assert "| before | after |" in markdown_table({"before": one, "after": one})


def test_a_change_is_paired_by_problem():
    before = result([[1, 0]] * 50 + [[0, 0]] * 50, [[10, 10]] * 100)
    after = result([[1, 1]] * 50 + [[1, 0]] * 50, [[7, 7]] * 100)
    moved = change(before, after)
    assert moved["accuracy"].value == moved["accuracy"].low == moved["accuracy"].high == 0.5
    assert moved["length"].value == -3
    with pytest.raises(ValueError, match="got 1 problems, want the 100"):
        change(before, result([[1]], [[1]]))


def test_shapes_must_agree():
    with pytest.raises(ValueError, match="lengths"):
        result([[1, 0]], [[1]])
    with pytest.raises(ValueError, match="correct"):
        EvaluationResult(*(torch.zeros(0, 2).bool() for _ in range(4)))


def exact(completions, answer, **_):
    return [float(f"<answer>{a}</answer>" in text) for text, a in zip(completions, answer, strict=True)]


def test_a_reward_for_form_makes_no_answer_right(embedded_tokenizer):
    wrong = "<think>1+2</think><answer>4</answer>"
    sampler = ScriptedSampler({"1+2=": [wrong, wrong]}, embedded_tokenizer, append_eos=True)
    once = ScriptedSampler({"1+2=": [wrong]}, embedded_tokenizer, append_eos=True)
    rewards = {"exact": exact, "form": lambda completions, **_: [1.0] * len(completions)}
    rows = [{"prompt": "1+2=", "answer": "3"}]
    found = evaluate(rows, tokenizer=embedded_tokenizer, sampler=sampler, greedy=once, rewards=rewards, samples=2)
    assert not found.correct.any()
    assert not found.greedy_correct.any()


def test_evaluate_keeps_problems_apart(embedded_tokenizer):
    tokenizer = embedded_tokenizer
    right, wrong = "<think>1</think><answer>3</answer>", "<think>1+2</think><answer>4</answer>"
    sampler = ScriptedSampler({"1+2=": [right, wrong], "2+2=": [wrong, wrong]}, tokenizer, append_eos=True)
    greedy = ScriptedSampler({"1+2=": [right], "2+2=": [wrong]}, tokenizer, append_eos=True)
    rows = [{"prompt": "1+2=", "answer": "3"}, {"prompt": "2+2=", "answer": "4"}]
    found = evaluate(rows, tokenizer=tokenizer, sampler=sampler, greedy=greedy, rewards={"exact": exact}, samples=2)
    assert found.correct.tolist() == [[True, False], [True, True]]
    assert found.greedy_correct.tolist() == [True, True]
    assert found.lengths[1, 0] == found.lengths[1, 1] == len(tokenizer(wrong)["input_ids"]) + 1
