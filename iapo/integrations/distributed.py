"""Rows that lie on the ranks of a group of `torch.distributed`."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, distributed, nn

from iapo.training.distributed.ranks import Ranks


@dataclass(frozen=True)
class Distributed(Ranks):
    """The `iapo.training.distributed.ranks.Ranks` of an engine's trainer or workers: a process group, in its order.

    Args:
        group: a process group of `torch.distributed`; ``None``: all ranks, or one process if there is no group at all.
    """

    group: Any = None

    @property
    def size(self) -> int:
        """How many ranks there are."""
        return distributed.get_world_size(self.group) if distributed.is_initialized() else 1

    def gather(self, values: Tensor) -> Tensor:
        """The rows of all ranks, in their order, padded with 0 (``False``) to the widest."""
        if self.size == 1:
            return values
        # Some back ends gather no booleans.
        wide = values.to(torch.uint8) if values.dtype == torch.bool else values
        if values.ndim > 1:
            width = torch.tensor(values.shape[1], device=values.device)
            distributed.all_reduce(width, distributed.ReduceOp.MAX, self.group)
            wide = nn.functional.pad(wide, (0, int(width) - values.shape[1]))
        wide = wide.contiguous()
        rows = [torch.empty_like(wide) for _ in range(self.size)]
        distributed.all_gather(rows, wide, self.group)
        return torch.cat(rows).to(values.dtype)

    def own(self, values: Tensor, rows: int) -> Tensor:
        """Of the rows of all ranks those of this one."""
        start = distributed.get_rank(self.group) * rows if self.size > 1 else 0
        return values[start : start + rows]
