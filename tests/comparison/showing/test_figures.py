"""Charts and mean curves."""

import re

import pytest

from iapo.comparison.showing.figures import Series, chart, mean_curve


def test_charts_fit_their_points():
    drawn = chart([Series("a", 0, [(1, 0.5), (2, 0.75), (32, 1.0)], link="a/")], "k", "Pass@k", log_x=True)
    numbers = [float(x) for x in re.findall(r'cx="([\d.]+)"', drawn)]
    assert numbers == sorted(numbers)
    assert (numbers[1] - numbers[0]) * 4 == pytest.approx(numbers[2] - numbers[1], abs=0.5)
    assert all(0 < x < 440 for x in numbers)
    assert 'href="a/"' in drawn
    assert chart([], "x", "y") == ""


def test_a_mean_curve_lies_where_all_curves_are():
    assert mean_curve([]) == []
    assert mean_curve([[(0, 1.0), (1, 1.0)], [(2, 1.0), (3, 1.0)]]) == []
    curve = mean_curve([[(1, 2.0), (5, 2.0)], [(0, 4.0), (4, 4.0)]], points=4)
    assert curve == [(1.0, 3.0), (2.0, 3.0), (3.0, 3.0), (4.0, 3.0)]
