"""What must be equal for a resumed run to repeat a run exactly: its settings, library versions, threads and devices."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from importlib.metadata import version
from typing import Any

import torch
from torch import Tensor


def versions() -> dict[str, Any]:
    """What an exact repetition depends on besides the settings: versions, thread count, number of CUDA devices."""
    return {
        "iapo": version("iapo"),
        "torch": torch.__version__,
        "transformers": version("transformers"),
        "threads": torch.get_num_threads(),
        "cuda_devices": torch.cuda.device_count(),
    }


def tokenizer_digest(tokenizer: Any) -> str:
    """A digest of what a tokenizer makes of text: its vocabulary, its special tokens, its chat template, a sample."""
    sample = tokenizer.encode(" The 2nd  answer,\n</think>x = 10.5 (caf\u00e9)!", add_special_tokens=False)
    parts = (sorted(tokenizer.get_vocab().items()), tokenizer.special_tokens_map, tokenizer.chat_template, sample)
    return _digest(parts)


def weights_digest(parameters: Iterable[Tensor]) -> str:
    """A digest of weights, by 64 of each at most: training changes them all, and no gigabytes are read again."""
    found = hashlib.sha256()
    for parameter in parameters:
        flat = parameter.detach().flatten()
        found.update(flat[:: max(1, flat.numel() // 64)].float().cpu().numpy().tobytes())
    return found.hexdigest()[:16]


def settings_digest(settings: Mapping[str, Any]) -> str:
    """A digest of settings, by which an evaluation says under which it was made."""
    return _digest(settings)


def differences(
    saved: Mapping[str, Any], now: Mapping[str, Any], words: tuple[str, str] = ("saved", "now")
) -> list[str]:
    """Compare two configurations field by field, as JSON, so that a list equals a tuple and a path its text.

    Args:
        saved: the configuration before.
        now: the configuration to go on with.
        words: what stands before the value of each.

    Returns:
        One sentence per field that differs, sorted by its dotted name.

    Example:
        >>> differences({"loss": {"clip": 0.2}, "seed": 1}, {"loss": {"clip": 0.3}, "seed": 1})
        ['loss.clip: saved 0.2, now 0.3']
    """
    before, after = _dotted(saved), _dotted(now)
    return [
        f"{name}: {words[0]} {before.get(name, 'nothing')}, {words[1]} {after.get(name, 'nothing')}"
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


def _digest(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, default=str, sort_keys=True).encode()).hexdigest()[:16]
