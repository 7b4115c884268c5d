"""The prompts of a run, update by update."""

import hashlib
import json
import random
import re
from collections.abc import Mapping, Sequence
from typing import Any

from iapo.tasks.interface import Row

_ADDRESS = re.compile(r" at 0x[0-9A-Fa-f]+")
"""Where an object without a text of its own lies in memory, which is another place in each process."""


def check_batch(batch: int, rows: int) -> None:
    """Raise ``ValueError`` unless there are enough rows for a batch."""
    if not 1 <= batch <= rows:
        raise ValueError(f"prompts_per_step: got {batch}, want 1 to the number of problems, {rows}")


class PromptStream:
    """Batches of rows without end, each epoch in an order of its own, from a position that can be saved.

    Args:
        rows: the data.
        batch: rows per batch.
        seed: of the orders.

    Raises:
        ValueError: ``batch`` below 1 or above the number of rows.
    """

    def __init__(self, rows: Sequence[Row], batch: int, seed: int) -> None:
        check_batch(batch, len(rows))
        self._rows, self._batch, self._seed, self._position = rows, batch, seed, 0
        self._digest = digest_of(rows)

    def next(self) -> list[Row]:
        """The next batch; the rows that do not fill one at the end of an epoch wait for another epoch."""
        per_epoch = len(self._rows) // self._batch
        epoch, index = divmod(self._position, per_epoch)
        order = list(range(len(self._rows)))
        random.Random(f"{self._seed}/{epoch}").shuffle(order)
        self._position += 1
        return [self._rows[i] for i in order[index * self._batch : (index + 1) * self._batch]]

    def state(self) -> dict[str, int]:
        """Batches taken so far, and a digest of the rows."""
        return {"position": self._position, "digest": self._digest}

    def restore(self, state: Mapping[str, int], override: bool = False) -> bool:
        """Go on after that many batches.

        Args:
            state: from `state`.
            override: go on although the rows are others than they were.

        Returns:
            Whether the rows are those of the state.

        Raises:
            ValueError: the state is none of a stream, or the rows are others than they were, as they are read by the
                policy.
        """
        position = state.get("position")
        if not isinstance(position, int) or position < 0 or "digest" not in state:
            raise ValueError(
                f"data: the saved state is {dict(state)}, want position and digest; a run cannot be resumed exactly "
                "without them"
            )
        same = state["digest"] == self._digest
        if not same and not override:
            raise ValueError(
                "data: the rows are others than when the state was saved, or a chat template writes another date into "
                "them (override to go on all the same)"
            )
        self._position = position
        return same


def digest_of(rows: Sequence[Row]) -> int:
    """A number that identifies rows: other rows have another one, and it is the same in every process."""
    text = json.dumps(list(rows), sort_keys=True, default=_plain)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:6])


def _plain(value: Any) -> Any:
    return sorted(map(str, value)) if isinstance(value, set | frozenset) else _ADDRESS.sub("", str(value))
