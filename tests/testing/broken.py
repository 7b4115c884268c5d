"""Runs all checks of a contract on a component that is broken on purpose."""

from collections.abc import Callable, Collection, Sequence
from typing import Any

from iapo.testing import Check


def failures(
    component: object,
    checks: Callable[..., Sequence[Check]],
    named: Collection[str],
    few: dict[str, int],
    **options: Any,
) -> dict[str, str]:
    """The messages of the checks that fail, by name.

    Args:
        component: what is checked.
        checks: makes the checks of its interface.
        named: checks that are run as they are; the others try fewer examples, for time.
        few: the option that says so.
        options: of the contract.
    """
    found = {}
    for check, quick in zip(checks(**options), checks(**options, **few), strict=True):
        check = check if check.name in named else quick
        if check.applies_to(component):
            try:
                check(component)
            except AssertionError as error:
                found[check.name] = str(error)
    return found
