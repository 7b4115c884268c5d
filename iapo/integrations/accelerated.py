"""Rows that lie on the processes of an `accelerate.Accelerator`."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from iapo.training.ranks import Ranks


@dataclass(frozen=True)
class Accelerated(Ranks):
    """The processes of an accelerator, in the order of its ``gather``.

    Args:
        accelerator: an `accelerate.Accelerator`.
    """

    accelerator: Any

    def gather(self, values: Tensor) -> Tensor:
        """The rows of all processes, in their order, padded with 0 (``False``) to the widest."""
        if self.accelerator.num_processes == 1:
            return values
        # Some back ends gather no booleans.
        wide = values.to(torch.uint8) if values.dtype == torch.bool else values
        if values.ndim > 1:
            wide = self.accelerator.pad_across_processes(wide, dim=1)
        return self.accelerator.gather(wide.contiguous()).to(values.dtype)

    def own(self, values: Tensor, rows: int) -> Tensor:
        """Of the rows of all processes those of this one."""
        start = self.accelerator.process_index * rows
        return values[start : start + rows]
