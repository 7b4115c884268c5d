"""Which tests cover a module, and running them in a copy of the checkout, with a mutant or without."""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import pytest
from mutants import Mutant

CONTRACTS = ("tests/test_contracts.py", "tests/test_ranges.py")
PYTEST = (
    *("-x", "-q", "--tb=no", "-rfE", "-m", "not slow", "-p", "no:cacheprovider"),
    # The same examples every time, and none made smaller: the first failure is enough.
    *("--hypothesis-seed=0", "--hypothesis-profile=first failure"),
    # Of plugins that are imported before the runs are forked.
    *("-W", "ignore::pytest.PytestAssertRewriteWarning"),
    # Seconds of one test; beyond, pytest ends with the line below.
    *("-o", "faulthandler_timeout=120", "-o", "faulthandler_exit_on_timeout=true"),
)
TOO_LONG = "Timeout (0:02:00)!"
LIMIT = 1800
"""Seconds of all tests together, should something hang outside of a test."""


def tree_files(root: Path) -> list[str]:
    """The files of a checkout as it stands, ignored ones left out."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=root, check=True, capture_output=True, text=True).stdout
    return sorted(name for name in set(listed.split("\0")) if name and (root / name).is_file())


@dataclass(frozen=True)
class Tests:
    """Which tests to run.

    Args:
        files: in this order.
        components: of the contracts, those of these classes; the contracts of others are left out.
    """

    files: tuple[str, ...]
    components: frozenset[str]

    def arguments(self) -> list[str]:
        """Those of pytest."""
        if not self.components:
            return list(self.files)
        every = " and ".join(f"not {Path(name).stem}" for name in CONTRACTS)
        return [*self.files, *CONTRACTS, "-k", " or ".join([every, *sorted(self.components)])]


def covering_tests(module: str, root: Path, files: list[str]) -> Tests:
    """The tests of a module by the layout that mirrors the packages, and its doctests.

    Of its folder and those above, first the files of its name, then those named for a module that imports it, then
    those of no module's name; the others are left out. So are all contracts but those of the components that the module
    defines, or of its whole package if it defines none.
    """
    path = Path(module)
    package = root.joinpath(*path.parts[:2])
    folders = [Path("tests", *path.parts[1:depth]) for depth in range(2, len(path.parts))]
    dotted = ".".join(path.with_suffix("").parts)
    named = {f"test_{other.stem}": other.read_text() for other in package.rglob("*.py")}

    def rank(name: str) -> int:
        stem = Path(name).stem
        if path.stem in stem:
            return 0
        return 2 if stem not in named else 1 if f"from {dotted} import" in named[stem] else 3

    beside = [name for name in files if Path(name).parent in folders and Path(name).match("test_*.py")]
    tests = [*sorted((name for name in beside if rank(name) < 3), key=rank), module]
    checked = {word for name in CONTRACTS if name in files for word in re.findall(r"\w+", (root / name).read_text())}
    defined = checked.intersection(re.findall(r"^class (\w+)", (root / path).read_text(), re.MULTILINE))
    exported = checked.intersection(re.findall(r"\b[A-Z]\w+", (package / "__init__.py").read_text()))
    return Tests(tuple(tests), frozenset(defined or exported))


def all_of(tests: Iterable[Tests]) -> Tests:
    """Several together."""
    tests = list(tests)
    files = sorted({name for each in tests for name in each.files})
    return Tests(tuple(files), frozenset().union(*(each.components for each in tests)))


def waited(process: int, limit: float) -> int | None:
    """The exit code of a process, negative for a signal; ``None`` if it ran longer. All of its group ends with it."""
    end, found = time.monotonic() + limit, 0
    try:
        while time.monotonic() < end:
            found, status = os.waitpid(process, os.WNOHANG)
            if found:
                return os.waitstatus_to_exitcode(status)
            time.sleep(0.05)
        return None
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process, signal.SIGKILL)
        if not found:
            os.waitpid(process, 0)


class Copy:
    """A copy of a checkout in which tests run."""

    def __init__(self, root: Path, folder: Path, files: list[str]) -> None:
        self.folder = folder
        for name in files:
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(root / name, target)

    def run_tests(self, tests: Tests) -> tuple[str, str]:
        """Run tests until one fails: ``"survived"``, ``"killed"`` or ``"timed out"``, and which one failed."""
        with tempfile.TemporaryFile("w+") as output:
            process = os.fork()
            if process == 0:
                self._pytest(tests, output.fileno())
            code = waited(process, LIMIT)
            output.seek(0)
            lines = output.read().splitlines()
        if code is None or any(line.startswith(TOO_LONG) for line in lines):
            return "timed out", ""
        if code == 0:
            return "survived", ""
        failed = [line for line in lines if line.startswith(("FAILED", "ERROR"))]
        return "killed", (failed or lines[-1:] or [f"exit code {code}"])[0]

    def _pytest(self, tests: Tests, output: int) -> NoReturn:
        """Pytest in the copy, in a process that was forked for it and ends with it."""
        code = 1
        try:
            os.setsid()
            os.chdir(self.folder)
            for stream in (sys.stdout, sys.stderr):
                os.dup2(output, stream.fileno())
            # The copy is imported in place of an installed package. No bytecode: its time stamps do not tell mutants
            # apart.
            sys.path.insert(0, str(self.folder))
            sys.dont_write_bytecode = True
            os.environ |= {"PYTHONPATH": str(self.folder), "PYTHONDONTWRITEBYTECODE": "1"}
            code = pytest.main([*PYTEST, *tests.arguments()])
        except Exception:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)

    def try_mutant(self, mutant: Mutant, tests: Tests) -> tuple[str, str]:
        """`run_tests` with the mutant in the copy."""
        path = self.folder / mutant.module
        source = path.read_bytes()
        path.write_bytes(mutant.apply(source))
        try:
            return self.run_tests(tests)
        finally:
            path.write_bytes(source)
