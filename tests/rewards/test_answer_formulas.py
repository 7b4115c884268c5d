"""Calculations in LaTeX against their values by exact arithmetic."""

import math
from fractions import Fraction
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from iapo.rewards import MathAnswer

SUM, PRODUCT, ATOM = range(3)


class Term(NamedTuple):
    """A calculation, its value, and how tightly it binds."""

    latex: str
    value: Fraction
    binds: int = ATOM

    def inside(self, binds: int) -> str:
        return self.latex if self.binds >= binds else rf"\left({self.latex}\right)"


def of_small_numbers() -> st.SearchStrategy[Term]:
    small = st.integers(2, 9)
    return st.one_of(
        small.map(lambda n: Term(str(n), Fraction(n))),
        st.sampled_from(("1.5", "2.5", "7.25")).map(lambda text: Term(text, Fraction(text))),
        st.tuples(small, st.integers(1, 9)).map(
            lambda pair: Term(rf"\binom{{{sum(pair)}}}{{{pair[0]}}}", Fraction(math.comb(sum(pair), pair[0])))
        ),
        st.integers(3, 6).map(lambda n: Term(f"{n}!", Fraction(math.factorial(n)))),
        small.map(lambda n: Term(rf"\sqrt{{{n * n}}}", Fraction(n))),
        st.tuples(small, st.integers(2, 4)).map(
            lambda pair: Term("{}^{{{}}}".format(*pair), Fraction(pair[0] ** pair[1]))
        ),
    )


def combined(terms: st.SearchStrategy[Term]) -> st.SearchStrategy[Term]:
    pairs = st.tuples(terms, terms)
    return st.one_of(
        pairs.map(
            lambda pair: Term(f"{pair[0].latex} + {pair[1].inside(PRODUCT)}", pair[0].value + pair[1].value, SUM)
        ),
        pairs.map(
            lambda pair: Term(f"{pair[0].latex} - {pair[1].inside(PRODUCT)}", pair[0].value - pair[1].value, SUM)
        ),
        pairs.map(
            lambda pair: Term(
                rf"{pair[0].inside(PRODUCT)} \cdot {pair[1].inside(ATOM)}", pair[0].value * pair[1].value, PRODUCT
            )
        ),
        pairs.map(
            lambda pair: Term(f"{pair[0].inside(ATOM)}({pair[1].latex})", pair[0].value * pair[1].value, PRODUCT)
        ),
        pairs.map(
            lambda pair: Term(
                rf"{pair[0].inside(ATOM)}\binom{{5}}{{2}}({pair[1].latex})", pair[0].value * 10 * pair[1].value, PRODUCT
            )
        ),
        pairs.filter(lambda pair: pair[1].value != 0).map(
            lambda pair: Term(rf"\frac{{{pair[0].latex}}}{{{pair[1].latex}}}", pair[0].value / pair[1].value, PRODUCT)
        ),
        terms.map(lambda term: Term(rf"\left|{term.latex}\right|", abs(term.value))),
        terms.map(lambda term: Term(rf"\lfloor {term.latex} \rfloor", Fraction(math.floor(term.value)))),
    )


def written(value: Fraction) -> str:
    return str(value) if value.denominator == 1 else rf"\frac{{{value.numerator}}}{{{value.denominator}}}"


@pytest.fixture(scope="module")
def maths():
    reward = MathAnswer(time_limit=20.0)
    yield reward
    reward.close()


@settings(max_examples=40, deadline=None)
@given(term=st.recursive(of_small_numbers(), combined, max_leaves=5))
def test_a_calculation_is_its_value_and_no_other(maths, term):
    if abs(term.value) > 10**9:
        return
    right, wrong = written(term.value), written(term.value + 1)
    grades = maths(["", ""], 2 * [f"<answer>{term.latex}</answer>"], [[], []], answer=[right, wrong])
    assert grades == [1.0, 0.0], (term.latex, right)
