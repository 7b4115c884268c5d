"""The packed forward is used through its package alone."""

import re
from pathlib import Path

import iapo
from iapo.estimators import packed

ROOT = Path(iapo.__file__).parent
INSIDE = re.compile(r"^\s*(?:from|import) iapo\.estimators\.packed\.\w+", re.MULTILINE)


def test_nothing_outside_imports_its_files():
    outside = [path for path in ROOT.rglob("*.py") if Path(packed.__file__).parent not in path.parents]
    assert len(outside) > 100
    assert [str(path.relative_to(ROOT)) for path in outside if INSIDE.search(path.read_text())] == []


def test_it_exports_what_it_says_and_nothing_private():
    assert all(hasattr(packed, name) and not name.startswith("_") for name in packed.__all__)
