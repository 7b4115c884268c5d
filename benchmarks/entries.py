"""The entries of a comparison's plan, by which the tables of its report name its runs."""

from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any


def entry_of(row: Mapping[str, Any]) -> str:
    """The entry of the plan that a row of ``results.json`` is of: the first folder of its run's path.

    Example:
        >>> entry_of({"method": "iapo", "preset": "steps", "run": "iapo_steps/default/seed-0"})
        'iapo_steps'
    """
    return PurePosixPath(row["run"]).parts[0]
