"""What is printed to be pasted means the path that it was printed for."""

import shlex

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from iapo.ops.shell import quoted_list, quoted_path

NAMES = [
    "model",
    "runs/a-1/checkpoint-2",
    "my run",
    "it's",
    "a, b",
    "[1]",
    "null",
    "123",
    "1e5",
    "a: b",
    "#x",
    "\u00e4\n",
    "~/a",
]


@pytest.mark.parametrize("name", NAMES)
def test_a_path_is_pasted_as_it_is(name):
    assert shlex.split(quoted_path(name)) == [name]
    assert [yaml.safe_load(word) for word in shlex.split(quoted_list(name))] == [[name]]


@given(st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cn", "Cs", "Zl", "Zp"]), min_size=1))
def test_any_path_is_pasted_as_it_is(name):
    assert [yaml.safe_load(word) for word in shlex.split(quoted_list(name))] == [[name]]
