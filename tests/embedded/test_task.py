"""The problems: right answers, disjoint splits, the same ones for the same seed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iapo.embedded import generate_problems, parse_prompt, rows, split_of
from iapo.embedded.task import MAX_DIFFICULTY, MIN_DIFFICULTY

SPLITS = ("train", "validation", "test")
seeds = st.integers(0, 2**32)


@given(seed=seeds, split=st.sampled_from(SPLITS))
def test_answer_is_worked_from_left_to_right(seed, split):
    for problem in generate_problems(5, seed, split):
        expression = problem.prompt[0]
        for i in range(1, len(problem.prompt) - 1, 2):
            expression = f"({expression}{problem.prompt[i : i + 2]})"
        assert problem.answer == str(eval(expression) % 10)
        assert problem.difficulty == (len(problem.prompt) - 2) // 2
        assert parse_prompt(problem.prompt) == problem


@given(seed=seeds, other=seeds)
def test_splits_are_disjoint_whatever_the_seeds(seed, other):
    pairs = zip((seed, other, seed), SPLITS, strict=True)
    train, validation, test = ({problem.prompt for problem in generate_problems(40, s, split)} for s, split in pairs)
    assert len(train | validation | test) == len(train) + len(validation) + len(test)


def test_splits_share_out_all_short_problems():
    prompts = [
        f"{a}{x}{b}{y}{c}=" for a in range(10) for x in "+-*" for b in range(1, 10) for y in "+-*" for c in "159"
    ]
    shares = [sum(split_of(prompt) == split for prompt in prompts) / len(prompts) for split in SPLITS]
    assert shares == pytest.approx([0.8, 0.1, 0.1], abs=0.03)


def test_same_seed_same_problems_and_another_seed_others():
    assert generate_problems(30, 7) == generate_problems(30, 7)
    assert generate_problems(30, 7)[:10] == generate_problems(10, 7)
    assert generate_problems(30, 7) != generate_problems(30, 8)


def test_difficulties_are_mixed_or_as_asked():
    mixed = [problem.difficulty for problem in generate_problems(1000, 0)]
    for difficulty in range(MIN_DIFFICULTY, MAX_DIFFICULTY + 1):
        assert 150 < mixed.count(difficulty) < 250
        assert {p.difficulty for p in generate_problems(5, 0, difficulty=difficulty)} == {difficulty}


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        ({"count": -1}, "count"),
        ({"split": "dev"}, "split"),
        ({"difficulty": 1}, "difficulty"),
        ({"difficulty": 7}, "difficulty"),
    ],
)
def test_bad_arguments_are_named(arguments, name):
    with pytest.raises(ValueError, match=f"^{name}: got"):
        generate_problems(**{"count": 1, "seed": 0, **arguments})


@pytest.mark.parametrize("prompt", ["", "3+8", "3+=", "33+1=", "3 + 8 =", "3+8=\n", "3+٨=", "3/2="])
def test_what_is_not_a_prompt_is_refused(prompt):
    with pytest.raises(ValueError, match=r"^prompt: got"):
        parse_prompt(prompt)


def test_rows_are_plain():
    assert rows([parse_prompt("3+8-2*4=")]) == [{"prompt": "3+8-2*4=", "answer": "6", "difficulty": 3}]
