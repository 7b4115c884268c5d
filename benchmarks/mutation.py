"""Mutation testing: small changes of the source, one at a time, each of which should make a test fail.

    make mutation
    OMP_NUM_THREADS=1 python benchmarks/mutation.py --count 100 --seed 0

Draws ``--count`` of all mutants of the modules (`benchmarks/mutants.py`) with ``--seed``, and runs for each the tests
that cover its file until the first one fails: those of its name, then the other tests of its package, its own doctests,
and the contracts. Everything happens in a copy of the tree, so that no mutated file is ever in the checkout. A mutant
that runs longer than three times its tests do, and a minute, counts as killed and is told apart.

Results go to a file as they come. Another call with the same seed goes on from there, and tries survivors again, as
tests may have been added. Mutants that no test can kill are in `equivalent_mutants.toml` with the reason; they are
tried too, and counted apart. The exit code is 0 if at least 95% of the others were killed.

Why none of the libraries: mutmut (3.8) leaves out what stands outside of functions (defaults, constants) and most
decorated functions, changes the text of every message, wraps functions in a way that annotations checked at run time do
not bear, and draws no samples. cosmic-ray (8.7) changes files in place, knows one test command for all modules, and
changes messages and types as well.
"""

import argparse
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import tomllib
from collections import Counter
from pathlib import Path

from mutants import Mutant, mutants_of

MODULES = ("iapo/losses", "iapo/advantages", "iapo/estimators", "iapo/evaluation", "iapo/training/checkpoint.py")
WANTED = 0.95
"""The share of mutants, equivalent ones left out, that must be killed."""
OUTCOMES = ("killed", "timed out", "survived", "equivalent")
PYTEST = (
    *("-x", "-q", "--tb=no", "-rfE", "-m", "not slow", "-p", "no:cacheprovider"),
    # The same examples every time, and none made smaller: the first failure is enough.
    *("--hypothesis-seed=0", "--hypothesis-profile=first failure"),
)


def tree_files(root: Path) -> list[str]:
    """The files of a checkout as it stands, ignored ones left out."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=root, check=True, capture_output=True, text=True).stdout
    return sorted(name for name in set(listed.split("\0")) if name and (root / name).is_file())


def covering_tests(module: str, files: list[str]) -> tuple[str, ...]:
    """The tests of a module by the layout that mirrors the packages, those of its own name first."""
    path = Path(module)
    package, stem = path.parts[1], path.stem.strip("_")
    beside = [name for name in files if name.startswith(f"tests/{package}/") and Path(name).match("test_*.py")]
    own_first = sorted(beside, key=lambda name: (stem not in Path(name).stem, name))
    contracts = [name for name in ("tests/test_contracts.py",) if name in files]
    return (*own_first, module, *contracts)


class Copy:
    """A copy of a checkout in which tests run."""

    def __init__(self, root: Path, folder: Path, files: list[str]) -> None:
        self.folder = folder
        for name in files:
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(root / name, target)
        # The copy is imported in place of an installed package. No bytecode: its time stamps do not tell mutants apart.
        self.environment = os.environ | {"PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}

    def run_tests(self, tests: tuple[str, ...], limit: float | None) -> tuple[str, str]:
        """Run tests until one fails: ``"survived"``, ``"killed"`` or ``"timed out"``, and which one failed."""
        command = [sys.executable, "-m", "pytest", *PYTEST, *tests]
        process = subprocess.Popen(
            command, cwd=self.folder, env=self.environment, text=True, start_new_session=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        try:
            output, _ = process.communicate(timeout=limit)
        except subprocess.TimeoutExpired:
            return "timed out", ""
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.communicate()
        if process.returncode == 0:
            return "survived", ""
        failed = [line for line in output.splitlines() if line.startswith(("FAILED", "ERROR"))]
        return "killed", (failed or output.splitlines()[-1:] or [f"exit code {process.returncode}"])[0]

    def try_mutant(self, mutant: Mutant, tests: tuple[str, ...], limit: float) -> tuple[str, str]:
        """`run_tests` with the mutant in the copy."""
        path = self.folder / mutant.module
        source = path.read_bytes()
        path.write_bytes(mutant.apply(source))
        try:
            return self.run_tests(tests, limit)
        finally:
            path.write_bytes(source)


def read_results(path: Path) -> dict[str, dict]:
    """What was found so far, by the mutant's key; of two lines the later one holds."""
    lines = path.read_text().splitlines() if path.exists() else []
    return {entry["key"]: entry for entry in map(json.loads, lines)}


def read_equivalents(path: Path) -> dict[tuple[str, str, str], str]:
    """The reasons, by module and the lines that differ."""
    entries = tomllib.loads(path.read_text()).get("equivalent", []) if path.exists() else []
    return {(each["module"], each["before"], each["after"]): each["reason"] for each in entries}


