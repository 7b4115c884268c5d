"""The methods of a comparison file: first checked, then resolved to the settings of their whole grids."""

import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from iapo.comparison.running.plan import Method
from iapo.comparison.running.settings import Settings, flags, resolve
from iapo.comparison.running.values import mapping
from iapo.training.configuration.shipped import shipped_path

UNTUNED = "default"
"""Name of the only setting of a method that has nothing to tune."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]*")
PAGES = ("index.html", "report.md", "results.json")
"""What a comparison writes in the end, beside the folders of its methods."""
_TAKEN = ("base", *PAGES, "begun.json", "traceback.txt")
"""Names that a method cannot have: of the folder of the base model, and of files beside the methods' folders."""
_LONGEST_NAME = 80


@dataclass(frozen=True)
class Entry:
    """An entry of ``methods`` whose settings are not resolved yet.

    Args:
        name: its key.
        method: ``method`` in the results.
        preset: ``preset`` in the results.
        arguments: flags of `iapo train`.
        grid: values to tune, by flag.
    """

    name: str
    method: str
    preset: str
    arguments: tuple[str, ...]
    grid: Mapping[str, Sequence[Any]]

    def resolve(self) -> Method:
        """The method with the settings of its whole grid."""
        where = f"methods.{self.name}"
        settings: dict[str, Settings] = {}
        combinations = list(itertools.product(*self.grid.values()))
        for values in combinations:
            chosen = dict(zip(self.grid, values, strict=True))
            settings[setting_name(chosen)] = resolve([*self.arguments, *flags(chosen, f"{where}.tune")], where)
        if len(settings) < len(combinations):
            raise ValueError(f"{where}.tune: the same values come twice")
        return Method(self.name, self.method, self.preset, settings)


def read_entries(content: Any, base: Settings, beside: Path) -> tuple[Entry, ...]:
    """Read and check ``methods``, without resolving any settings.

    Args:
        content: of the key ``methods``.
        base: settings that all methods share.
        beside: the folder of the comparison file, from which a method's ``config`` may be named.

    Raises:
        FileNotFoundError: a ``config`` that is not there.
        ValueError: an entry that cannot work; the key is named.
    """
    given = mapping(content, "methods")
    if not given:
        raise ValueError("methods: got none, want at least one")
    entries = tuple(_read_entry(name, entry, base, beside) for name, entry in given.items())
    labels = [(entry.method, entry.preset) for entry in entries]
    for entry, label in zip(entries, labels, strict=True):
        if labels.count(label) > 1:
            raise ValueError(f"methods.{entry.name}: another entry has method {label[0]!r} and preset {label[1]!r} too")
    return entries


def _read_entry(name: Any, content: Any, base: Settings, beside: Path) -> Entry:
    where = f"methods.{name}"
    if not isinstance(name, str) or not _NAME.fullmatch(name) or len(name) > _LONGEST_NAME:
        raise ValueError(
            f"{where}: want a name of at most {_LONGEST_NAME} letters, digits and _ . + -, it names a folder (in "
            "quotes where YAML reads it as a number or as true or false)"
        )
    if name in _TAKEN or name.startswith("problems-"):
        raise ValueError(f"{where}: want another name, a comparison has {name} beside the folders of its methods")
    entry = dict(mapping({} if content is None else content, where))
    config, grid = entry.pop("config", None), mapping(entry.pop("tune", {}), f"{where}.tune")
    method, preset = entry.pop("method", name), entry.pop("preset", "default")
    arguments = flags(base, "base")
    if config is not None:
        arguments.append(f"--config={_locate(config, beside, where)}")
    arguments += flags(entry, where)
    for flag, values in grid.items():
        if not isinstance(values, list) or len(values) < 2:
            raise ValueError(f"{where}.tune.{flag}: got {values!r}, want a list of at least two values")
    return Entry(name, str(method), str(preset), tuple(arguments), grid)


def setting_name(chosen: Mapping[str, Any]) -> str:
    """The name and folder of a setting of a grid.

    Example:
        >>> setting_name({"assigner.alpha": 0.3, "group_size": 8}), setting_name({})
        ('assigner.alpha=0.3,group_size=8', 'default')
    """
    if not chosen:
        return UNTUNED
    name = ",".join(f"{flag}={value}" for flag, value in chosen.items())
    plain = re.sub(r"[^A-Za-z0-9_.+,=-]", "_", name)
    if plain == name and len(name) <= _LONGEST_NAME:
        return name
    return f"{plain[:_LONGEST_NAME]}-{sha256(name.encode()).hexdigest()[:8]}"


def _locate(config: Any, beside: Path, where: str) -> Path:
    """A method's file: as seen from here, or from the folder of the comparison file."""
    config = shipped_path(str(config))
    for candidate in (Path(config).expanduser(), beside / config):
        if candidate.is_file():
            return candidate
    raise FileNotFoundError(f"{where}.config: no file {config}, neither from here nor from {beside}")
