"""The numbers that components have if none are given: another one would silently change what is trained."""

import pytest

from iapo.advantages import (
    GFPO,
    GTPO,
    RLOO,
    AroraZanette,
    GroupRelative,
    InformationAware,
    KimiLength,
    L1Length,
    ReinforcePlusPlus,
    ShorterBetter,
    SoftOverlong,
)


@pytest.mark.parametrize(
    ("component", "expected"),
    [
        (GroupRelative(), {"scale": "std", "eps": 1e-4, "allow_singletons": False}),
        (RLOO(), {"allow_singletons": False}),
        (ReinforcePlusPlus(), {"discount": 1.0}),
        (GFPO(2), {"by": "length", "eps": 1e-4}),
        (GTPO(), {"outcome_weight": 1.0, "entropy_weight": 0.1}),
        (
            InformationAware(),
            {"outcome": GroupRelative(), "alpha": 0.5, "beta": 0.0, "credit": "to_go", "discount": 0.9},
        ),
        (InformationAware(), {"center": "group", "scale": "std", "resolution": 1e-4}),
        (
            InformationAware(),
            {"applies_to": "correct", "solve_rate_power": 0.0, "covers": "measured"},
        ),
        (AroraZanette(), {"weight": 0.2}),
        (KimiLength(), {"weight": 1.0}),
        (L1Length(9), {"weight": 3e-4}),
        (ShorterBetter(), {"correct_weight": 2.0, "weight": 1e-3}),
        (SoftOverlong(9, 3), {"weight": 1.0}),
    ],
    ids=lambda value: type(value).__name__,
)
def test_defaults(component, expected):
    assert {name: getattr(component, name) for name in expected} == expected
