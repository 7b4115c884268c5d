"""Sums and differences of two to four numbers, added from left to right: reasoning-gym's `chain_sum`."""

import reasoning_gym
from demonstrations import Problem, Result, Step


def sample_problems(count: int, digits: int, seed: int) -> list[Problem]:
    """Distinct sums.

    Args:
        count: how many.
        digits: of a number, at most.
        seed: of reasoning-gym.

    Raises:
        ValueError: there are too few.
    """
    entries = reasoning_gym.create_dataset(
        "chain_sum", size=2 * count, seed=seed, min_terms=2, max_terms=4, min_digits=1, max_digits=digits
    )
    found = {}
    for entry in entries:
        expression = entry["metadata"]["expression"]
        found[expression] = Problem(entry["question"] + "\n", _steps(expression))
    if len(found) < count:
        raise ValueError(f"--problems and --demonstrations ask for {count} distinct sums; there are {len(found)}")
    return list(found.values())[:count]


def _steps(expression: str) -> tuple[Step, ...]:
    """Of an expression such as ``4 - 3 + 7``."""
    first, *rest = expression.split()
    pairs = list(zip(rest[::2], rest[1::2], strict=True))
    return tuple(
        Step(Result(index - 1) if index else int(first), operator, int(number))
        for index, (operator, number) in enumerate(pairs)
    )
