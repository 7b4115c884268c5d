"""The study's figure: what it reads of a table, and names that do not overlap."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from study_figure import Point, read_points, spread

from iapo.evaluation import Interval

TABLE = """
| method | setting | accuracy | mean length | above shortest |
| --- | --- | --- | --- | --- |
| base | untrained | 0.802 (0.789 to 0.814) | 47.8 (46.1 to 49.4) | 24.9 (23.8 to 25.8) |
| leave_out † | default | 0.988 (0.981 to 0.992) | 23.0 (22.3 to 23.6) | -0.1 (-0.2 to 0.0) |

| method | other |
"""


def test_it_reads_the_rows_of_a_report():
    base, ours = read_points(TABLE)

    assert base == Point("base", Interval(0.802, 0.789, 0.814), Interval(47.8, 46.1, 49.4), pytest.approx(22.9))
    assert (ours.name, ours.shortest) == ("leave_out", pytest.approx(23.1))


@pytest.mark.parametrize("table", ["", "| method | accuracy |", TABLE.replace(" (46.1 to 49.4)", "")])
def test_what_is_no_report_is_refused(table):
    with pytest.raises(ValueError, match="want a report of iapo compare"):
        read_points(table)


@pytest.mark.parametrize(
    ("name", "family"),
    [
        ("leave_out_mild", "what could be left out"),
        ("leave_out_permuted", "control"),
        ("grpo", "outcome only"),
        ("grpo_s", "outcome only"),
        ("iapo_steps", "information about the answer"),
        ("arora_zanette_mild", "price on length"),
        ("basest", "information about the answer"),
    ],
)
def test_a_method_is_known_by_the_first_words_of_its_name(name, family):
    assert Point(name, Interval(0.5, 0.5, 0.5), Interval(1, 1, 1), None).family == family


@given(st.lists(st.floats(0, 1), max_size=20))
def test_names_keep_their_order_and_their_distance(wanted):
    places = spread(wanted, 0.05)

    assert all(-1e-9 <= place <= 1 + 1e-9 for place in places)
    order = sorted(range(len(wanted)), key=wanted.__getitem__)
    assert all(places[b] - places[a] >= 0.05 - 1e-9 for a, b in pairwise(order))


@given(st.lists(st.integers(1, 9), unique=True))
def test_names_with_room_stand_where_they_want_to(wanted):
    assert spread([each / 10 for each in wanted], 0.05) == pytest.approx([each / 10 for each in wanted])
