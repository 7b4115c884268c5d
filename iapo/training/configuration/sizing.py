"""Defaults by the size of the model: those of the settings are sized for the embedded one."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jsonargparse import ArgumentParser, Namespace

from iapo.ops.json_files import read_json_file
from iapo.policy.loading import choose_device
from iapo.policy.lora import LoRA
from iapo.policy.size import ModelSize, model_size

_SMALL = 10_000_000
"""Weights below which the settings' own defaults stand."""

_RATES = ((300_000_000, 1e-5), (1_000_000_000, 5e-6))
"""Learning rates of all weights by the number of weights that they hold for, from the smallest."""
_RATE_OF_LARGE = 1e-6
_ADAPTERS = 10
"""By how much adapters learn faster than all weights do."""

_CPU: Mapping[str, Any] = {
    "prompts_per_step": 4,
    "micro_batch": 4,
    "eval_problems": 8,
    "eval_samples": 1,
    "eval_batch": 16,
    "diagnose": 0,
    "sampler.max_new_tokens": 256,
}
_GPU: Mapping[str, Any] = {
    "prompts_per_step": 16,
    "micro_batch": 8,
    "eval_problems": 64,
    "eval_samples": 2,
    "eval_batch": 128,
    "diagnose": 20,
    "sampler.max_new_tokens": 512,
}


@dataclass(frozen=True)
class SizeDefaults:
    """Defaults for a model that is larger than the embedded one.

    Args:
        values: by the name of the flag.
        why: what they follow from.
    """

    values: Mapping[str, Any]
    why: str

    def told(self, settings: Namespace) -> str:
        """One line that says which of them these settings have, and why; empty if they have none."""
        taken = [f"--{name} {value}" for name, value in self.values.items() if _value(settings, name) == value]
        return f"defaults for {self.why}: {' '.join(taken)} (flags of yours come first)" if taken else ""


def defaults_for(size: ModelSize, device: str) -> SizeDefaults | None:
    """The defaults of a run for a model of this size; ``None``: those of the settings are meant for it.

    Args:
        size: of the model.
        device: the type of its device, ``cpu`` or ``cuda``.
    """
    if size.weights < _SMALL:
        return None
    rate = next((rate for most, rate in _RATES if size.weights < most), _RATE_OF_LARGE)
    adapted = size.trained < size.weights
    values = {"optimizer.lr": _ADAPTERS * rate if adapted else rate, **(_CPU if device == "cpu" else _GPU)}
    trained = f", of which {_short(size.trained)} are trained" if adapted else ""
    where = "a CPU" if device == "cpu" else "a GPU"
    return SizeDefaults(values, f"{_short(size.weights)} weights{trained}, on {where}")


def set_defaults(command: str, parser: ArgumentParser, settings: Namespace) -> SizeDefaults | None:
    """Let a parser's defaults be those for the model that parsed settings name.

    Parsed again, the same command line then has them wherever it says nothing else. A run that goes on keeps what it
    began with.

    Args:
        command: train, eval or inspect.
        parser: of the command; its defaults change.
        settings: what it parsed.

    Returns:
        The defaults that were set; ``None``: the parser's own stand, as they do where model or device cannot be had:
        the command says so itself, after what it checks before.
    """
    sources = settings.models if command == "eval" else [settings.model]
    lora = LoRA(settings.lora.r, target_modules=settings.lora.target_modules) if command == "train" else None
    try:
        sizes = [model_size(source, lora, settings.trust_remote_code) for source in sources if source != "embedded"]
        largest = max(sizes, key=lambda size: size.weights, default=ModelSize(0, 0))
        found = defaults_for(largest, choose_device(settings.device).type)
    except (ValueError, OSError):
        return None
    if found is None:
        return None
    if command == "train":
        values = {**found.values, **(_kept(Path(settings.output), found.values) if settings.resume else {})}
    else:
        names = {"sampler.max_new_tokens": "sampler.max_new_tokens"}
        if command == "eval":
            names |= {"eval_problems": "problems"}
        values = {names[name]: value for name, value in found.values.items() if name in names}
        if command == "eval":
            values |= {"samples": 4}
    found = SizeDefaults(values, found.why)
    parser.set_defaults(_nested(parser, values))
    return found


def is_first_process() -> bool:
    """Whether this process is the one that speaks, of those that a launcher has started."""
    return os.environ.get("RANK", "0") == "0"


def _kept(folder: Path, values: Mapping[str, Any]) -> dict[str, Any]:
    """What the run in a folder began with."""
    path = folder / "config.json"
    try:
        settings = read_json_file(path) if path.is_file() else {}
    except ValueError:
        settings = None
    if not isinstance(settings, dict):  # resuming says what is wrong with it
        return {}
    found = {name: _value(settings, name) for name in values}
    return {name: value for name, value in found.items() if value is not None or name in settings}


def _nested(parser: ArgumentParser, values: Mapping[str, Any]) -> dict[str, Any]:
    """Values as the parser's defaults: those of a component in the component's default."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        owner, _, argument = name.partition(".")
        if not argument:
            found[name] = value
            continue
        default = parser.get_defaults(skip_validation=True)[owner]
        arguments = {**dict(default.get("init_args") or {}), argument: value}
        found[owner] = {"class_path": default["class_path"], "init_args": arguments}
    return found


def _value(settings: Any, name: str) -> Any:
    """A setting by the name of its flag; ``None`` if it has none."""
    owner, _, argument = name.partition(".")
    value = settings.get(owner)
    if not argument:
        return value
    return None if isinstance(value, str) or value is None else dict(value.get("init_args") or {}).get(argument)


def _short(count: int) -> str:
    """A number of weights.

    Example:
        >>> _short(134_515_008), _short(43_776), _short(7_241_000_000)
        ('135M', '44k', '7.2B')
    """
    if count >= 1e9:
        return f"{count / 1e9:.1f}B"
    return f"{count / 1e6:.3g}M" if count >= 1e6 else f"{count / 1e3:.0f}k"
