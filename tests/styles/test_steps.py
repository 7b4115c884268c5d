"""Where steps end, and what is no rule of it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iapo.styles import Steps


def test_patterns_beside_lines():
    steps = Steps(sentences=False, patterns=(r"=\s*\d+", "(?=Wait)"))
    text = "2+3 = 5, so 5+1=6 Wait. No.\nDone"
    assert [text[:end] for end in steps.ends(text)] == [
        "2+3 = 5",
        "2+3 = 5, so 5+1=6",
        "2+3 = 5, so 5+1=6 ",
        "2+3 = 5, so 5+1=6 Wait. No.\n",
    ]


@given(st.text(alphabet="a.? \n=1W", max_size=30))
def test_all_rules_together_end_where_each_alone_does(text):
    alone = [Steps(), Steps(lines=False), Steps(sentences=False), Steps(False, False, ("=1", "(?=W)"))]
    assert Steps(patterns=("=1", "(?=W)")).ends(text) == sorted({end for each in alone for end in each.ends(text)})


def test_no_rule_and_no_pattern():
    with pytest.raises(ValueError, match=r"lines, sentences, patterns: got False, False, \(\), want at least one"):
        Steps(lines=False, sentences=False)
    with pytest.raises(ValueError, match=r"patterns: got '\(', want a regular expression"):
        Steps(patterns=("(",))
