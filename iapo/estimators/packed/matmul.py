"""Matrix multiplication by oneDNN on processors of which PyTorch's BLAS uses only half the vector width.

PyTorch multiplies fp32 matrices by MKL, and MKL takes its AVX2 kernels on AMD's processors, also on those with AVX-512.
oneDNN, which PyTorch also brings along, looks at the instruction set and not at the vendor. The result is the same
up to rounding.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

_PAYING_WEIGHT = 2**18
"""Entries of a model's largest weight below which every multiplication is too small to gain."""
_PAYING_MATMUL = 2**25
"""Scalar multiplications of one call below which making oneDNN's kernel for its shape may take longer than it saves."""


def fast_matmul(model: nn.Module) -> AbstractContextManager[object]:
    """Large fp32 linear layers without gradients are computed by oneDNN, where that is known to be faster."""
    return _OneDNN() if _mkl_lags_behind() and _largest_weight(model) >= _PAYING_WEIGHT else nullcontext()


class _OneDNN(TorchFunctionMode):
    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func is nn.functional.linear and not kwargs and _eligible(*args):
            features, weight, *bias = args
            return torch.ops.mkldnn._linear_pointwise(features, weight, *(bias or [None]), "none", [], "")
        return func(*args, **(kwargs or {}))


def _largest_weight(model: nn.Module) -> int:
    return max((weight.numel() for weight in model.parameters() if weight.device.type == "cpu"), default=0)


def _eligible(features: Tensor, weight: Tensor, bias: Tensor | None = None) -> bool:
    """Whether `fast_matmul` hands this call of a linear layer to oneDNN."""
    plain = all(
        type(each) in (Tensor, nn.Parameter) and each.dtype == torch.float32 and each.device.type == "cpu"
        for each in (features, weight, bias)
        if each is not None
    )
    wanted = not torch.is_grad_enabled() and not torch.is_autocast_enabled("cpu")
    return plain and wanted and features.numel() * weight.shape[0] >= _PAYING_MATMUL


@cache
def _mkl_lags_behind() -> bool:
    """Whether this is a processor by AMD with AVX-512, and a PyTorch with both libraries."""
    if not (torch.backends.mkl.is_available() and torch.backends.mkldnn.is_available()):
        return False
    if not torch.backends.cpu.get_cpu_capability().startswith("AVX512"):
        return False
    try:
        return "AuthenticAMD" in Path("/proc/cpuinfo").read_text()
    except OSError:
        return False
