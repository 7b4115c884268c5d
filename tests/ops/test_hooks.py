"""A method of one's own that cannot stand for that of its interface is refused where it is written."""

import pytest

from iapo import AdvantageAssigner, MIEstimator, PolicyLoss, Task
from iapo.losses import ClippedPolicyLoss


@pytest.mark.parametrize(
    ("base", "name", "method", "message"),
    [
        (PolicyLoss, "compute", lambda self, a, b: 0, r"takes \(self, a, b\), want \(self, inputs\)"),
        (ClippedPolicyLoss, "compute", lambda self, a, b: 0, r"takes \(self, a, b\), want \(self, inputs\)"),
        (PolicyLoss, "learns_from", lambda self, advantages: 0, r"takes .*, want \(self, advantages, loss_mask\)"),
        (MIEstimator, "with_groups", lambda self: 0, r"takes \(self\), want \(self, rollout\)"),
        (AdvantageAssigner, "at", lambda self: 0, r"takes \(self\), want \(self, progress\)"),
        (Task, "classifier", lambda self, tokenizer: 0, r"takes .*, want \(self, tokenizer, prompts\)"),
        (AdvantageAssigner, "requires", lambda self: frozenset(), "is a method, want a value, or a property"),
        (PolicyLoss, "requires_reference", lambda self: False, "is a method, want a value, or a property"),
        (MIEstimator, "information_sign", lambda self: 1, "is a method, want a value, or a property"),
        (Task, "seeded", lambda self: False, "is a method, want a value, or a property"),
    ],
)
def test_a_method_that_does_not_fit_is_refused(base, name, method, message):
    with pytest.raises(TypeError, match=rf"Mine\.{name}: {message}"):
        type(base)("Mine", (base,), {name: method})


def test_what_fits_is_taken():
    class Mine(ClippedPolicyLoss):
        weights: float = 2.0

        @property
        def requires_reference(self):
            return True

        def learns_from(self, advantages, loss_mask, extra=None):
            return loss_mask.any(1)

        def compute(self, inputs):
            return self.mine(inputs, 3)

        def mine(self, inputs, times):
            return inputs * times

    class Further(Mine):
        def mine(self, inputs):
            return inputs

    assert Mine().compute(2) == 6
    assert Further().requires_reference
