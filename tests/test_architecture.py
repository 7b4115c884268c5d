"""The page on the architecture is true of the code: its packages, what they import, and in which direction."""

import ast
import re
from pathlib import Path

import pytest

import iapo

PACKAGE = Path(iapo.__file__).parent
PAGE = PACKAGE.parent / "docs/architecture.md"
EVERYWHERE = {"ops", "types"}
DRAWN = {
    row[1]: set(filter(None, row[2].strip().split(", ")))
    for row in re.finditer(r"^\| `(\w+)` \|[^|]+\|([^|]*)\|$", PAGE.read_text(encoding="utf-8"), re.M)
}
"""What each package imports, from the top of the page down."""


def imported(part):
    """The packages that one imports anywhere, besides itself and the public face."""
    place = PACKAGE / part
    files = place.rglob("*.py") if place.is_dir() else [place.with_suffix(".py")]
    nodes = [node for file in files for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))]
    modules = [node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)]
    modules += [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    return {module.split(".")[1] for module in modules if module.startswith("iapo.")} - {part}


def test_every_package_is_on_the_page():
    parts = {part.stem for part in PACKAGE.iterdir() if part.suffix == ".py" or (part / "__init__.py").exists()}
    assert set(DRAWN) == parts - {"__init__"}


@pytest.mark.parametrize("part", DRAWN)
def test_a_package_imports_what_the_page_says_and_nothing_below_it(part):
    found, above = imported(part), list(DRAWN)[: list(DRAWN).index(part)]
    assert found <= set(above)
    assert found - EVERYWHERE == DRAWN[part]
