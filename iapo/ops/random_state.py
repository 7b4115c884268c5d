"""The global random generators: seeded, captured and restored, and left as they were."""

import random
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch


def seed_rng(seed: int) -> None:
    """Seed the global random generators: Python's, NumPy's (if it is loaded), torch's, all CUDA devices'."""
    torch.manual_seed(seed)
    random.seed(seed)
    if numpy := sys.modules.get("numpy"):
        numpy.random.seed(seed % 2**32)


def capture_rng() -> dict[str, Any]:
    """The states of the global random generators: Python's, NumPy's (if it is loaded), torch's, all CUDA devices'.

    Returns:
        Nested state of plain values and tensors; `restore_rng` reads it.
    """
    rng = _capture_host_rng() | {"torch": torch.get_rng_state()}
    if torch.cuda.is_available():
        rng["cuda"] = torch.cuda.get_rng_state_all()
    return rng


def restore_rng(rng: Mapping[str, Any]) -> None:
    """Set the global random generators to captured states.

    Call it last, directly before training goes on: loading a model may use random numbers.

    Args:
        rng: what `capture_rng` returned. The states of CUDA devices that this machine does not have are ignored;
            `iapo.training.checkpoints.checkpoint.load_checkpoint` compares the number of devices.
    """
    _restore_host_rng(rng)
    torch.set_rng_state(rng["torch"])
    if torch.cuda.is_available():
        for device, state in zip(range(torch.cuda.device_count()), rng.get("cuda", []), strict=False):
            torch.cuda.set_rng_state(state, device)


def _capture_host_rng() -> dict[str, Any]:
    """Those of Python and, if it is loaded, NumPy."""
    rng: dict[str, Any] = {"python": random.getstate()}
    if numpy := sys.modules.get("numpy"):
        kind, keys, position, has_gauss, gauss = numpy.random.get_state()
        rng["numpy"] = (kind, keys.tolist(), position, has_gauss, gauss)
    return rng


def _restore_host_rng(rng: Mapping[str, Any]) -> None:
    random.setstate(rng["python"])
    if "numpy" in rng:
        import numpy

        kind, keys, position, has_gauss, gauss = rng["numpy"]
        numpy.random.set_state((kind, numpy.array(keys, dtype=numpy.uint32), position, has_gauss, gauss))


@contextmanager
def fork_rng(device: torch.device) -> Iterator[None]:
    """Leave the global random generators as they were before the block: Python's, NumPy's (if it is loaded), torch's.

    Of torch's, those of the CPU and of ``device``. Rewards and checks of types draw from Python's.
    """
    others = [] if device.type == "cpu" else [device]
    before = _capture_host_rng()
    with torch.random.fork_rng(devices=others, device_type="cuda" if device.type == "cpu" else device.type):
        try:
            yield
        finally:
            _restore_host_rng(before)


@contextmanager
def isolate_rng() -> Iterator[None]:
    """Undo what a block does to torch's random generators, such as seeding them.

    If a reward function seeded torch at every call, each sampling after it would draw the same numbers. After the
    block, the generators of the CPU and of the CUDA devices in use have the states that they had before it. A generator
    that the block has used then draws one number, so that the block gets other random numbers at its next run.
    """
    devices = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else ()
    before = torch.get_rng_state(), [torch.cuda.get_rng_state(device) for device in devices]
    try:
        yield
    finally:
        if not torch.equal(torch.get_rng_state(), before[0]):
            torch.set_rng_state(before[0])
            torch.rand(1, dtype=torch.float32)
        for device, state in zip(devices, before[1], strict=True):
            if not torch.equal(torch.cuda.get_rng_state(device), state):
                torch.cuda.set_rng_state(state, device)
                torch.rand(1, dtype=torch.float32, device=f"cuda:{device}")
