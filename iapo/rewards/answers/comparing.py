"""Whether an answer says the same as a reference, by their kinds."""

import re
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

from iapo.rewards.answers.choice import Choice
from iapo.rewards.answers.congruence import Congruence, read_congruence
from iapo.rewards.answers.expression import Expression
from iapo.rewards.answers.moment import Clock, Date, Range, Ratio
from iapo.rewards.answers.notation import LONE_LETTER
from iapo.rewards.answers.parameters import renamed, renamings
from iapo.rewards.answers.quantity import Quantity
from iapo.rewards.answers.reading import Answer, Named
from iapo.rewards.answers.sequence import Sequence
from iapo.rewards.answers.vectors import column
from iapo.rewards.answers.words import Words

Formulas = Callable[[str, str], bool | None]
"""Whether two formulas in LaTeX are equal; ``None`` if the first cannot be read."""

_VERDICTS = {"Y": "yes", "N": "no", "T": "true", "F": "false"}
_INFINITE = frozenset(("\\infty", "-\\infty"))
_FUNCTION = re.compile(r"([A-Za-z])\s*\(([A-Za-z])\)")
_SYMBOLS = re.compile("[A-Z]{2,3}|p[A-Z]{1,2}")
"""A segment by its ends, a measure such as ``pH``."""
_ANGLE = re.compile(r"\\angle\s*[A-Z]")
_DERIVATIVE = re.compile(r"\\frac\{d[A-Za-z]\}\{d[A-Za-z]\}")
_VALUE = re.compile(r"([A-Za-z])\s*\(([A-Z]|-?\d+)\)")
"""What a function is at one place: ``P(A)``, ``f(2)``."""
_MOST_UNORDERED = 12
"""Parts of a set that are searched for in any order where formulas are among them."""


def same(wanted: Answer, given: Answer, formulas: Formulas) -> bool | None:
    """Whether an answer says the same as a reference.

    Args:
        wanted: the reference.
        given: the answer.
        formulas: compares two formulas.

    Returns:
        ``None`` if a formula of the reference had to be read and could not be.
    """
    if isinstance(wanted, Choice) != isinstance(given, Choice):
        return _same_choice(wanted, given, formulas)
    if isinstance(wanted, Named) or isinstance(given, Named):
        return _same_named(wanted, given, formulas)
    if isinstance(wanted, Sequence) and isinstance(given, Expression):
        return _same_vector(wanted, given, formulas)
    if isinstance(wanted, Expression) and isinstance(given, Sequence):
        return _same_vector(given, wanted, lambda one, two: formulas(two, one))
    if isinstance(wanted, Sequence):
        return _same_sequence(wanted, given, formulas) if isinstance(given, Sequence) else False
    if isinstance(wanted, Quantity) and isinstance(given, Quantity):
        return wanted.equals(given)
    if isinstance(wanted, Quantity | Expression) and isinstance(given, Quantity | Expression):
        return _same_formulas(wanted, given, formulas)
    if isinstance(wanted, Clock) and isinstance(given, Clock):
        return wanted.equals(given)
    if isinstance(wanted, Date) and isinstance(given, Date):
        return wanted.equals(given)
    if isinstance(wanted, Words) and isinstance(given, Words):
        return wanted.equals(given)
    if isinstance(wanted, Ratio) and isinstance(given, Quantity):
        return len(wanted.terms) == 2 and wanted.terms[0] == given.value * wanted.terms[1]
    if isinstance(wanted, Ratio) and isinstance(given, Ratio):
        return wanted.equals(given)
    if isinstance(wanted, Congruence) and isinstance(given, Expression):
        return wanted == read_congruence(given.formula, frozenset(LONE_LETTER.findall(given.formula)))
    if isinstance(wanted, Range) and isinstance(given, Expression):
        return wanted.text == given.formula.replace(" ", "")
    return wanted == given


