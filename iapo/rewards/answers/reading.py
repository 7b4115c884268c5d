"""From the text of an answer to what it says: a record of its kind."""

import re
from dataclasses import dataclass, replace
from typing import Any

from iapo.rewards.answers.choice import Choice, read_choice
from iapo.rewards.answers.congruence import Congruence, read_congruence
from iapo.rewards.answers.elsewhere import as_in_english
from iapo.rewards.answers.expression import Expression, is_formula, read_expression
from iapo.rewards.answers.moment import Moment, read_moments
from iapo.rewards.answers.notation import LONE_LETTER, plain
from iapo.rewards.answers.numerals import ordinal_value
from iapo.rewards.answers.parameters import without_parameters
from iapo.rewards.answers.parts import ARITHMETIC, sides_of
from iapo.rewards.answers.phrases import undressed
from iapo.rewards.answers.quantity import Quantity
from iapo.rewards.answers.read_quantity import Bounded, read_compound, read_quantity
from iapo.rewards.answers.rounded import are_near, with_sign
from iapo.rewards.answers.sentences import calculated, explained, no_solution, stated
from iapo.rewards.answers.sequence import Sequence, is_pair_or_thousands, split_sequence
from iapo.rewards.answers.spoken import written
from iapo.rewards.answers.words import Words, read_words

_SYMBOL = re.compile(r"(?:[A-Za-z]|\\[A-Za-z]+)(?:_\{[^{}]*\})?")
_NAME = re.compile(
    r"[^\d+*/<>;^]*|(?:[A-Za-z]|\\[A-Za-z]+)(?:_\{[^{}]*\}|\^\{?(?:-1|\*|'+|\\prime|\\circ|[A-Zc])\}?)?(?:\([^()]*\))?"
)
_FUNCTION_OF = re.compile(r"[A-Za-z]'*\(([A-Za-z])\)")
_POINT = re.compile(r"(?!C\s*\()([A-Z]'?(?:_\{\d+\})?)\s*(?=\([^()]*,[^()]*\)$)")
"""The name in front of a point: ``P(4, \\sqrt{3})``."""
_NUMBER_SETS = {"N": "natural numbers", "Z": "integers", "Q": "rational numbers", "C": "complex numbers"}
_SIGNS = {"+": "positive ", "-": "negative ", None: ""}
_NUMBER_SET = re.compile(r"\\mathbb\s*\{?\s*([NZQC])\s*\}?(?:\s*[\^_]\s*\{?\s*([+-])\s*\}?)?")
_NOT_NAMED = re.compile(r"\b(?:no|not|never|neither|nor)\b", re.IGNORECASE)
_EVALUATED = re.compile(r"\\(?:lim|int|sum|prod)(?![A-Za-z])")
"""What is set equal to its value: a limit, an integral, a sum, a product."""
_OPTION = re.compile(r"\(?[A-Za-z][).:]+\s+(?=\S)")
"""The letter in front of what an option says: ``(D) All of the above``."""
_IDENTIFIER = re.compile(r"\b(?:version|release)\s+\d|(?<![\d.])\d+(?:\.\d+){2,}(?![\d.])", re.IGNORECASE)
"""Digits and points that are no number: of versions, of addresses."""
_PRONOUN = re.compile(
    r"the\s+(?!number\b|digit\b)(?:[a-z0-9-]+\s+){1,4}(?<!ty )(?<!hundred )(?<!and )one"
    r"|(?:first|second|third|last|other|left|right)\s+one",
    re.IGNORECASE,
)
"""Something that one stands for: ``the second one``."""
_CONSTANT = re.compile(r"\\(?:pi|sqrt|log|ln|exp|sin|cos|tan)(?![A-Za-z])")
_CALLED = re.compile(
    r"(?:the\s+)?(?!(?:first|second|third|one|other|another)\b)([A-Za-z]{2,})\b(?=[^\d\\]*\d)|['\"](\w+)['\"]\s*:",
    re.IGNORECASE,
)
"""The word in front of a number: ``mean 5``."""
_EXTREME = re.compile(r"(?:the\s+)?(max|min)(?:imum)?(?:\s+value)?\s*(?:is|of|:|=)?\s*(?=[-$\d\\])", re.IGNORECASE)
"""What one of two extremes is called, which alone would be a bound: ``maximum 5``."""
_EXTREMES = re.compile(r"\b(max|min)\b(?!imum)")
_CASES = re.compile(r"(?:(?P<name>[^=\\]+)=\s*)?\\begin\{cases\}(?P<rows>.*)\\end\{cases\}")
_LABELED = re.compile(r"^(?:([A-Za-z])\s*:|\(([A-Za-z])\))\s*(?=\S)")
"""The name in front of one of several values: ``A: 3, B: 5``, ``(a) 3, (b) 5``."""
_RELATED = re.compile(r"[<>]|\\(?:[lg]eq|in)(?![A-Za-z])")
_WHERE = re.compile(r"^\s*(?:if|when|for|where)\b\s*", re.IGNORECASE)
_DEEPEST = 3


