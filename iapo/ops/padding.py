"""Ragged rows to padded tensors with masks, and back."""

from collections.abc import Sequence
from itertools import islice

import torch
from jaxtyping import Bool, Int
from torch import Tensor


def pad_rows(
    rows: Sequence[Sequence[int]], pad_id: int, left: bool = False, device: torch.device | str = "cpu"
) -> tuple[Tensor, Tensor]:
    """Pad rows of token ids to the longest of them, to one column at least.

    Args:
        rows: token ids.
        pad_id: the token id of padding.
        left: pad before the tokens instead of after them.
        device: that of the tensors.

    Returns:
        Ids ``[batch, width]`` and a mask of that shape, ``True`` at the tokens.

    Example:
        >>> ids, mask = pad_rows([[5, 6], [7]], pad_id=0, left=True)
        >>> ids.tolist(), mask.tolist()
        ([[5, 6], [0, 7]], [[True, True], [False, True]])
    """
    lengths = torch.tensor([len(row) for row in rows], dtype=torch.long)
    width = max([1, *(len(row) for row in rows)])
    mask = torch.arange(width) < lengths[:, None]
    mask = mask.flip(1) if left else mask
    ids = torch.full(mask.shape, pad_id)
    ids[mask] = torch.tensor([token for row in rows for token in row], dtype=torch.long)
    return ids.to(device), mask.to(device)


def unpad_rows(ids: Int[Tensor, "batch width"], mask: Bool[Tensor, "batch width"]) -> list[list[int]]:
    """The token ids of each row where ``mask`` is ``True``: what `pad_rows` padded, on either side.

    Example:
        >>> unpad_rows(*pad_rows([[5, 6], [], [7]], pad_id=0))
        [[5, 6], [], [7]]
    """
    tokens = iter(ids[mask].tolist())
    return [list(islice(tokens, length)) for length in mask.sum(1).tolist()]
