"""A component takes the numbers that its message says it wants, up to the ends of the range, and no others."""

import dataclasses
import math
import re

import pytest
from test_contracts import ASSIGNERS, ESTIMATORS, LOSSES, SHAPINGS, component_of

from iapo import advantages, estimators

COMPONENTS = [
    *map(component_of, [*ASSIGNERS, *LOSSES, *ESTIMATORS]),
    *SHAPINGS,
    advantages.LaserD((3, 6)),
    estimators.EveryTokens(3),
    estimators.StepBoundaries(surprisal=0.3),
]
LOWEST = {r"from (-?[\d.]+) to": True, r"at least (-?[\d.]+)": True, r"above (-?[\d.]+)": False, r"positive()": False}
HIGHEST = {r"from \S+ to (-?[\d.]+)": True, r"at most (-?[\d.]+)": True, r"below (-?[\d.]+)": False}
"""How a message names an end of a range, and whether it belongs to it."""


def refusal(component, name, value):
    """What is said against a value of a field; empty if nothing is."""
    try:
        dataclasses.replace(component, **{name: value})
    except (TypeError, ValueError) as error:
        return str(error) if str(error).startswith(f"{name}: got") else ""
    return ""


def ranges():
    """Components, their fields that are numbers of a range, and the range in words; each class and field once."""
    found = {}
    for component in filter(dataclasses.is_dataclass, COMPONENTS):
        for each in dataclasses.fields(component):
            _, _, want = refusal(component, each.name, math.nan).partition(", want ")
            if not re.search("tuple|numbers", want) and any(re.search(end, want) for end in [*LOWEST, *HIGHEST]):
                found[type(component).__name__, each.name] = (component, each.name, want)
    return list(found.values())


RANGES = ranges()


def test_ranges_are_found():
    assert len(RANGES) > 60


@pytest.mark.parametrize(
    ("component", "name", "want"), RANGES, ids=[f"{type(each).__name__}-{n}" for each, n, _ in RANGES]
)
def test_the_range_in_words_is_the_range(component, name, want):
    for ends, outwards in ((LOWEST, -math.inf), (HIGHEST, math.inf)):
        for pattern, belongs in ends.items():
            if (match := re.search(pattern, want)) is None:
                continue
            end = float(match[1].rstrip(".") or 0)
            beyond, within = math.nextafter(end, outwards), math.nextafter(end, -outwards)
            if "integer" in want:
                end = int(end)
                beyond, within = (end - 1, end + 1) if outwards < 0 else (end + 1, end - 1)
            assert bool(refusal(component, name, end)) != belongs
            assert refusal(component, name, beyond)
            assert not refusal(component, name, within)
