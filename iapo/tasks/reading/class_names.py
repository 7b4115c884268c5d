"""Classes of a data set by their names: ``datasets`` keeps a ``ClassLabel`` as a number."""

from collections.abc import Mapping, Sequence
from typing import Any

from iapo.tasks.interface import Row


def name_classes(rows: Sequence[Row], features: Mapping[str, Any]) -> None:
    """Put the name of its class in the place of each number of a ``ClassLabel``, those inside of lists and structs too.

    A number below 0, which stands for no class, becomes ``None``.

    Args:
        rows: of a data set, as Python values; changed in place.
        features: of the data set, a ``datasets.Features``.
    """
    for name, feature in features.items():
        if not _has_classes(feature):
            continue
        for row in rows:
            row[name] = _named(row[name], feature)


def _has_classes(feature: Any) -> bool:
    return hasattr(feature, "int2str") or any(map(_has_classes, _inside(feature)))


def _inside(feature: Any) -> list[Any]:
    """The features of what a value has inside: of the fields of a struct, or of the entries of a list."""
    if isinstance(feature, dict):
        return list(feature.values())
    return [feature.feature] if hasattr(feature, "feature") else []


def _named(value: Any, feature: Any) -> Any:
    if value is None:
        return None
    if hasattr(feature, "int2str"):
        return feature.int2str(value) if value >= 0 else None
    if isinstance(feature, dict):
        return {name: _named(value[name], inner) for name, inner in feature.items()}
    if hasattr(feature, "feature"):
        return [_named(each, feature.feature) for each in value]
    return value
