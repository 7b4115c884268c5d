"""Worked completions of the embedded task: the shortest careful one, and demonstrations that are too long."""

import random
from collections.abc import Sequence
from dataclasses import dataclass

from transformers import PreTrainedTokenizerBase

from iapo.embedded.symbols import (
    AGAIN,
    ANSWER,
    CHECK,
    DIGITS,
    END_ANSWER,
    END_THINK,
    EOS,
    FILLERS,
    FIXED,
    OK,
    THINK,
)
from iapo.embedded.task import Problem, Step, apply

MOST_FILLERS = 4
Chances = tuple[float, float]
"""Lowest and highest: the chance itself is sampled for each demonstration, uniformly between the two, so that some
demonstrations are terse and others are not, and a policy can move between them."""


@dataclass(frozen=True)
class Habits:
    """How demonstrations are written.

    A slip is a wrong result: two steps at once go wrong far more often than one. Slips are checked more often than
    other results; otherwise nearly every check would agree, and a model would learn to copy what it checks.

    Args:
        filler: chances of each of `MOST_FILLERS` words without content, wherever they are allowed.
        repeat: chances that a step is repeated.
        checked: chances that a right result is checked.
        shortcut: chances that two steps are taken at once.
        slip: chance that the result of one step is wrong.
        shortcut_slip: chance that the result of a shortcut is wrong.
        noticed: chance that a wrong result is checked.

    Raises:
        ValueError: a chance outside 0 to 1, or a lowest above its highest.
    """

    filler: Chances = (0.1, 1.0)
    repeat: Chances = (0.0, 0.6)
    checked: Chances = (0.0, 0.6)
    shortcut: Chances = (0.0, 0.2)
    slip: float = 0.02
    shortcut_slip: float = 0.3
    noticed: float = 0.6

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            low, high = value if isinstance(value, tuple) else (value, value)
            if not 0 <= low <= high <= 1:
                raise ValueError(f"{name}: got {value}, want chances between 0 and 1, the lowest first")


HABITS = Habits()
"""The habits of the demonstrations that the embedded model was trained on."""


def worked(value: int, steps: Sequence[Step]) -> str:
    """Write steps one at a time with their results.

    Args:
        value: the value before, 0 to 9.
        steps: pairs of operator and operand.

    Returns:
        The value and then, for every step, operator, operand, `=` and result.

    Example:
        >>> worked(3, [("+", 8), ("-", 2)])
        '3+8=1-2=9'
    """
    text = str(value)
    for step in steps:
        value = apply(value, [step])
        text += f"{step[0]}{step[1]}={value}"
    return text


def shortest_reasoning(problem: Problem) -> str:
    """Write the careful completion that has every step, one at a time, and nothing else.

    Args:
        problem: the problem.

    Returns:
        The completion, without the end-of-sequence token.

    Example:
        >>> from iapo.embedded import parse_prompt
        >>> shortest_reasoning(parse_prompt("3+8-2="))
        '<think>3+8=1-2=9</think><answer>9</answer>'
    """
    return f"{THINK}{worked(problem.first, problem.steps)}{END_THINK}{ANSWER}{problem.answer}{END_ANSWER}"


def shortest_length(problem: Problem, tokenizer: PreTrainedTokenizerBase) -> int:
    """Count the tokens of the shortest careful completion, the end-of-sequence token included.

    4 * difficulty + 7 with the embedded tokenizer.

    Args:
        problem: the problem.
        tokenizer: the embedded model's tokenizer.

    Returns:
        The number of tokens.
    """
    return len(tokenizer.encode(shortest_reasoning(problem) + EOS, add_special_tokens=False))


def demonstrate(problem: Problem, rng: random.Random, habits: Habits = HABITS) -> str:
    """Write a demonstration in a style of its own: worked steps, filler, repetitions, checks and shortcuts.

    - a step: `+8=1`, or a slip;
    - a shortcut, two steps at once: `+8-2=9`, or a slip, by default far more often;
    - filler: up to `MOST_FILLERS` words without content;
    - a repetition: the word "again" and the last step or shortcut as it was written, slips included;
    - a check: the word "check" and the last step or shortcut worked anew, one step
      at a time, then "ok" or, after a slip, "fixed"; the text goes on from the check's result, so that a
      checked slip does not change the answer.

    Args:
        problem: the problem.
        rng: the source of randomness; advanced.
        habits: how often each of these.

    Returns:
        The completion, without the end-of-sequence token. Its answer is wrong only after a slip that no check followed.
    """
    filler, repeat, checked, shortcut = (
        rng.uniform(*chances) for chances in (habits.filler, habits.repeat, habits.checked, habits.shortcut)
    )

    def chatter() -> str:
        return "".join(rng.choice(FILLERS) for _ in range(MOST_FILLERS) if rng.random() < filler)

    value = problem.first
    text = f"{THINK}{chatter()}{value}"
    done = 0
    while done < len(problem.steps):
        width = 2 if done + 1 < len(problem.steps) and rng.random() < shortcut else 1
        steps = problem.steps[done : done + width]
        before, right = value, apply(value, steps)
        slipped = rng.random() < (habits.slip if width == 1 else habits.shortcut_slip)
        value = int(rng.choice([digit for digit in DIGITS if digit != str(right)])) if slipped else right
        step = "".join(f"{operator}{operand}" for operator, operand in steps) + f"={value}"
        text += step + chatter()
        if rng.random() < repeat:
            text += f"{AGAIN}{before}{step}"
        if rng.random() < (habits.noticed if slipped else checked):
            text += f"{CHECK}{worked(before, steps)}{OK if value == right else FIXED}"
            value = right
        done += width
    return f"{text}{chatter()}{END_THINK}{ANSWER}{value}{END_ANSWER}"
