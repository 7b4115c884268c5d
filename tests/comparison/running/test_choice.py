"""The choice of a setting against enumeration."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iapo.comparison.running.choice import choose_setting

few = st.integers(0, 4).map(float)


@given(st.lists(st.tuples(few, few), min_size=1, max_size=6), st.sampled_from([0.0, 1.0, 9.0]))
def test_the_chosen_setting_is_the_shortest_one_accurate_enough(points, tolerance):
    names = [f"s{i}" for i in range(len(points))]
    accuracies = {name: point[0] for name, point in zip(names, points, strict=True)}
    lengths = {name: point[1] for name, point in zip(names, points, strict=True)}
    chosen = choose_setting(accuracies, lengths, tolerance)
    assert accuracies[chosen] >= max(accuracies.values()) - tolerance
    for name in names:
        if accuracies[name] >= max(accuracies.values()) - tolerance:
            assert (lengths[chosen], -accuracies[chosen]) <= (lengths[name], -accuracies[name])
    with pytest.raises(ValueError, match="got none"):
        choose_setting({}, {}, tolerance)


def test_a_setting_that_loses_all_that_may_be_given_up_is_taken():
    """In floating point 0.26 - 0.02 is more than 0.24."""
    assert choose_setting({"long": 0.26, "short": 0.24}, {"long": 9.0, "short": 5.0}, 0.02) == "short"
