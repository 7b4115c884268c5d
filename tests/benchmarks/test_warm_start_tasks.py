"""The problems of the warm start: distinct, of small numbers, with the answers that their texts have."""

import re
from collections import Counter

import chain_sums
import pytest
import word_problems
from demonstrations import shortest


@pytest.fixture(scope="module")
def words():
    return word_problems.sample_problems(3000, 50, seed=0)


def test_sums_have_the_answers_of_their_expressions():
    for problem in chain_sums.sample_problems(300, 2, seed=1):
        expression = re.search(r"[-\d][-+ \d]*\d", problem.question)[0]
        assert str(eval(expression)) == problem.answer


def test_word_problems_are_distinct_whatever_their_names(words):
    equations = [tuple((step.left, step.operator, step.right) for step in problem.steps) for problem in words]
    assert len(set(equations)) == len(words)
    assert len({problem.question for problem in words}) == len(words)


def test_they_are_of_two_to_four_steps_equally_often(words):
    assert Counter(len(problem.steps) for problem in words) == {2: 1000, 3: 1000, 4: 1000}


def test_numbers_are_small_and_divisions_exact(words):
    for problem in words:
        assert all(0 < result <= 50 for result in problem.results)
        for step in problem.steps:
            if step.operator == "/":
                assert problem.results[step.left.step] % step.right == 0


@pytest.mark.parametrize("largest", [30, 99])
def test_no_number_and_no_result_is_larger_than_asked(largest):
    for problem in word_problems.sample_problems(300, largest, seed=2):
        assert max(problem.results) <= largest
        assert all(int(number) <= largest for number in re.findall(r"\d+", problem.question))


def test_they_use_all_that_was_planned(words):
    text = "".join(problem.question for problem in words)
    assert {step.operator for problem in words for step in problem.steps} == set("+-*/")
    for told in ("each.", "finds", "gives", "buys", "to each of", "equally among", "times as many", "have now?"):
        assert told in text


def test_the_answer_follows_from_the_text(words):
    """Read anew from the question, sentence by sentence."""
    for problem in words:
        has = 0
        for sentence in re.split(r"(?<=[.?]) ", problem.question.strip()):
            numbers = [int(number) for number in re.findall(r"\d+", sentence)]
            if re.match(r"\w+ has \d+ \w+ of", sentence):
                has = numbers[0] * numbers[1]
            elif "times as many" in sentence:
                has += has * numbers[0]
            elif re.match(r"\w+ has", sentence):
                has = numbers[0]
            elif "finds" in sentence:
                has += numbers[0]
            elif "buys" in sentence:
                has += numbers[0] * numbers[1]
            elif "to each of" in sentence:
                has -= numbers[0] * numbers[1]
            elif "gives" in sentence:
                has -= numbers[0]
            elif "equally among" in sentence:
                has //= numbers[0]
            else:
                assert sentence.startswith("How many")
                assert not numbers
        assert str(has) == problem.answer


def test_every_line_names_who_and_what(words):
    for problem in words:
        thing = re.search("How many ([a-z]+) ", problem.question)[1]
        steps = [line.text for line in shortest(problem) if line.kind == "step"]
        assert all(step.endswith(f" {thing}.") for step in steps)


@pytest.mark.parametrize("task", ["sums", "words"])
def test_a_seed_gives_the_same_problems_and_another_seed_others(task):
    def sample(seed):
        return (
            chain_sums.sample_problems(20, 2, seed) if task == "sums" else word_problems.sample_problems(20, 50, seed)
        )

    assert sample(4) == sample(4) != sample(5)


def test_too_many_are_refused(monkeypatch):
    monkeypatch.setattr(chain_sums.reasoning_gym, "create_dataset", lambda *_, **__: [])
    with pytest.raises(ValueError, match="ask for 5 distinct sums; there are 0"):
        chain_sums.sample_problems(5, 2, seed=0)
    with pytest.raises(ValueError, match="--largest: got 29, want at least 30"):
        word_problems.sample_problems(5, 29, seed=0)
    monkeypatch.setattr(word_problems, "ATTEMPTS", 0)
    with pytest.raises(ValueError, match="ask for 5 distinct word problems; 0 were found with --largest 50"):
        word_problems.sample_problems(5, 50, seed=0)
