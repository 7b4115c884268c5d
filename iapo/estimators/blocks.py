"""Token blocks appended to prefixes, and the checks of the parameters that describe them."""

import torch
from jaxtyping import Int
from torch import Tensor

from iapo.types import Rollout


def check_ids(name: str, ids: tuple[int, ...]) -> None:
    """Raise ``ValueError`` unless ``ids`` is a non-empty tuple of non-negative integers."""
    if not isinstance(ids, tuple) or not ids or any(not isinstance(i, int) or i < 0 for i in ids):
        raise ValueError(f"{name}: got {ids!r}, want a non-empty tuple of non-negative token ids")


def check_chunk(chunk: int | None) -> None:
    """Raise ``ValueError`` unless ``chunk`` is ``None`` or at least 1."""
    if chunk is not None and chunk < 1:
        raise ValueError(f"chunk: got {chunk}, want None or at least 1")


def repeat_ids(ids: tuple[int, ...], rollout: Rollout) -> Int[Tensor, "batch block"]:
    """The same token ids for every completion of a rollout."""
    return torch.tensor(ids, device=rollout.completion_ids.device).expand(len(rollout), -1)
