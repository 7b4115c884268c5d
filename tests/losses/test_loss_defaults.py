"""The numbers that components have if none are given: another one would silently change what is trained."""

import pytest

from iapo.losses import CISPO, GSPO, ClippedPolicyLoss


@pytest.mark.parametrize(
    ("component", "expected"),
    [
        (ClippedPolicyLoss(), {"clip_low": 0.2, "clip_high": 0.28, "aggregation": "token", "kl_coef": 0.0}),
        (ClippedPolicyLoss(), {"max_length": None, "dual_clip": None, "kl_estimator": "k3"}),
        (CISPO(), {"clip_low": 1.0, "clip_high": 4.0}),
        (GSPO(), {"clip_low": 3e-4, "clip_high": 4e-4}),
    ],
    ids=lambda value: type(value).__name__,
)
def test_defaults(component, expected):
    assert {name: getattr(component, name) for name in expected} == expected
