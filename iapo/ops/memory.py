"""Recognizes errors that say that memory ran out, of any device's allocator."""

import torch

_WORDS = (
    *("can't allocate memory", "not enough memory", "out of memory", "CUBLAS_STATUS_ALLOC_FAILED"),
    "could not create a primitive",
)
"""What errors other than ``torch.OutOfMemoryError`` say: the allocators of CPUs and of MPS, cuBLAS, and oneDNN."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out, on any device.

    Example:
        >>> is_out_of_memory(MemoryError()), is_out_of_memory(RuntimeError("size mismatch"))
        (True, False)
    """
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in _WORDS)
