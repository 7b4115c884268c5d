"""Evaluation measures against enumeration, and the bootstrap against a closed form."""

import dataclasses
import itertools
import math
from fractions import Fraction

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from iapo.evaluation import (
    BudgetCurve,
    EvaluationResult,
    Interval,
    change,
    evaluate,
    interval,
    markdown_table,
    pass_at_k,
)
from iapo.interfaces import Sampler
from iapo.ops.json_files import read_sealed, write_sealed
from iapo.rollout import ScriptedSampler, TransformersSampler


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


@pytest.mark.parametrize("right", [[-1, 2], [2, 5]])
def test_more_right_samples_than_there_are_or_fewer_than_none_are_an_error(right):
    with pytest.raises(ValueError, match=r"right: got .*, want numbers from 0 to the number of samples, 4"):
        pass_at_k(torch.tensor(right), 4, 1)


def test_the_interval_has_the_width_of_the_normal_approximation():
    values = torch.randn(400, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    found = interval(values)
    error = float(values.std()) / 20
    assert found.value == pytest.approx(float(values.mean()))
    assert found.high - found.low == pytest.approx(2 * 1.96 * error, rel=0.1)


def test_the_ends_of_an_interval_are_the_percentiles_of_95_percent_in_the_middle():
    found = Interval.of_resamples(torch.tensor(0.3), torch.linspace(1, 0, 401, dtype=torch.float64))
    assert (found.value, found.low, found.high) == pytest.approx((0.3, 0.025, 0.975))


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


def test_lengths_of_right_and_wrong_completions_apart():
    measures = result([[1, 0], [1, 1]], [[10, 20], [30, 41]]).measures()
    assert measures["length_right"].value == pytest.approx((10 + 30 + 41) / 3)
    assert measures["length_wrong"].value == measures["length_wrong"].low == measures["length_wrong"].high == 20
    assert "length_wrong" not in result([[1, 1]], [[10, 20]]).measures()
    assert "length_right" not in result([[0]], [[10]]).measures()
    assert "truncated" not in measures


def test_resamples_without_anything_to_divide_by_are_left_out():
    found = interval(torch.tensor([6.0, 0.0, 0.0]), torch.tensor([2.0, 0.0, 0.0]))
    assert (found.value, found.low, found.high) == (3, 3, 3)
    with pytest.raises(ValueError, match="divisors: all are 0"):
        interval(torch.zeros(2), torch.zeros(2))


def at_budgets(one: EvaluationResult) -> EvaluationResult:
    """Truncated where wrong; right at budget 8 as it is, at budget 0 never."""
    correct = torch.stack([torch.zeros_like(one.correct), one.correct], -1)
    return dataclasses.replace(one, truncated=~one.correct, at_budget=BudgetCurve((0, 8), correct))


def test_measures_at_budgets():
    one = at_budgets(result([[1, 0], [1, 1]], [[10, 20], [30, 40]]))
    measures = one.measures()
    assert measures["truncated"].value == 0.25
    assert measures["accuracy_at_budget_0"].value == measures["accuracy_at_budget_0"].high == 0
    assert measures["accuracy_at_budget_8"] == measures["accuracy"]
    assert measures["budget_area"].value == measures["accuracy"].value / 2


def test_a_table_has_a_dash_where_a_result_lacks_a_measure():
    plain = result([[1]], [[10]])
    table = markdown_table({"plain": plain, "cut": at_budgets(result([[0]], [[10]]))})
    assert "| length_right | 10 (10 to 10) | – |" in table
    assert "| length_wrong | – | 10 (10 to 10) |" in table
    assert "| budget_area | – | 0 (0 to 0) |" in table


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
    one = result([[1, 0]], [[1, 2]])
    with pytest.raises(ValueError, match=r"truncated: got shape \(2, 1\), want \(1, 2\)"):
        dataclasses.replace(one, truncated=one.correct.T)
    with pytest.raises(ValueError, match=r"at_budget.correct: got shape \(3,\), want \(1,\)"):
        dataclasses.replace(one, at_budget=BudgetCurve((0,), torch.zeros(3, 2, 1).bool()))


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


def test_a_batch_splits_the_problems_and_changes_no_result(embedded_tokenizer):
    tokenizer = embedded_tokenizer
    texts = {f"{i}+1=": [f"<answer>{i + 1}</answer>", "<answer>0</answer>", "<think>"] for i in range(5)}
    texts["1+1="] = ["<answer>0</answer>", "<answer>2</answer>", "<think>"]
    rows = [{"prompt": prompt, "answer": str(i + 1)} for i, prompt in enumerate(texts)]
    scripted = ScriptedSampler(texts, tokenizer, append_eos=True)
    best = ScriptedSampler({prompt: each[:1] for prompt, each in texts.items()}, tokenizer, append_eos=True)
    calls: list[tuple[int, int]] = []

    class Backwards:
        """Returns the completions of another sampler in reverse."""

        def __init__(self, sampler):
            self.sampler = sampler

        def __call__(self, prompts, count):
            calls.append((len(prompts), count))
            rollout = self.sampler(prompts, count)
            return rollout.select(torch.arange(len(rollout.group_ids) - 1, -1, -1))

    def found(batch: int | None, wrap=lambda sampler: sampler) -> EvaluationResult:
        samplers = {"sampler": wrap(scripted), "greedy": wrap(best)}
        rewards = {"exact": exact}
        return evaluate(rows, tokenizer=tokenizer, rewards=rewards, samples=3, batch=batch, keep_texts=True, **samplers)

    whole, parts = found(None), found(7, Backwards)
    assert calls == [(2, 3), (2, 3), (1, 3), (5, 1)]
    expected = [[True, False, False], [False, True, False], *[[True, False, False]] * 3]
    assert whole.correct.tolist() == expected
    assert whole.greedy_correct.tolist() == parts.greedy_correct.tolist() == [True, False, True, True, True]
    assert parts.correct.flip(1).tolist() == expected, "samples keep the sampler's order within a problem"
    assert [texts[::-1] for texts in parts.texts] == list(whole.texts)
    assert whole.texts[3] == ("<answer>4</answer><eos>", "<answer>0</answer><eos>", "<think><eos>")
    assert torch.equal(parts.lengths.flip(1), whole.lengths)
    calls.clear()
    found(1, Backwards)
    assert calls == [(1, 3)] * 5 + [(1, 1)] * 5
    with pytest.raises(ValueError, match="rows: got none"):
        evaluate([], tokenizer=tokenizer, rewards={"exact": exact}, samples=3, sampler=scripted, greedy=best)


@dataclasses.dataclass(frozen=True)
class Told(Sampler):
    """No token ends its completions: it says itself which ones came to their end."""

    scripted: Sampler
    finished: tuple[bool, ...]
    temperature: float = 0.0
    eos_ids: tuple[int, ...] = ()

    def sample(self, prompts, group_size):
        return dataclasses.replace(self.scripted(prompts, group_size), finished=torch.tensor(self.finished))


def test_a_rollout_says_which_completions_were_cut_where_no_token_does(embedded_tokenizer):
    one, two = (ScriptedSampler({"1+2=": ["<answer>3</answer>"] * count}, embedded_tokenizer) for count in (1, 2))
    found = evaluate(
        [{"prompt": "1+2=", "answer": "3"}],
        tokenizer=embedded_tokenizer,
        sampler=Told(two, (True, False)),
        greedy=Told(one, (False,)),
        rewards={"exact": exact},
        samples=2,
    )
    assert [each.finished for each in found.samples] == [True, False, False]
    assert found.truncated.tolist() == [[False, True]]


def test_texts_are_kept_only_if_asked_for(embedded_tokenizer):
    sampler = ScriptedSampler({"1+2=": ["<answer>3</answer>"]}, embedded_tokenizer, append_eos=True)
    rows = [{"prompt": "1+2=", "answer": "3"}]
    found = evaluate(
        rows, tokenizer=embedded_tokenizer, sampler=sampler, greedy=sampler, rewards={"exact": exact}, samples=1
    )
    assert found.texts is None


def test_a_saved_result_is_loaded_with_the_same_numbers(tmp_path):
    one = dataclasses.replace(result([[1, 0], [1, 1]], [[10, 20], [30, 40]]), texts=(("a", "b"), ("c", "d")))
    path = tmp_path / "evaluation-3.json"
    one.save(path, {"model": "embedded"})
    content = read_sealed(path)
    assert set(content) == {"correct", "lengths", "greedy_correct", "greedy_lengths", "model"}
    assert [each.name for each in tmp_path.iterdir()] == [path.name]
    loaded = EvaluationResult.load(path)
    for name in ("correct", "lengths", "greedy_correct", "greedy_lengths"):
        assert torch.equal(getattr(loaded, name), getattr(one, name))
        assert getattr(loaded, name).dtype == getattr(one, name).dtype
    assert loaded.texts is loaded.truncated is loaded.at_budget is None
    cut = at_budgets(one)
    cut.save(path)
    loaded = EvaluationResult.load(path)
    assert loaded.at_budget.budgets == (0, 8)
    for after, before in ((loaded.truncated, cut.truncated), (loaded.at_budget.correct, cut.at_budget.correct)):
        assert torch.equal(after, before)
        assert after.dtype == before.dtype
    path.write_text(path.read_text().replace("10", "11", 1))
    with pytest.raises(ValueError, match=r"evaluation-3\.json: is damaged, its content is not what was written"):
        EvaluationResult.load(path)
    write_sealed(path, {"correct": [[1]], "lengths": [[2]]})
    with pytest.raises(ValueError, match=r"evaluation-3\.json: want an evaluation, .*greedy_correct.* are missing"):
        EvaluationResult.load(path)
    with pytest.raises(FileNotFoundError):
        EvaluationResult.load(tmp_path / "none.json")
    for damage in ({"correct": None}, {"lengths": "many"}, {"lengths": [[1]]}, {"at_budget": {"budgets": [0]}}):
        write_sealed(path, {**content, **damage})
        with pytest.raises(ValueError, match=r"evaluation-3\.json: holds no numbers of an evaluation"):
            EvaluationResult.load(path)


def test_an_interval_is_formatted_in_one_place():
    moved = Interval(0.12345, -0.1, 0.3)
    assert str(moved) == f"{moved}" == f"{moved:.3g}" == "0.123 (-0.1 to 0.3)"
    assert f"{moved:+.1%}" == "+12.3% (-10.0% to +30.0%)"
    assert moved.texts("+.2f") == ("+0.12", "-0.10 to +0.30")


def test_a_greedy_sampler_that_draws_is_refused(embedded_tokenizer):
    model = torch.nn.Linear(1, 1)
    drawn = TransformersSampler(model, embedded_tokenizer, max_new_tokens=4)
    rows = [{"prompt": "1+2=", "answer": "3"}]
    with pytest.raises(ValueError, match=r"greedy: got a sampler at temperature 1.0, want one at temperature 0"):
        evaluate(rows, tokenizer=embedded_tokenizer, sampler=drawn, greedy=drawn, rewards={"exact": exact}, samples=1)


def test_completions_that_cannot_be_scored_are_told(embedded_tokenizer):
    sampler = ScriptedSampler({"1+2=": ["<answer>3</answer>"] * 2}, embedded_tokenizer, append_eos=True)
    rows = [{"prompt": "1+2=", "answer": "3"}]
    rewards = {"judge": lambda completions, **_: [None] * len(completions), "form": exact}
    with pytest.warns(
        UserWarning, match=r"reward 'judge' could not score 3 of 3 completions \(None\); they count"
    ) as told:
        found = evaluate(
            rows, tokenizer=embedded_tokenizer, sampler=sampler, greedy=sampler, rewards=rewards, samples=2
        )
    assert told[0].filename == __file__, "it is of the call"
    assert not found.correct.any()
    assert [(sample.reward, sample.rewards) for sample in found.samples] == [(None, {"judge": None, "form": 1.0})] * 3


def test_completions_that_are_all_empty_have_no_ratio():
    """There is nothing to divide by; the report of a run was lost."""
    one = torch.ones(2, 2)
    empty = EvaluationResult(one.bool(), 0 * one.long(), one[0].bool(), 0 * one[0].long())
    written = EvaluationResult(one.bool(), one.long(), one[0].bool(), one[0].long())
    assert "ratio@1" not in empty.measures()
    assert "| ratio@1 | – | 1 (1 to 1) |" in markdown_table({"empty": empty, "written": written})
