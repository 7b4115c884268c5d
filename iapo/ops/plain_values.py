"""Values of NumPy, pandas and PyTorch as Python's own, without any of them being imported."""

from typing import Any


def plain_value(value: Any) -> Any:
    """An array as a list, a number as a Python number, and ``NA`` and ``NaT`` of pandas as ``None``.

    A tensor of PyTorch without dimensions is its number. Anything else stays as it is.

    A float of 16 or 32 bits is the number with the fewest digits that names it: 0.1, and not the 0.10000000149 that is
    nearest to it in 32 bits. A kind that NumPy does not have (bfloat16) is the number that it holds.

    Example:
        >>> import numpy
        >>> plain_value(numpy.float32(0.1)), plain_value(numpy.array([0.5, 2.5], numpy.float16)), plain_value("7")
        (0.1, [0.5, 2.5], '7')
    """
    if type(value).__name__ in ("NAType", "NaTType") and type(value).__module__.startswith("pandas."):
        return None
    if type(value).__module__ == "torch" and getattr(value, "ndim", None) == 0:
        value = value.detach().cpu()
        has_narrow = str(value.dtype) in ("torch.float32", "torch.float16")
        value = value.numpy()[()] if has_narrow else value.item()
    if type(value).__module__ != "numpy" or not hasattr(value, "tolist"):
        return value
    if value.dtype.kind == "f" and value.dtype.itemsize < 8:
        return [plain_value(each) for each in value] if value.ndim else float(str(value))
    return value.tolist()
