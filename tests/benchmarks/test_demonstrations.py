"""Demonstrations of the warm start: right answers, slips and their checks, lines that can be read back."""

import random
import re
from collections import Counter

import chain_sums
import pytest
import word_problems
from demonstrations import (
    EQUATION,
    WRONG,
    Line,
    Problem,
    Result,
    Step,
    count_tokens,
    demonstrate,
    read_lines,
    shortest,
    written,
)
from hypothesis import given
from hypothesis import strategies as st

from iapo.embedded.reasoning import HABITS, Habits

PROBLEMS = {
    "sums": chain_sums.sample_problems(200, 2, seed=3),
    "words": word_problems.sample_problems(200, 50, seed=3),
}
problems = st.sampled_from([problem for each in PROBLEMS.values() for problem in each])
NEVER = (0.0, 0.0)


def holds(line: str) -> bool:
    left, operator, right, result = EQUATION.search(line).groups()
    return int(eval(f"{left} {operator.replace('/', '//')} {right}")) == int(result)


def answer_of(lines: list[Line]) -> str:
    return re.search("<answer>(.*)</answer>", lines[-1].text)[1]


@given(problems, st.integers(0, 2**32))
def test_without_a_slip_the_answer_is_the_problems_and_every_line_is_right(problem, seed):
    lines = demonstrate(problem, random.Random(seed), Habits(slip=0))

    assert answer_of(lines) == problem.answer
    assert all(holds(line.text) for line in lines if line.kind in ("step", "again", "check"))


@given(problems, st.integers(0, 2**32))
def test_slips_that_are_all_noticed_do_not_change_the_answer(problem, seed):
    lines = demonstrate(problem, random.Random(seed), Habits(slip=1, noticed=1))

    assert answer_of(lines) == problem.answer
    assert not any(holds(line.text) for line in lines if line.kind == "step")
    assert all(holds(line.text) and line.text.endswith(WRONG) for line in lines if line.kind == "check")


@given(problems, st.integers(0, 2**32))
def test_lines_are_read_back_from_the_text(problem, seed):
    lines = demonstrate(problem, random.Random(seed), Habits(slip=0.3))

    assert read_lines(written(lines)) == lines


@given(problems)
def test_the_shortest_has_every_step_and_nothing_else(problem):
    lines = shortest(problem)

    assert [line.kind for line in lines] == ["opening", *["step"] * len(problem.steps), "closing"]
    assert answer_of(lines) == problem.answer


@pytest.mark.parametrize("task", PROBLEMS)
def test_slips_and_their_checks_come_as_often_as_the_habits_say(task):
    rng, found = random.Random(5), Counter()
    habits = Habits(checked=(0.25, 0.25), slip=0.3, noticed=0.6)
    for problem in PROBLEMS[task] * 5:
        lines = demonstrate(problem, rng, habits)
        steps = [place for place, line in enumerate(lines) if line.kind == "step"]
        for begin, end in zip(steps, [*steps[1:], len(lines)], strict=True):
            slipped = not holds(lines[begin].text)
            checked = any(line.kind == "check" for line in lines[begin:end])
            assert any(line.text.endswith(WRONG) for line in lines[begin:end]) == (slipped and checked)
            found[slipped, checked] += 1
    slips, rights = found[True, True] + found[True, False], found[False, True] + found[False, False]
    assert slips / (slips + rights) == pytest.approx(habits.slip, abs=0.04)
    assert found[True, True] / slips == pytest.approx(habits.noticed, abs=0.06)
    assert found[False, True] / rights == pytest.approx(0.25, abs=0.04)


@pytest.mark.parametrize("task", PROBLEMS)
def test_with_the_shared_habits_they_are_two_to_four_times_too_long(task):
    class Characters:
        def encode(self, text, add_special_tokens):
            return list(text)

    rng, tokenizer = random.Random(7), Characters()
    long = sum(count_tokens(demonstrate(problem, rng, HABITS), tokenizer) for problem in PROBLEMS[task])
    short = sum(count_tokens(shortest(problem), tokenizer) for problem in PROBLEMS[task])
    assert 2 < long / short < 4


def test_a_step_reads_the_results_that_were_written():
    problem = Problem("", (Step(3, "*", 4), Step(Result(0), "-", 2), Step(Result(1), "/", 5, "Each gets {}.")))

    assert (problem.results, problem.answer) == ([12, 10, 2], "2")
    assert [line.text for line in shortest(problem)][1:-1] == ["3 * 4 = 12", "12 - 2 = 10", "Each gets 10 / 5 = 2."]
    slipped = demonstrate(problem, random.Random(1), Habits(NEVER, NEVER, NEVER, slip=1, noticed=0))
    first, second = (EQUATION.search(line.text) for line in slipped[1:3])
    assert first[4] == second[1] != "12"


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        ("  Let me go on. ", "filler before a step"),
        ("12 - -3 = 15", "step"),
        ("Now Tom has 2 * 3 = 6 pens.", "step"),
        ("Again, 1 + 1 =", "again"),
        ("Let me check: so", "check"),
        ("</think><answer>3</answer><|im_end|>", "closing"),
        ("The answer is 3", "other"),
        ("", "other"),
    ],
)
def test_lines_of_a_model_are_read_too(line, kind):
    assert read_lines(line)[0].kind == kind


def test_filler_behind_a_step_is_later():
    text = "<think>\nLet me go on.\n1 + 1 = 2\nLet me go on.\nAgain, 1 + 1 = 2\nLet me go on."
    kinds = [line.kind for line in read_lines(text)]
    assert kinds == ["opening", "filler before a step", "step", "filler later", "again", "filler later"]