@dataclass(frozen=True)
class Named:
    """An answer with the name that an equation gives it: ``y = 2x + 1``.

    Args:
        name: what stands before the sign of equality.
        answer: what stands behind it.
        equation: both.
    """

    name: str
    answer: Any
    equation: Expression


Answer = Quantity | Congruence | Moment | Sequence | Named | Choice | Words | Expression
"""What an answer can be."""


def readings(text: str) -> list[Answer]:
    r"""All that an answer can mean, the likeliest first; nothing if there is nothing to read.

    A reference means the first; an answer may mean any.

    Args:
        text: as `iapo.rewards.text.normalize` leaves it.

    Example:
        >>> readings("(B)"), readings("$1,072$")[0].value, readings(r"\sqrt{2}")[0].formula, readings(" ")
        ([Choice(letter='B', said=())], Fraction(1072, 1), '\\sqrt{2}', [])
    """
    text, letters = without_parameters(undressed(plain(text)))
    text = with_sign(text)
    read = [*_read(text, 0), *_read(as_in_english(text), 0)]
    return [_with_parameters(answer, letters) for answer in read] if letters else read


def _with_parameters(answer: Any, letters: frozenset[str]) -> Any:
    """The answer whose formulas know which of their letters stand for any number."""
    if isinstance(answer, Expression):
        return read_congruence(answer.formula, letters) or replace(answer, parameters=letters)
    if isinstance(answer, Named):
        equation = replace(answer.equation, parameters=letters)
        return Named(answer.name, _with_parameters(answer.answer, letters), equation)
    if isinstance(answer, Sequence):
        return replace(answer, items=tuple(_with_parameters(item, letters) for item in answer.items))
    return answer


def _read(text: str, depth: int) -> list[Answer]:
    if not text:
        return []
    if (choice := read_choice(text)) is not None:
        option = _OPTION.match(text)
        said = _read(undressed(text[option.end() :]), depth + 1) if option is not None and depth == 0 else []
        return [replace(choice, said=tuple(answer for answer in said if not isinstance(answer, Choice)))]
    if (congruence := read_congruence(text)) is not None:
        return [congruence]
    if (pieces := _pieces(text, depth)) is not None:
        return [pieces]
    if moments := read_moments(text):
        return list(moments)
    if _IDENTIFIER.search(text) or _PRONOUN.fullmatch(text):
        return [read_words(text)]
    if (numbers := _NUMBER_SET.fullmatch(text)) is not None:
        return [read_words(f"{_SIGNS[numbers[2]]}{_NUMBER_SETS[numbers[1]]}")]
    if (point := _POINT.match(text)) is not None:
        return [Named(point[1], each, read_expression(text)) for each in _read(text[point.end() :], depth)]
    if "≈" in text and split_sequence(text) is None:
        return _about(text, depth)
    found: list[Answer] = []
    equation = _equation(text, depth)
    if equation is not None:
        return equation
    quantity = read_quantity(text) or read_compound(text)
    if isinstance(quantity, Bounded):
        found.append(_side(quantity))
    elif quantity is not None:
        found.append(quantity)
    sequence = _sequence(text, depth)
    if sequence is None and quantity is None and (place := ordinal_value(text)) is not None:
        found.append(Quantity(place, ordinal="words"))
    if sequence is not None:
        found.insert(0 if is_pair_or_thousands(text.strip("()[]{}\\ ")) else len(found), sequence)
    if not found:
        if is_formula(text) and split_sequence(text) is None:
            return [read_expression(text)]
        formula = written(text)
        said = _read(formula, depth + 1) if formula else []
        found = [*no_solution(text), read_words(text), *said, *explained(text), *calculated(text)]
        value = stated(text) if depth == 0 else ""
        return [*found, *_read(value, depth + 1)]
    is_sentence = isinstance(found[0], Sequence) and not found[0].brackets
    return [*found, *calculated(text)] if is_sentence else found


def _pieces(text: str, depth: int) -> Answer | None:
    """A function by its pieces: the set of the pairs of what it is and where; ``None`` if the text is none."""
    found = _CASES.fullmatch(text)
    rows = [row.split("&") for row in found["rows"].split("\\\\") if row.strip()] if found is not None else []
    if found is None or any(len(row) != 2 for row in rows):
        return None
    texts = [(value.strip(" ,;"), _WHERE.sub("", condition).strip(" ,;.")) for value, condition in rows]
    read = [tuple(_read(undressed(part), depth + 1)[:1] for part in pair) for pair in texts]
    if not all(value and condition for value, condition in read):
        return None
    pieces = Sequence("{}", tuple(Sequence("()", (*value, *condition)) for value, condition in read))
    return pieces if found["name"] is None else Named(found["name"].strip(), pieces, read_expression(text))


