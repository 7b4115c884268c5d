"""What each token of a sampled completion is: a needed step, filler, a repetition, a check, a shortcut, a slip."""

import re
from collections.abc import Sequence
from enum import StrEnum

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
    OPERATORS,
    THINK,
    split_symbols,
)
from iapo.embedded.task import Problem, Step, apply, parse_prompt


class TokenClass(StrEnum):
    """What a token of a completion does."""

    NEEDED = "needed"
    """Part of a single step, or the number the chain starts with."""
    FILLER = "filler"
    """A word without content."""
    REPEATED = "repeated"
    """Part of a step written again."""
    CHECK = "check"
    """Part of a check that changed nothing: there was nothing to correct, or the check missed it."""
    CATCH = "catch"
    """Part of a check (or, rarely, a repetition) that followed a wrong result and put it right."""
    SHORTCUT = "shortcut"
    """Part of several steps done at once."""
    SLIP = "slip"
    """A result that does not follow from the value before it, or a step that is not the problem's next one."""
    FORMAT = "format"
    """A tag in its place, or the end of the sequence."""
    ANSWER = "answer"
    """The digit given as the answer."""
    OTHER = "other"
    """Anything else: text outside the language, or in a place where it means nothing."""


# One character a piece, so that the grammar can be written as regular expressions whose spans are token positions.
_CODES = {
    **{piece: piece for piece in (*DIGITS, *OPERATORS, "=")},
    **dict.fromkeys(FILLERS, "h"),
    **{AGAIN: "a", CHECK: "c", OK: "o", FIXED: "f"},
    **{THINK: "(", END_THINK: ")", ANSWER: "[", END_ANSWER: "]", EOS: "$"},
}
_STEP = re.compile(r"((?:[+\-*]\d)+)=(\d)")
_ANSWER = re.compile(re.escape(END_THINK + ANSWER) + r"([^<>]*)" + re.escape(END_ANSWER))


def parse_answer(completion: str) -> str | None:
    """Read the answer out of a completion.

    Args:
        completion: text.

    Returns:
        What stands in the first `</think><answer>...</answer>`; `None` without one.

    Example:
        >>> parse_answer("<think>3+8=1</think><answer>1</answer>")
        '1'
    """
    match = _ANSWER.search(completion)
    return match[1] if match else None


def classify(prompt: str, completion: str) -> list[TokenClass]:
    """Label every token of a completion.

    A wrong result is a `SLIP` where it first appears. Steps after it count as right if they follow from the value as
    written.

    Args:
        prompt: the problem, such as `3+8-2*4=`.
        completion: any text, with or without the end-of-sequence token.

    Returns:
        One class for each piece of `split_symbols(completion)`, which are the tokenizer's tokens.

    Raises:
        ValueError: if the prompt is not a problem.

    Example:
        >>> [str(label) for label in classify("3+8=", "<think>3+8=1 hmm </think>")]
        ['format', 'needed', 'needed', 'needed', 'needed', 'needed', 'filler', 'format']
    """
    code = "".join(_CODES.get(piece, ".") for piece in split_symbols(completion))
    reasoning, closed, _ = code.partition(")")
    labels = _label_reasoning(parse_prompt(prompt), reasoning)
    if closed:
        labels += _label_tail(code[len(reasoning) :])
    return labels + [TokenClass.OTHER] * (len(code) - len(labels))


def _label_tail(code: str) -> list[TokenClass]:
    """Label what follows the reasoning, as far as it is what ought to follow it."""
    labels = []
    for wanted, got in zip((")", "[", "0123456789", "]", "$"), code, strict=False):
        if got not in wanted:
            break
        labels.append(TokenClass.ANSWER if got.isdigit() else TokenClass.FORMAT)
    return labels


def _steps(code: str) -> list[Step]:
    return [(code[i], int(code[i + 1])) for i in range(0, len(code), 2)]


def _label_reasoning(problem: Problem, code: str) -> list[TokenClass]:
    """Read the reasoning from left to right."""
    labels: list[TokenClass] = []
    value: int | None = None  # the last result as written
    right: int | None = None  # what that result should have been; None before the first step
    width = 0  # number of operations of the last step
    done = 0  # number of the problem's operations worked
    while len(labels) < len(code):
        at = len(labels)
        if code[at] == "(" and at == 0:
            labels.append(TokenClass.FORMAT)
        elif code[at] == "h":
            labels.append(TokenClass.FILLER)
        elif code[at].isdigit() and value is None:
            value = int(code[at])
            labels.append(TokenClass.NEEDED if value == problem.first else TokenClass.SLIP)
        elif value is not None and (step := _STEP.match(code, at)):
            steps, result = _steps(step[1]), int(step[2])
            due = problem.steps[done : done + len(steps)]
            right = apply(value, due)
            labels += _label_step(tuple(steps), due, result == right)
            value, width, done = result, len(steps), done + len(steps)
        elif right is not None and (again := _restatement(width).match(code, at)):
            result = int(again[0].rstrip("of")[-1])
            if value != right and result == right:
                kind = TokenClass.CATCH
            else:
                kind = TokenClass.REPEATED if code[at] == "a" else TokenClass.CHECK
            labels += [kind] * len(again[0])
            if result not in (right, value):
                labels[at + len(again[0].rstrip("of")) - 1] = TokenClass.SLIP
            value = result
        else:
            labels.append(TokenClass.OTHER)
    return labels


def _label_step(steps: Sequence[Step], due: Sequence[Step], right: bool) -> list[TokenClass]:
    """Label a step or shortcut: operator and operand of every operation, `=` and the result."""
    size = 2 * len(steps) + 2
    if not due:
        return [TokenClass.OTHER] * size
    if steps != due:
        return [TokenClass.SLIP] * size
    kind = TokenClass.NEEDED if len(steps) == 1 else TokenClass.SHORTCUT
    return [kind] * (size - 1) + [kind if right else TokenClass.SLIP]


def _restatement(width: int) -> re.Pattern[str]:
    """A repetition as it was written, or a check in as many single steps as the last step had operations."""
    return re.compile(rf"a\d(?:[+\-*]\d)+=\d|c\d(?:[+\-*]\d=\d){{{width}}}[of]?")
