"""Mutation testing: what is a mutant, and that a survivor is told while the checkout stays as it is."""

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"

MODULE = '''def sign(value: int) -> int:
    """-1 below 0, else 1."""
    if value < 0:
        return -1
    return 1
'''
TEST = """from iapo.losses.signs import sign


def test_sign():
    assert sign(3) == 1 and sign(-2) == -1
"""
PROFILE = """from hypothesis import settings

settings.register_profile("first failure", settings())
"""


@pytest.fixture
def mutants(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("mutants")


def changes(mutants, source: str) -> set[str]:
    encoded = source.encode()
    return {each.apply(encoded).decode() for each in mutants.mutants_of("module.py", encoded)}


@pytest.mark.parametrize(
    "source",
    [
        '"""One or 2."""',
        "import torch",
        '__all__ = ["one"]',
        "Ids = tuple[int, ...] | None",
        'Names = Literal["one", "two"]',
        "x: Float[Tensor, '1 2']",
        "def f(x: int | None) -> bool | int: return x",
        "@cached(size=1)\ndef f(): return x",
        'x = f"{x + 1}"',
        "x = zip(x, y, strict=True)",
    ],
)
def test_what_computes_nothing_has_no_mutants(mutants, source):
    assert changes(mutants, source) == set()


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("x < y", {"x <= y", "x >= y"}),
        ("x is not y", {"x is y"}),
        ("x = (a + b) - c", {"x = (a - b) - c", "x = (a + b) + c"}),
        ("x = a and not b", {"x = a or not b", "x = a and b"}),
        ("x = a & ~(b | c)", {"x = a | ~(b | c)", "x = a & (b | c)", "x = a & ~(b & c)"}),
        ("x = 0.5", {"x = 1.0"}),
        ("x = y[1:]", {"x = y[0:]"}),
        ("x = [0, True]", {"x = [1, True]", "x = [0, False]"}),
        ("x += y", {"x -= y", "pass"}),
        ("x = y if z else w", {"x = y if (not z) else w"}),
        ('x = {"a": y}', {'x = {"aX": y}'}),
        ("x = (a - b).abs()", {"x = (a + b).abs()", "x = (a - b)"}),
        ("x = y.clamp(min=z)", {"x = y", "x = y.clamp(max=z)"}),
        ("x = math.sqrt(min(y, z))", {"x = math.sqrt(max(y, z))"}),
        ("check(x)", {"pass"}),
        ('raise ValueError("one" + 2)', {"pass"}),
        ("warnings.warn(x, stacklevel=2)", {"pass"}),
        ('x = "é", y == z', {'x = "é", y != z'}),
    ],
)
def test_mutants_of_an_expression(mutants, source, expected):
    assert changes(mutants, source) == expected


def test_survivors_are_told_and_the_checkout_is_untouched(tmp_path):
    """Nobody asks for the sign of 0: of five mutants two survive, one of which is listed as equivalent."""
    equivalent = {
        "module": "iapo/losses/signs.py",
        "before": "if value < 0:",
        "after": "if value < 1:",
        "reason": "only to see one listed",
    }
    files = {
        "iapo/__init__.py": "",
        "iapo/losses/__init__.py": "",
        "iapo/losses/signs.py": MODULE,
        "tests/losses/test_signs.py": TEST,
        "conftest.py": PROFILE,
        "pyproject.toml": "[tool.pytest.ini_options]\nmarkers = ['slow: none']\n",
        ".gitignore": "runs/\n",
        "benchmarks/equivalent_mutants.toml": "[[equivalent]]\n"
        + "".join(f"{key} = {json.dumps(value)}\n" for key, value in equivalent.items()),
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    subprocess.run(["git", "init", "--quiet"], cwd=tmp_path, check=True)
    command = [sys.executable, BENCHMARKS / "mutation.py", "iapo", "--count", "9", "--root", tmp_path, "--preload"]
    environment = os.environ | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTEST_PLUGINS": "_hypothesis_pytestplugin"}
    for tried in (5, 6):
        done = subprocess.run(command, capture_output=True, text=True, env=environment)
        assert done.returncode == 1, done.stdout + done.stderr
        assert "\nsurvived: iapo/losses/signs.py:3 (comparison)\n- if value < 0:\n+ if value <= 0:\n" in done.stdout
        assert "\nequivalent: iapo/losses/signs.py:3 (number)\n" in done.stdout
        assert done.stdout.endswith("\n3 of 4 killed, 1 equivalent\n")
        # What was killed, and what is known to be equivalent, is not tried again.
        assert len((tmp_path / "runs/mutation/seed-0.jsonl").read_text().splitlines()) == tried
    assert {name: (tmp_path / name).read_text() for name in files} == files
    kept = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file())
    assert [name for name in kept if not name.startswith(".git/")] == sorted([*files, "runs/mutation/seed-0.jsonl"])