def _sequence(text: str, depth: int) -> Sequence | None:
    split = split_sequence(text) if depth < _DEEPEST else None
    if split is None:
        return None
    brackets, parts = split
    if parts and brackets == "" and not any(re.search(r"[\d\\=]|^\s*-\s*i$", part) for part in parts):
        return None  # "x, y", "p \\land q" and "cat, dog" are texts
    if all(map(_LABELED.match, parts)):
        parts = [_LABELED.sub(r"\1\2 = ", part) for part in parts]
    extremes = [found[1].lower() for part in parts if (found := _EXTREME.match(part)) is not None]
    if len(extremes) == len(parts):
        parts = [_EXTREME.sub("", part) for part in parts]
    else:
        extremes = []
    items = [_read(undressed(part), depth + 1)[:1] for part in parts]
    if any(not item or isinstance(item[0], Words) for item in items) and brackets in ("", " "):
        return None
    if not all(items):
        return None
    answers = tuple(item[0] for item in items)
    sides = [_EXTREMES.sub(r"\1imum", answer.name) if isinstance(answer, Named) else "" for answer in answers]
    words = [_word_in_front(part) or side for part, side in zip(parts, sides, strict=True)]
    for names in (extremes, words, sides):
        if names and all(names) and len(set(names)) == len(names) > 1:
            return Sequence(brackets, answers, tuple(names))
    if points := _points(sides, answers):
        return Sequence(brackets, points)
    return Sequence(brackets, answers, variable=_variable(text, parts))


def _points(names: list[str], answers: tuple[Answer, ...]) -> tuple[Sequence, ...]:
    """Several values of the same letters, one point after the other: ``x = 1, y = 2 or x = 3, y = 4``; else nothing."""
    each = list(dict.fromkeys(names))
    count = len(each)
    if not all(names) or count < 2 or count == len(names) or each * (len(names) // count) != names:
        return ()
    return tuple(Sequence("", answers[first : first + count], tuple(each)) for first in range(0, len(answers), count))


def _variable(text: str, parts: list[str]) -> str:
    """The letter of which a relation is said: ``x`` of ``x > a``; empty if there is none, or more than one."""
    letters = set(LONE_LETTER.findall(text)) - set(LONE_LETTER.findall(" ".join(parts)))
    return letters.pop() if len(letters) == 1 and _RELATED.search(text) else ""


def _word_in_front(part: str) -> str:
    """What one of several answers is called by the word in front of its number; empty if there is none."""
    called = _CALLED.match(part)
    return "" if called is None else (called[1] or called[2]).lower()


def _about(text: str, depth: int) -> list[Answer]:
    r"""What stands before the sign of about equal, if it is a value (``2\pi ≈ 6.28``), then what stands behind it.

    Two numbers that are not near each other are two answers, and so none.
    """
    before, _, behind = text.rpartition("≈")
    exact = before.partition("≈")[0].strip()
    if _NAME.fullmatch(exact) and not _CONSTANT.match(exact) and exact != "e":
        return _read(undressed(text.replace("≈", "=")), depth)
    values, rounded = (_read(undressed(side), depth) for side in (exact, behind))
    one, two = (next(iter(side), None) for side in (values, rounded))
    if isinstance(one, Quantity) and isinstance(two, Quantity) and not are_near(one, two):
        return [read_words(text)]
    return values + rounded


def _equation(text: str, depth: int) -> list[Answer] | None:
    """An equation that gives a value to a name, or to a calculation; ``None`` if the text is none or another one.

    ``25 = x^{2} + y^{2}`` is read as an equation first, and as an answer may also mean its last side.
    """
    sides = sides_of(text)
    if len(sides) < 2 or not sides[-1]:
        return None
    if len(sides) == 2 and sides[0] and _SYMBOL.fullmatch(sides[1]) and ARITHMETIC.fullmatch(sides[0]):  # "5 = x"
        sides.reverse()
    if all(ARITHMETIC.fullmatch(side) for side in sides[:-1]):
        value = _read(undressed(sides[-1]), depth)
        is_turned = bool(sides[0]) and any(isinstance(each, Expression) for each in value[:1])
        return [read_expression(text), *value] if is_turned and LONE_LETTER.search(sides[-1]) else value
    if split_sequence(text) is not None:
        return None
    first = sides[0]
    if (_NAME.fullmatch(first) and not _NOT_NAMED.search(first)) or _EVALUATED.match(first):
        of = _FUNCTION_OF.fullmatch(first)
        is_argument = of is not None and sides[-1].endswith(of[1])  # "f(t) = 2t" has no tons
        value = [read_expression(sides[-1])] if is_argument else _read(undressed(sides[-1]), depth)
        return [Named(first, answer, read_expression(text)) for answer in value]
    return None


def _side(bounded: Bounded) -> Sequence:
    closed = bounded.relation.endswith("=")
    if bounded.relation.startswith("<"):
        return Sequence("(]" if closed else "()", (Expression("-\\infty"), bounded.bound))
    return Sequence("[)" if closed else "()", (bounded.bound, Expression("\\infty")))
