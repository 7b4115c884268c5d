"""A contract is of an object of its kind."""

import pytest

from iapo.advantages import GroupRelative
from iapo.testing import (
    check_advantage_assigner,
    check_estimator,
    check_policy_loss,
    check_policy_optimizer,
    check_sampler,
)


@pytest.mark.parametrize(
    ("check", "kind"),
    [
        (check_advantage_assigner, "AdvantageAssigner"),
        (check_estimator, "MIEstimator"),
        (check_policy_loss, "PolicyLoss"),
        (check_policy_optimizer, "PolicyOptimizer"),
        (check_sampler, "Sampler"),
    ],
)
def test_what_is_of_another_kind_is_named(check, kind):
    with pytest.raises(TypeError, match=rf"got the class GroupRelative to check, want .* iapo\.{kind}"):
        check(GroupRelative)
    if kind != "AdvantageAssigner":
        with pytest.raises(TypeError, match=rf"got a GroupRelative to check, want .* iapo\.{kind}"):
            check(GroupRelative())
