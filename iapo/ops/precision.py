"""The precision in which numbers are computed."""

import torch
from torch import Tensor


def widened(values: Tensor) -> Tensor:
    """The values in fp32 or better: half precision becomes fp32, integers too, and fp64 stays."""
    return values.to(torch.promote_types(values.dtype, torch.float32))
