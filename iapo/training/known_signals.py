"""The signals of assigners that nothing has to be measured for: tokens, rewards, and columns of the data."""

import math
import sys
from collections.abc import Mapping, Sequence, Set
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from iapo.types import Rollout

REFERENCE_RANGES = {
    "reference_length": (sys.float_info.min, sys.float_info.max, "a positive number of tokens"),
    "reference_accuracy": (0.0, 1.0, "a number from 0 to 1"),
}
"""Of the signals that are columns of the data the least, the most, and both in words."""

REFERENCE = frozenset(REFERENCE_RANGES)
"""The signals that are columns of the data."""


def known_signals(
    requires: Set[str],
    rollout: Rollout,
    rows: Sequence[Mapping[str, Any]],
    reward_columns: Float[Tensor, "batch reward"],
) -> dict[str, Tensor]:
    """Of the signals that an assigner requires, those that nothing has to be measured for, by name.

    Args:
        requires: as `iapo.AdvantageAssigner.requires`.
        rollout: the completions.
        rows: of each completion the row of the data.
        reward_columns: of each completion the reward of each function.

    Raises:
        ValueError: as `check_reference_columns`.
    """
    check_reference_columns(requires, rows)
    device = rollout.completion_mask.device
    known: dict[str, Tensor] = {
        "completion_ids": rollout.completion_ids,
        "reasoning_mask": rollout.reasoning_mask,
        "reward_columns": reward_columns.to(device),
    }
    for name in REFERENCE & requires:
        known[name] = torch.tensor([float(row[name]) for row in rows], dtype=torch.float32, device=device)
    return {name: values for name, values in known.items() if name in requires}


def check_reference_columns(
    requires: Set[str], rows: Sequence[Mapping[str, Any]], numbers: Sequence[object] | None = None
) -> None:
    """Raise ``ValueError`` if a signal of the reference policy is required that a row of the data does not say.

    Args:
        requires: as `iapo.AdvantageAssigner.requires`.
        rows: problems, with the columns of the data.
        numbers: of the rows in the data, for the error; ``None``: their places in ``rows``.
    """
    wanted = sorted(REFERENCE & requires)
    missing = [name for name in wanted if rows and not any(name in row for row in rows)]
    if missing:
        raise ValueError(
            f"the assigner needs the columns {missing} of the data, what a reference policy does on each problem; "
            f"the data has {sorted(rows[0])}"
        )
    for number, row in zip(range(len(rows)) if numbers is None else numbers, rows, strict=True):
        for name in wanted:
            least, most, want = REFERENCE_RANGES[name]
            if not least <= _number(row.get(name)) <= most:
                raise ValueError(
                    f"{name}: the assigner reads it of each row, that of row {number} is {row.get(name)!r:.80}; want "
                    f"{want}"
                )


def _number(value: Any) -> float:
    """A value as a number; NaN if it is none."""
    try:
        return float(value)
    except (TypeError, ValueError):
        return math.nan
