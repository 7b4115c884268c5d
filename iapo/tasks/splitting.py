"""Rows to train on and rows to evaluate on."""

import hashlib
import json
from collections.abc import Sequence

from iapo.tasks.interface import Row


def hold_out(rows: Sequence[Row], count: int) -> tuple[list[Row], list[Row]]:
    """Split rows into those to train on and ``count`` to evaluate on, by a hash of the prompt.

    The same rows are held out whatever their order and number of copies: a prompt is never on both sides.

    Returns:
        Rows to train on and rows held out (one per prompt).

    Raises:
        ValueError: fewer than ``count + 1`` distinct prompts.
    """
    distinct = {json.dumps(row["prompt"]): row for row in rows}
    if len(distinct) <= count:
        raise ValueError(
            f"eval_problems: got {count}, want fewer than the {len(distinct)} distinct prompts of the data"
        )
    order = sorted(distinct, key=lambda prompt: hashlib.sha256(prompt.encode()).digest())
    held = set(order[:count])
    return [row for row in rows if json.dumps(row["prompt"]) not in held], [
        distinct[prompt] for prompt in order[:count]
    ]