def _same_choice(wanted: Answer, given: Answer, formulas: Formulas) -> bool:
    """Whether of a choice and another answer the other is its letter, or says what the choice has behind its letter."""
    if isinstance(wanted, Choice):
        choice, other, pairs = wanted, given, [(said, given) for said in wanted.said]
    else:
        assert isinstance(given, Choice)
        choice, other, pairs = given, wanted, [(wanted, said) for said in given.said]
    is_letter = isinstance(other, Expression) and other.formula.upper() == choice.letter
    is_verdict = isinstance(wanted, Words) and wanted.tokens == (_VERDICTS.get(choice.letter),)
    return is_letter or is_verdict or any(same(one, two, formulas) for one, two in pairs)


def formulas_of(answer: Answer) -> list[str]:
    """The formulas of an answer that must be read before it can be compared with any other."""
    if isinstance(answer, Sequence):
        return [formula for item in answer.items for formula in formulas_of(item)]
    if isinstance(answer, Named):
        return formulas_of(answer.answer)
    return [answer.formula] if isinstance(answer, Expression) else []


def _same_formulas(wanted: Quantity | Expression, given: Quantity | Expression, formulas: Formulas) -> bool | None:
    if {_angle_unit(wanted), _angle_unit(given)} == {"degrees", "radians"}:
        wanted, given = (_in_radians(each) for each in (wanted, given))
    if not wanted.unit.agrees(given.unit):
        return False
    if wanted.unit and given.unit and wanted.unit.factor != given.unit.factor:
        return False
    one, two = (answer.formula.replace(" ", "").removeprefix("+") for answer in (wanted, given))
    if one == two or _INFINITE & {one, two}:
        return one == two
    equal = formulas(wanted.formula, given.formula)
    if equal is not False or not isinstance(wanted, Expression):
        return equal
    ways = renamings(wanted.formula, wanted.parameters, given.formula)
    return any(formulas(wanted.formula, renamed(given.formula, way)) for way in ways)


def _angle_unit(answer: Quantity | Expression) -> str | None:
    """``degrees`` or ``radians``, whose unit may be left unsaid beside pi; ``None`` of what is no angle."""
    units = {kind for kind, _ in answer.unit.dimensions}
    if units == {"radian"} or (not units and "\\pi" in answer.formula):
        return "radians"
    return "degrees" if units == {"degree"} else None


def _in_radians(answer: Quantity | Expression) -> Expression:
    if _angle_unit(answer) == "radians":
        return Expression(answer.formula)
    factor = answer.unit.factor / 180
    return Expression(rf"({answer.formula}) \cdot \frac{{{factor.numerator}\pi}}{{{factor.denominator}}}")


def _same_named(wanted: Answer, given: Answer, formulas: Formulas) -> bool | None:
    if isinstance(wanted, Named) and isinstance(given, Named):
        given = _of_the_same_letter(wanted, given)
        if _name_other_things(wanted.name, given.name):
            solved = isinstance(wanted.answer, Expression) and given.name in wanted.answer.formula  # "a = 2b, b = a/2"
            return formulas(wanted.equation.formula, given.equation.formula) if solved else False
        return same(wanted.answer, given.answer, formulas)
    if isinstance(wanted, Named):
        if isinstance(given, Expression) and "=" in given.formula:
            return formulas(wanted.equation.formula, given.formula)
        return same(wanted.answer, given, formulas)
    assert isinstance(given, Named)
    if isinstance(wanted, Expression) and "=" in wanted.formula:
        return formulas(wanted.formula, given.equation.formula)
    return same(wanted, given.answer, formulas)


def _of_the_same_letter(wanted: Named, given: Named) -> Named:
    """The answer with the reference's letter for what a function is of: ``f(t) = 2t`` is ``f(x) = 2x``."""
    one, two = (_FUNCTION.fullmatch(named.name) for named in (wanted, given))
    if one is None or two is None or one[1] != two[1] or one[2] == two[2] or not isinstance(given.answer, Expression):
        return given
    formula = given.answer.formula
    if renamed(formula, {one[2]: ""}) != formula:  # the letter stands for something else there
        return given
    names = {two[2]: one[2]}
    answer = replace(given.answer, formula=renamed(formula, names))
    return Named(wanted.name, answer, replace(given.equation, formula=renamed(given.equation.formula, names)))


