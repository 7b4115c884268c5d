"""What must be equal for a resumed run to repeat a run exactly: its settings, library versions, threads and devices."""

import json
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

import torch


def versions() -> dict[str, Any]:
    """What an exact repetition depends on besides the settings: versions, thread count, number of CUDA devices."""
    return {
        "iapo": version("iapo"),
        "torch": torch.__version__,
        "transformers": version("transformers"),
        "threads": torch.get_num_threads(),
        "cuda_devices": torch.cuda.device_count(),
    }


def differences(saved: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Compare two configurations field by field, as JSON, so that a list equals a tuple and a path its text.

    Args:
        saved: the configuration before.
        now: the configuration to go on with.

    Returns:
        One sentence per field that differs, sorted by its dotted name.

    Example:
        >>> differences({"loss": {"clip": 0.2}, "seed": 1}, {"loss": {"clip": 0.3}, "seed": 1})
        ['loss.clip: saved 0.2, now 0.3']
    """
    before, after = _dotted(saved), _dotted(now)
    return [
        f"{name}: saved {before.get(name, 'nothing')}, now {after.get(name, 'nothing')}"
        for name in sorted(before | after)
        if before.get(name) != after.get(name)
    ]


def _dotted(tree: Any, path: str = "") -> dict[str, str]:
    if isinstance(tree, Mapping) and tree:
        return {
            name: value
            for key, branch in tree.items()
            for name, value in _dotted(branch, f"{path}.{key}" if path else str(key)).items()
        }
    return {path: json.dumps(tree, default=str)}
