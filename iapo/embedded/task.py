"""The embedded task: chains of single-digit arithmetic, worked from left to right, modulo 10."""

import hashlib
import random
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, get_args

from iapo.embedded.symbols import DIGITS, OPERATORS
from iapo.ops.checks import check_integer

Split = Literal["train", "validation", "test"]
Step = tuple[str, int]

MIN_DIFFICULTY, MAX_DIFFICULTY = 2, 6
_PROMPT = re.compile(r"(\d)((?:[+\-*]\d)*)=")


@dataclass(frozen=True)
class Problem:
    """One chain such as `3+8-2*4=`, whose answer is ((3 + 8) - 2) * 4 modulo 10.

    Args:
        prompt: the chain as text, ending in `=`.
        answer: the last digit of its value, worked from left to right.
        difficulty: number of operations.
        first: the number the chain starts with.
        steps: operator and operand of each operation, in order.
    """

    prompt: str
    answer: str
    difficulty: int
    first: int
    steps: tuple[Step, ...]


def apply(value: int, steps: Iterable[Step]) -> int:
    """Apply steps to a value, in order, modulo 10.

    v <- (v + n) mod 10, (v - n) mod 10 or (v * n) mod 10.

    Args:
        value: the value before, 0 to 9.
        steps: pairs of operator (`+`, `-` or `*`) and operand (0 to 9).

    Returns:
        The value after, 0 to 9; `value` itself for no steps.

    Example:
        >>> apply(3, [("+", 8), ("-", 2), ("*", 4)])
        6
    """
    for operator, operand in steps:
        if operator == "+":
            value += operand
        elif operator == "-":
            value -= operand
        else:
            value *= operand
        value %= 10
    return value


def parse_prompt(prompt: str) -> Problem:
    """Read a prompt back into the problem it states.

    Args:
        prompt: a chain such as `3+8-2*4=`.

    Returns:
        The problem, with its answer worked out.

    Raises:
        ValueError: if the text is not such a chain.

    Example:
        >>> parse_prompt("3+8-2*4=").answer
        '6'
    """
    match = _PROMPT.fullmatch(prompt, endpos=len(prompt))
    if match is None or not prompt.isascii():
        raise ValueError(f"prompt: got {prompt!r}, wanted digits joined by + - * and ending in =, such as '3+8-2*4='")
    first, tail = int(match[1]), match[2]
    steps = tuple((tail[i], int(tail[i + 1])) for i in range(0, len(tail), 2))
    return Problem(prompt, str(apply(first, steps)), len(steps), first, steps)


def split_of(prompt: str) -> Split:
    """The split that a prompt belongs to: a function of its text alone, so that the three splits cannot overlap.

    Args:
        prompt: the text of a problem.

    Returns:
        `"train"` for eight tenths of all prompts, `"validation"` and `"test"` for a tenth each.
    """
    bucket = int.from_bytes(hashlib.sha256(prompt.encode()).digest()[:8]) % 10
    return "train" if bucket < 8 else "validation" if bucket == 8 else "test"


def sample_problem(rng: random.Random, split: Split, difficulty: int | None = None) -> Problem:
    """Sample one problem of a split.

    Args:
        rng: the source of randomness; advanced.
        split: the split to sample from.
        difficulty: number of operations, 2 to 6; `None` samples it uniformly.

    Returns:
        The problem; the first number is uniform over 0 to 9, operators over three, operands over 1 to 9.
    """
    operations = rng.randint(MIN_DIFFICULTY, MAX_DIFFICULTY) if difficulty is None else difficulty
    while True:
        tail = "".join(rng.choice(OPERATORS) + rng.choice(DIGITS[1:]) for _ in range(operations))
        prompt = f"{rng.choice(DIGITS)}{tail}="
        if split_of(prompt) == split:
            return parse_prompt(prompt)


def generate_problems(count: int, seed: int, split: Split = "train", difficulty: int | None = None) -> list[Problem]:
    """Generate problems of one split, the same ones for the same arguments.

    Problems are sampled independently, so that a prompt may occur twice; with two operations a split has only about 700
    (validation, test) or 5800 (train) different prompts, with six more than 300 million.

    Args:
        count: how many.
        seed: of the generator; the splits are disjoint whatever the seeds.
        split: `"train"`, `"validation"` or `"test"`.
        difficulty: number of operations, 2 to 6; `None` mixes them in equal shares.

    Returns:
        The problems.

    Raises:
        ValueError: if an argument is out of its range.

    Example:
        >>> [problem.prompt for problem in generate_problems(2, seed=0, difficulty=3)]
        ['4+5*7-2=', '9*3+6*2=']
    """
    check_integer("count", count, least=0)
    if split not in get_args(Split):
        raise ValueError(f"split: got {split!r}, wanted one of {', '.join(get_args(Split))}")
    if difficulty is not None and not MIN_DIFFICULTY <= difficulty <= MAX_DIFFICULTY:
        raise ValueError(f"difficulty: got {difficulty}, wanted {MIN_DIFFICULTY} to {MAX_DIFFICULTY} or None")
    rng = random.Random(f"{split}/{seed}")
    return [sample_problem(rng, split, difficulty) for _ in range(count)]


def rows(problems: Iterable[Problem]) -> list[dict[str, str | int]]:
    """Turn problems into rows of a data set.

    Args:
        problems: the problems.

    Returns:
        One dictionary a problem with the columns `prompt`, `answer` and `difficulty`.

    Example:
        >>> rows([parse_prompt("3+8=")])
        [{'prompt': '3+8=', 'answer': '1', 'difficulty': 1}]
    """
    return [{"prompt": p.prompt, "answer": p.answer, "difficulty": p.difficulty} for p in problems]
