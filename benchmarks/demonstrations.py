"""Problems that are solved in steps, and demonstrations of how: too long, with the habits of the embedded model's.

A demonstration has a line a step, lines that say nothing, repeated steps, checks and slips
(`iapo.embedded.reasoning.HABITS`). What a line is can be read back from its text, a model's completions too.
"""

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass

from transformers import PreTrainedTokenizerBase

from iapo.embedded.reasoning import HABITS, Habits

OPENING, CLOSING = "<think>", "</think>"
FILLERS = (
    "Okay, let me think.",
    "So far so good.",
    "Now, what comes next?",
    "Hmm, let me see.",
    "I have to be careful here.",
    "Let me go on.",
)
PLACES = 2
"""How many lines that say nothing there may be wherever there may be some."""
AGAIN, CHECK, WRONG, RIGHT = "Again, ", "Let me check: ", "That was wrong.", "Yes."
SLIPS = (-10, -2, -1, 1, 2, 10)
"""By how much a result may be wrong."""
KINDS = ("filler before a step", "filler later", "step", "again", "check", "closing")
"""What a line may be; besides, ``opening``, and ``other`` for what no demonstration has."""
EQUATION = re.compile(r"(-?\d+) ([-+*/]) (-?\d+) = (-?\d+)")


@dataclass(frozen=True)
class Result:
    """The result of an earlier step, counted from 0, in the place of a number."""

    step: int


@dataclass(frozen=True)
class Step:
    """One operation on two numbers.

    Args:
        left: a number, or the result of an earlier step.
        operator: one of ``+ - * /``. The division of a problem leaves no remainder; that of a slip is rounded down.
        right: likewise.
        sentence: the line, with ``{}`` in place of the equation.
    """

    left: int | Result
    operator: str
    right: int | Result
    sentence: str = "{}"

    def asked(self, results: Sequence[int]) -> str:
        """The equation up to its result, given those of the earlier steps."""
        return f"{_number(self.left, results)} {self.operator} {_number(self.right, results)} ="

    def compute(self, results: Sequence[int]) -> int:
        """The right result, given those of the earlier steps."""
        left, right = _number(self.left, results), _number(self.right, results)
        if self.operator == "/":
            return left // right
        return {"+": left + right, "-": left - right, "*": left * right}[self.operator]


@dataclass(frozen=True)
class Problem:
    """A question, and the steps to its answer, which is the result of the last one; all are needed."""

    question: str
    steps: tuple[Step, ...]

    @property
    def results(self) -> list[int]:
        """The right result of each step."""
        results: list[int] = []
        for step in self.steps:
            results.append(step.compute(results))
        return results

    @property
    def answer(self) -> str:
        """The right answer."""
        return str(self.results[-1])


@dataclass(frozen=True)
class Line:
    """A line of a demonstration, and what it is."""

    kind: str
    text: str


def demonstrate(problem: Problem, rng: random.Random, habits: Habits = HABITS) -> list[Line]:
    """The lines of a demonstration in a style of its own.

    Its answer is wrong only after a slip that no check followed: a check that finds one corrects it.

    Args:
        problem: to be solved.
        rng: the source of randomness; advanced.
        habits: chances of fillers, repetitions, checks and slips; shortcuts are not taken.
    """
    filler, repeat, checked = (rng.uniform(*chances) for chances in (habits.filler, habits.repeat, habits.checked))
    lines = [Line("opening", OPENING)]

    def chatter(kind: str) -> None:
        lines.extend(Line(kind, rng.choice(FILLERS)) for _ in range(PLACES) if rng.random() < filler)

    chatter(KINDS[0])
    results: list[int] = []
    for step in problem.steps:
        asked, right = step.asked(results), step.compute(results)
        slipped = rng.random() < habits.slip
        result = right + rng.choice(SLIPS) if slipped else right
        said = step.sentence.format(f"{asked} {result}")
        lines.append(Line("step", said))
        chatter("filler later")
        if rng.random() < repeat:
            lines.append(Line("again", f"{AGAIN}{said}"))
        if rng.random() < (habits.noticed if slipped else checked):
            lines.append(Line("check", f"{CHECK}{asked} {right}. {WRONG if slipped else RIGHT}"))
            result = right
        results.append(result)
    chatter("filler later")
    return [*lines, Line("closing", f"{CLOSING}<answer>{results[-1]}</answer>")]


def shortest(problem: Problem) -> list[Line]:
    """The lines of the shortest completion that has every step."""
    return demonstrate(problem, random.Random(0), Habits((0, 0), (0, 0), (0, 0), (0, 0), slip=0))


def written(lines: Sequence[Line]) -> str:
    """A demonstration as text."""
    return "\n".join(line.text for line in lines)


def count_tokens(lines: Sequence[Line], tokenizer: PreTrainedTokenizerBase) -> int:
    """Tokens of a demonstration, the end-of-sequence token included."""
    return len(tokenizer.encode(written(lines), add_special_tokens=False)) + 1


def read_lines(text: str) -> list[Line]:
    """What each line of a completion is, by its text."""
    lines: list[Line] = []
    for line in text.split("\n"):
        stepped = any(earlier.kind == "step" for earlier in lines)
        lines.append(Line(_kind(line, stepped), line))
    return lines


def _kind(line: str, stepped: bool) -> str:
    line = line.strip()
    if line in FILLERS:
        return "filler later" if stepped else KINDS[0]
    if line.startswith(CLOSING):
        return "closing"
    if line == OPENING:
        return "opening"
    for beginning, kind in ((AGAIN, "again"), (CHECK, "check")):
        if line.startswith(beginning):
            return kind
    return "step" if EQUATION.search(line) else "other"


def _number(operand: int | Result, results: Sequence[int]) -> int:
    return results[operand.step] if isinstance(operand, Result) else operand