def _name_other_things(one: str, two: str) -> bool:
    """Whether names cannot stand for the same: other letters, segments or places, ``pH`` and ``pOH``."""
    both = (one, two)
    if all(len(name) == 1 for name in both) or all(map(_SYMBOLS.fullmatch, both)):
        return sorted(one) != sorted(two)
    return one != two and any(all(map(pattern.fullmatch, both)) for pattern in (_ANGLE, _VALUE, _DERIVATIVE))


def _same_vector(components: Sequence, formula: Expression, formulas: Formulas) -> bool | None:
    """Whether a tuple has the components of a vector that is written as a column."""
    is_tuple = components.brackets in ("()", "[]") and all(
        isinstance(x, Quantity | Expression) for x in components.items
    )
    if not is_tuple or "matrix}" not in formula.formula:
        return False
    return formulas(column(item.formula for item in components.items), formula.formula)


def _same_sequence(wanted: Sequence, given: Sequence, formulas: Formulas) -> bool | None:
    if len(wanted.items) != len(given.items):
        return False
    if wanted.variable and given.variable and wanted.variable != given.variable:
        return False
    if wanted.brackets == "{}" and given.brackets == "[]" and len(given.items) != 2:
        given = Sequence("{}", given.items)  # a list of a set's members, and no interval
    names = wanted.names or given.names
    if wanted.names and given.names:
        if set(wanted.names) == set(given.names):
            given = Sequence("()", tuple(given.items[given.names.index(name)] for name in wanted.names))
        elif set(wanted.names) & set(given.names) or all(map(_is_symbol, wanted.names + given.names)):
            return False
        wanted = Sequence("()", wanted.items)
    elif names and (not _numbered(names) or wanted.ordered or given.ordered):
        wanted, given = (Sequence("()", _by_name(each)) for each in (wanted, given))
    if wanted.brackets.strip() and given.brackets.strip() and not _brackets_agree(wanted, given):
        return False
    if wanted.ordered or given.ordered or len(wanted.items) > _MOST_UNORDERED:
        return _all(same(one, two, formulas) for one, two in zip(wanted.items, given.items, strict=True))
    left = list(given.items)
    for item in wanted.items:
        for index, candidate in enumerate(left):
            equal = same(item, candidate, formulas)
            if equal is None:
                return None
            if equal:
                del left[index]
                break
        else:
            return False
    return True


def _brackets_agree(wanted: Sequence, given: Sequence) -> bool:
    """Only of two numbers do round and square brackets say different things; braces never hold what is in order."""
    if wanted.brackets == given.brackets:
        return True
    return len(wanted.items) != 2 and wanted.ordered == given.ordered


def _is_symbol(name: str) -> bool:
    """Whether a name is no word, which could have been another: ``x``, ``x_{1}``."""
    return len(name.partition("_")[0]) == 1


def _numbered(names: tuple[str, ...]) -> bool:
    """Whether names are one letter with numbers, as of the roots ``x_{1}`` and ``x_{2}``."""
    return len({name.partition("_")[0] for name in names}) == 1


def _by_name(sequence: Sequence) -> tuple[Any, ...]:
    """The items in the order of their names, if these are single letters: ``y = 1, x = 2`` is the point (2, 1)."""
    if not sequence.names or any(len(name) > 1 for name in sequence.names):
        return sequence.items
    named = sorted(zip(sequence.names, sequence.items, strict=True), key=lambda pair: pair[0])
    return tuple(item for _, item in named)


def _all(results: Iterable[bool | None]) -> bool | None:
    return next((result for result in results if not result), True)
