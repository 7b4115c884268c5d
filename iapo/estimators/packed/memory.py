"""How many prefixes one packed forward takes: from the memory there is, halved when it was too little."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from iapo.estimators.packed.blocks import Block
from iapo.ops.memory import is_out_of_memory
from iapo.policy.ranks import is_collective

_PACKED_TOKENS = {"cpu": 512, "cuda": 2048}
"""Block tokens of one row beyond which a longer packed forward stops paying."""
_MASK = {"cpu": 2**22, "cuda": 2**26}
"""Entries of the mask of one packed forward: beyond, the memory it takes would grow with the length of the texts."""
MAX_LOGITS = 2**26
"""The most logits of one packed forward: 256 MiB in fp32."""


def choose_chunk(batch: int, keys: int, block: Block, config: Any, device: torch.device) -> int:
    """Prefixes of a row per packed forward: as many as pay, as their logits, masks and the free memory allow.

    Args:
        batch: rows of the forward.
        keys: cached positions.
        block: the tokens per prefix and how many logits rows they keep.
        config: the model's text config (``vocab_size``, ``hidden_size``).
        device: where it runs.
    """
    size, kept = len(block), len(block.kept)
    kind = "cpu" if device.type == "cpu" else "cuda"
    paying = _PACKED_TOKENS[kind]
    entries = _MASK[kind] // max(1, batch * size * keys)
    logits = batch * kept * config.vocab_size
    activations = 16 * batch * size * config.hidden_size
    mask = 2 * batch * size * (keys + paying)
    fitting = _free_bytes(device) // 4 // (4 * (3 * logits + activations + mask))
    return max(1, min(fitting, MAX_LOGITS // logits, entries, paying // size))


def run_in_chunks(model: nn.Module, run: Callable[[int], Tensor], chunk: int) -> Tensor:
    """``run(chunk)``, with smaller chunks where memory runs out, unless the model's forwards wait for other ranks.

    Smaller chunks of one rank alone would be forwards that the others do not join.

    Raises:
        torch.OutOfMemoryError: as `halving_chunk` raises it.
    """
    return run(chunk) if is_collective(model) else halving_chunk(run, chunk)


def halving_chunk(run: Callable[[int], Tensor], chunk: int) -> Tensor:
    """``run(chunk)``, and if memory runs out again with half the chunk, down to 1.

    Raises:
        torch.OutOfMemoryError: a chunk of 1 does not fit (on CPU: the allocator's ``RuntimeError``).
    """
    while True:
        try:
            return run(chunk)
        except (RuntimeError, MemoryError) as error:
            if chunk == 1 or not is_out_of_memory(error):
                raise
        chunk = chunk // 2
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def _free_bytes(device: torch.device) -> int:
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    found = [free for free in (_available(), _left_in_cgroup()) if free is not None]
    return max(0, min(found, default=2**32))


def _available() -> int | None:
    """Bytes that processes may have without swapping, reclaimable caches included; ``None``: unknown."""
    try:
        entries = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text().splitlines())
        return 1024 * int(entries["MemAvailable"].split()[0])
    except (OSError, ValueError, KeyError):
        pass
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return None


def _left_in_cgroup(root: Path = Path("/sys/fs/cgroup")) -> int | None:
    """Bytes up to the limit of a container; ``None``: there is none."""
    try:
        return int((root / "memory.max").read_text()) - int((root / "memory.current").read_text())
    except (OSError, ValueError):
        return None
