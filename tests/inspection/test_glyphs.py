"""Characters that act or hide are shown as stand-ins, all others as they are; numbers read well at any size."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iapo.inspection.glyphs import number, printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\x00\x1b[2J\r\x7f", "a␀␛[2J␍␡"),
        ("\ud800", "\N{REPLACEMENT CHARACTER}"),
        ("\u202eabc\u2069", "<U+202E>abc<U+2069>"),
        ("\x85\u2028\u200b\ufeff", "<U+0085><U+2028><U+200B><U+FEFF>"),
        ("a\tb\n 数👩\u200d🔬 é", "a\tb\n 数👩\u200d🔬 é"),
    ],
)
def test_stand_ins(text: str, shown: str) -> None:
    assert printable(text) == shown


@given(st.text(st.characters(categories=["Cc", "Cf", "Cs", "Zl", "Zp", "L", "Zs"])))
def test_nothing_acting_is_left(text: str) -> None:
    shown = printable(text)
    shown.encode()
    left = {c for c in shown if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp")}
    assert left <= set("\n\t\u200c\u200d")
    assert printable(shown) == shown


@given(st.floats(-1e9, 1e9))
def test_numbers_read_back(value: float) -> None:
    shown = number(value, sign=True)
    assert float(shown.replace("−", "-")) == pytest.approx(value, rel=1e-3, abs=6e-4)
    assert shown[0] == "+" if value >= 0.001 else not shown.startswith("+") or abs(value) < 0.001
    assert len(shown) <= 11
    assert not shown.startswith("−0.000")