def key_of(mutant: Mutant, source: bytes) -> str:
    """What a result holds for: this change of this text."""
    return f"{mutant.module}:{mutant.start}:{mutant.new}:{hashlib.sha256(source).hexdigest()[:12]}"


def table(title: str, rows: list[tuple[str, str]]) -> str:
    """Counts of the outcomes by a name, and in total."""
    counts = Counter(rows)
    lines = [f"| {title} | {' | '.join(OUTCOMES)} |", "|---" * (len(OUTCOMES) + 1) + "|"]
    for name in [*sorted({name for name, _ in rows}), "all"]:
        numbers = [
            sum(n for (own, found), n in counts.items() if name in (own, "all") and found == each) for each in OUTCOMES
        ]
        lines.append(f"| {name} | {' | '.join(map(str, numbers))} |")
    return "\n".join(lines)


def report(entries: list[dict], equivalents: dict[tuple[str, str, str], str]) -> bool:
    """Print the tables and the survivors; whether enough were killed."""
    outcomes = []
    for entry in entries:
        known = (entry["module"], entry["before"], entry["after"]) in equivalents
        outcomes.append("equivalent" if known and entry["outcome"] == "survived" else entry["outcome"])
        if known and entry["outcome"] != "survived":
            print(f"Listed as equivalent, and killed: {entry['module']}:{entry['line']} {entry['after']}")
    by_operator = [(entry["operator"], outcome) for entry, outcome in zip(entries, outcomes, strict=True)]
    by_package = [(entry["module"].split("/")[1], outcome) for entry, outcome in zip(entries, outcomes, strict=True)]
    print("\n" + table("operator", by_operator) + "\n\n" + table("package", by_package))
    for wanted in ("timed out", "survived", "equivalent"):
        for entry, outcome in zip(entries, outcomes, strict=True):
            if outcome == wanted:
                where = f"{entry['module']}:{entry['line']}"
                print(f"\n{wanted}: {where} ({entry['operator']})\n- {entry['before']}\n+ {entry['after']}")
    killed = sum(outcome in ("killed", "timed out") for outcome in outcomes)
    tried = sum(outcome != "equivalent" for outcome in outcomes)
    print(f"\n{killed} of {tried} killed, {len(entries) - tried} equivalent")
    return killed >= WANTED * tried


def main() -> None:
    """Draw, try, report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("modules", nargs="*", default=MODULES, help="files or folders, relative to the root")
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--root", type=Path, default=Path(__file__).parents[1], help="the checkout")
    arguments = parser.parse_args()
    root, modules = arguments.root, tuple(arguments.modules)
    files = tree_files(root)
    chosen = [name for name in files if name.endswith(".py") and any(Path(name).is_relative_to(m) for m in modules)]
    sources = {name: (root / name).read_bytes() for name in chosen}
    found = [mutant for name in chosen for mutant in mutants_of(name, sources[name])]
    drawn = random.Random(arguments.seed).sample(found, min(arguments.count, len(found)))
    print(f"{len(drawn)} of {len(found)} mutants of {len(chosen)} files, seed {arguments.seed}", flush=True)
    path = root / "runs" / "mutation" / f"seed-{arguments.seed}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    results, equivalents = read_results(path), read_equivalents(root / "benchmarks" / "equivalent_mutants.toml")
    limits: dict[frozenset[str], float] = {}
    entries = []
    with tempfile.TemporaryDirectory() as folder:
        copy = Copy(root, Path(folder), files)
        for number, mutant in enumerate(drawn, 1):
            source = sources[mutant.module]
            key, (before, after) = key_of(mutant, source), mutant.lines(source)
            entry = results.get(key)
            if entry is None or (entry["outcome"] == "survived" and (mutant.module, before, after) not in equivalents):
                tests = covering_tests(mutant.module, files)
                shared = frozenset(tests) - {mutant.module}
                if shared not in limits:
                    start = time.monotonic()
                    outcome, which = copy.run_tests(tests, limit=None)
                    if outcome != "survived":
                        sys.exit(f"A test fails without a mutant: {which}")
                    limits[shared] = 3 * (time.monotonic() - start) + 60
                start = time.monotonic()
                outcome, by = copy.try_mutant(mutant, tests, limits[shared])
                entry = {
                    "key": key, "module": mutant.module, "line": mutant.line(source), "operator": mutant.operator,
                    "before": before, "after": after, "outcome": outcome, "by": by,
                    "seconds": round(time.monotonic() - start, 1),
                }  # fmt: skip
                with path.open("a") as file:
                    file.write(json.dumps(entry) + "\n")
            entries.append(entry)
            where = f"{entry['module']}:{entry['line']}"
            print(f"[{number}/{len(drawn)}] {entry['outcome']}, {entry['seconds']} s, {where}: {after}", flush=True)
    sys.exit(0 if report(entries, equivalents) else 1)


if __name__ == "__main__":
    main()
