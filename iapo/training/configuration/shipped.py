"""The files of settings that come with the package, named `iapo://gfpo` or `iapo://compare/embedded`."""

from pathlib import Path

import iapo
from iapo.ops.near_names import did_you_mean

SCHEME = "iapo://"


def folder() -> Path:
    """Where they are: in the package, or beside it in a checkout."""
    package = Path(iapo.__file__).parent
    inside = package / "configs"
    return inside if inside.is_dir() else package.parent / "configs"


def names() -> list[str]:
    """All there are, without their ending.

    Example:
        >>> "gfpo" in names(), "compare/embedded" in names()
        (True, True)
    """
    return sorted(path.relative_to(folder()).with_suffix("").as_posix() for path in folder().rglob("*.yaml"))


def shipped_path(text: str) -> str:
    """The path of what ``iapo://NAME`` names; any other text as it is.

    Raises:
        ValueError: there is none of this name; the message lists those that are near.
    """
    if not text.startswith(SCHEME):
        return text
    name = text.removeprefix(SCHEME).removesuffix(".yaml")
    if name in names():
        return str(folder() / f"{name}.yaml")
    near = did_you_mean(name, names(), SCHEME) or f"; want one of {', '.join(names())}"
    raise ValueError(f"config: there is no {text}{near}")
