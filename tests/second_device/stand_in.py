"""A stand-in for an accelerator: tensors that say they lie on the device ``elsewhere``, their values on the CPU.

Every operation on them runs on the CPU, with the CPU's random numbers, and refuses what CUDA refuses: tensors of two
devices in one operation (but for numbers, and for indices on the CPU), and NumPy. So a tensor that was made in the
wrong place is found without an accelerator. It says nothing of kernels, of precision, of memory, or of what is done for
the device type ``cuda`` alone.

Whatever makes a program wait for a device (a value that is read, an operation whose result's shape depends on values)
is counted in ``READS``, by the place in the package that asked for it.

It registers a device for the whole process, which changes what `torch.accelerator` finds: use it in a process of its
own.
"""

import sys
from collections import Counter
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes, return_and_correct_aliasing
from torch.utils._pytree import tree_leaves, tree_map_only
from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

import iapo

NAME = "elsewhere"
READS: Counter[str] = Counter()
"""How often the program waited for the device, by ``file:line`` in the package."""

_PACKAGE = str(Path(iapo.__file__).parent)
_aten = torch.ops.aten
_INDEXED = {_aten.index.Tensor, _aten.index_put.default, _aten.index_put_.default, _aten._index_put_impl_.default}
_COPIES = {_aten._to_copy.default, _aten.copy_.default}
_SHAPED_BY_VALUES = {
    _aten.nonzero.default,
    _aten.masked_select.default,
    _aten._unique2.default,
    _aten.repeat_interleave.Tensor,
}


class _Module:
    """What `torch.elsewhere` has to have; its random numbers are the CPU's."""

    def is_available(self) -> bool:
        return True

    def is_initialized(self) -> bool:
        return True

    def _is_in_bad_fork(self) -> bool:
        return False

    def device_count(self) -> int:
        return 1

    def current_device(self) -> int:
        return 0

    def get_amp_supported_dtype(self) -> list[torch.dtype]:
        return []

    def get_rng_state(self, device: object = None) -> Tensor:
        return torch.get_rng_state()

    def set_rng_state(self, state: Tensor, device: object = None) -> None:
        torch.set_rng_state(state)

    def manual_seed_all(self, seed: int) -> None:
        """The CPU's generator is seeded with it."""


_setup_privateuseone_for_python_backend(NAME, _Module())
DEVICE = torch.device(NAME, 0)
torch.__future__.set_swap_module_params_on_conversion(True)  # parameters that are tied stay so when a model moves
torch._C._set_only_lift_cpu_tensors(True)  # torch.tensor(..., device=...) makes a tensor here, then moves it


class _Elsewhere(Tensor):
    """A tensor of the device; ``raw`` has its values."""

    raw: Tensor

    @staticmethod
    def __new__(cls, raw: Tensor) -> "_Elsewhere":
        found = Tensor._make_wrapper_subclass(
            cls, raw.shape, raw.stride(), raw.storage_offset(), dtype=raw.dtype, layout=raw.layout, device=DEVICE
        )
        found.raw = raw
        return found

    def __repr__(self, **_: Any) -> str:
        return f"elsewhere({self.raw})"

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is Tensor.tolist:
            _waits()
            return args[0].raw.tolist()
        if func in (Tensor.data_ptr, Tensor.untyped_storage):
            return func(args[0].raw)
        if func in (Tensor.__getitem__, Tensor.__setitem__):
            indices = args[1] if isinstance(args[1], tuple) else (args[1],)
            indices = tuple(torch.tensor(each) if isinstance(each, list) else each for each in indices)
            args = (args[0], indices, *args[2:])
        with torch._C.DisableTorchFunctionSubclass():
            return func(*args, **(kwargs or {}))

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(func, args, kwargs or {})


class StandIn(TorchDispatchMode):
    """Inside, ``elsewhere`` is a device."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(func, args, kwargs or {})


def _run(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    tensors = [each for each in tree_leaves((args, kwargs)) if isinstance(each, Tensor)]
    ours = [each for each in tensors if isinstance(each, _Elsewhere)]
    _check_one_device(func, args, tensors)
    target = None if kwargs.get("device") is None else torch.device(kwargs["device"]).type
    if ours and _makes_wait(func, args, target):
        _waits()
    inner_args, inner_kwargs = tree_map_only(_Elsewhere, lambda each: each.raw, (args, kwargs))
    if target == NAME:
        inner_kwargs["device"] = torch.device("cpu")
    with _disable_current_modes():
        found = func(*inner_args, **inner_kwargs)
    if func is _aten.copy_.default or func in _INDEXED:
        wrapped = isinstance(args[0], _Elsewhere)
    else:
        wrapped = bool(ours) if target is None else target == NAME
    if not wrapped:
        return found
    return return_and_correct_aliasing(func, args, kwargs, tree_map_only(Tensor, _Elsewhere, found))


def _check_one_device(func: Any, args: Any, tensors: list[Tensor]) -> None:
    if func in _COPIES:
        return
    if func in _INDEXED and isinstance(args[0], _Elsewhere):
        tensors = [each for each in (args[0], *args[2:]) if isinstance(each, Tensor)]  # its indices may be here
    there = [isinstance(each, _Elsewhere) for each in tensors if isinstance(each, _Elsewhere) or each.ndim]
    if any(there) and not all(there):
        raise RuntimeError(f"{func}: expected all tensors to be on the same device, got {NAME} and cpu")


def _makes_wait(func: Any, args: Any, target: str | None) -> bool:
    if func in _INDEXED:
        return any(each is not None and each.dtype == torch.bool for each in args[1])
    if func is _aten.copy_.default:
        return not isinstance(args[0], _Elsewhere)
    return func is _aten._local_scalar_dense.default or func in _SHAPED_BY_VALUES or target == "cpu"


def _waits() -> None:
    frame = sys._getframe(1)
    while frame.f_back is not None and not frame.f_code.co_filename.startswith(_PACKAGE):
        frame = frame.f_back
    READS[f"{frame.f_code.co_filename.removeprefix(_PACKAGE)}:{frame.f_lineno}"] += 1
