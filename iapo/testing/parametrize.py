"""Components and their checks as parameters of a pytest test."""

from collections.abc import Iterable, Mapping
from typing import Any

from iapo.interfaces import AdvantageAssigner, MIEstimator, PolicyLoss, Sampler
from iapo.testing.assigners import assigner_checks
from iapo.testing.checks import Check, named
from iapo.testing.estimators import estimator_checks
from iapo.testing.losses import loss_checks
from iapo.testing.optimizers import MakeOptimizer, makes_optimizer, optimizer_checks
from iapo.testing.samplers import sampler_checks

Component = MIEstimator | AdvantageAssigner | PolicyLoss | Sampler | MakeOptimizer

_CHECKS = (
    (MIEstimator, estimator_checks),
    (AdvantageAssigner, assigner_checks),
    (PolicyLoss, loss_checks),
    (Sampler, sampler_checks),
)


def checks_of(component: Component, **options: Any) -> tuple[Check, ...]:
    """The checks of a component's interface, those that do not apply to it included.

    Args:
        component: of one of the five interfaces; of an optimizer what makes it of a model.
        options: of its contract.

    Raises:
        TypeError: a component of no such interface, or an option that its contract does not have.
    """
    for interface, checks in _CHECKS:
        if isinstance(component, interface):
            return checks(**options)
    if makes_optimizer(component):
        return optimizer_checks(**options)
    names = ", ".join(interface.__name__ for interface, _ in _CHECKS)
    raise TypeError(
        f"component: got {type(component).__name__}, want one of {names}, or a function that makes a PolicyOptimizer "
        "of a model"
    )


def parametrize_with_checks(components: Iterable[Component | tuple[Component, Mapping[str, Any]]]) -> Any:
    """Decorate a test of ``component`` and ``check``: it runs once for each component and check of its contract.

    A check that does not apply to a component is shown as skipped, with what it needs. Needs pytest.

    Args:
        components: of any of the five interfaces, of an optimizer what makes it of a model; with options of its
            contract as ``(component, options)``.

    Example:
        >>> from iapo.advantages import GroupRelative
        >>> @parametrize_with_checks([GroupRelative(), (GroupRelative(scale="none"), {"examples": 50})])
        ... def test_contract(component, check):
        ...     check(component)
    """
    import pytest

    parameters = []
    for entry in components:
        component, options = entry if isinstance(entry, tuple) else (entry, {})
        for check in checks_of(component, **options):
            skip = pytest.mark.skip(reason=f"{check.name} needs {check.needs}")
            marks = () if check.applies_to(component) else (skip,)
            parameters.append(pytest.param(component, check, marks=marks, id=f"{named(component)}-{check.name}"))
    return pytest.mark.parametrize(("component", "check"), parameters)
