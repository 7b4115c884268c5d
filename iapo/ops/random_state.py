"""Random numbers that others do not miss."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def fork_rng(device: torch.device) -> Iterator[None]:
    """Leave torch's random generators, those of the CPU and of ``device``, as they were before the block."""
    others = [] if device.type == "cpu" else [device]
    with torch.random.fork_rng(devices=others, device_type="cuda" if device.type == "cpu" else device.type):
        yield
