"""Values that are read back from their text are those that Python, JSON or NumPy wrote."""

import json
import math

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from iapo.ops.written_values import written_value

words = st.text(st.characters(codec="utf-8"), max_size=8)
scalars = st.none() | st.booleans() | st.integers(-99, 99) | st.floats(allow_nan=False, allow_infinity=False) | words
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3), max_leaves=6
)


@given(values)
def test_what_python_and_json_write_is_read_back(value):
    assert written_value(json.dumps(value)) == value
    assert written_value(repr(value)) == value


@given(st.lists(st.integers(-99, 99) | st.text("ab ,[]'", min_size=1, max_size=4), min_size=1, max_size=40))
def test_arrays_are_lists_of_their_elements_wherever_their_lines_end(elements):
    array = numpy.array(elements, dtype=object)
    assert written_value(str(array)) == written_value(repr(array)) == elements
    assert written_value(repr({"a": array, "b": [array]})) == {"a": elements, "b": [elements]}


def test_arrays_of_arrays_and_numbers():
    assert written_value(str(numpy.array([[1, 2], [3, 4]]))) == [[1, 2], [3, 4]]
    assert written_value(repr([numpy.float64(0.5), numpy.str_("x")])) == [0.5, "x"]
    first, second = written_value(str(numpy.array([math.nan, 2.0])))
    assert math.isnan(first)
    assert second == 2.0


@pytest.mark.parametrize(
    "text", ["", "four", "[0, 1)", "print(4)", "x.float64", "float64()", "[1", "'a" * 20, "nan nan"]
)
def test_anything_else_is_none(text):
    assert written_value(text) is None


def test_only_json_is_read_beyond_the_longest():
    assert written_value("['1']", longest=5) == ["1"]
    assert written_value("['1']", longest=4) is None
    assert written_value('["1"]', longest=4) == ["1"]
