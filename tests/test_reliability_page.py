"""The page of faults: 35 rows in order, and every test that it names is there."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "reliability.md").read_text(encoding="utf-8")
NAMED = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`(?: \(check `(\w+)`\))?")


def test_every_fault_has_its_row_and_every_row_its_test():
    rows = re.findall(r"^\| (\d+) \|(.*)\|$", PAGE.partition("## The faults")[2], flags=re.MULTILINE)
    assert [int(number) for number, _ in rows] == list(range(1, 36))
    for number, row in rows:
        assert len(row.split("|")) == 3, f"row {number}: want fault, what happens, test"
        assert NAMED.search(row.split("|")[2]), f"row {number} names no test"


def test_every_test_that_is_named_is_there():
    found = NAMED.findall(PAGE)
    assert len(found) > 35
    checks = "".join(path.read_text() for path in (ROOT / "iapo" / "testing").glob("*.py"))
    for file, name, check in found:
        tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
        assert name in {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}, f"{file}::{name}"
        assert not check or re.search(rf"Check\(\s*\"{check}\"", checks), check
