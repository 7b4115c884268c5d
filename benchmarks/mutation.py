"""Mutation testing: small changes of the source, one at a time, each of which should make a test fail.

    make mutation
    OMP_NUM_THREADS=1 python benchmarks/mutation.py --count 100 --seed 0

Draws ``--count`` of all mutants of the modules (`benchmarks/mutants.py`) with ``--seed``, and runs for each the tests
that cover its file until the first one fails: the tests of its folder, first those of its name, its doctests, and the
contracts of its components. Everything happens in a copy of the tree, so that no mutated file is ever in the checkout.
A mutant under which a test runs for two minutes counts as killed and is told apart.

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
import importlib
import json
import random
import signal
import sys
import tempfile
import time
import tomllib
from collections import Counter
from pathlib import Path

from mutant_tests import Copy, all_of, covering_tests, tree_files
from mutants import Mutant, mutants_of

MODULES = (
    "iapo/losses",
    "iapo/advantages",
    "iapo/estimators",
    "iapo/evaluation",
    "iapo/diagnostics",
    "iapo/comparison/showing/statistics.py",
    "iapo/ops/groups.py",
    "iapo/ops/masked.py",
    "iapo/ops/steps.py",
    "iapo/training/checkpoints/checkpoint.py",
)
WANTED = 0.95
"""The share of mutants, equivalent ones left out, that must be killed."""
OUTCOMES = ("killed", "timed out", "survived", "equivalent")
PRELOADED = (
    "torch",
    "transformers.models.llama.modeling_llama",
    "transformers.models.auto.modeling_auto",
    "hypothesis",
)
"""What every run of tests would take seconds to import: it is imported once, and the runs are forked."""


def read_results(path: Path) -> dict[str, dict]:
    """What was found so far, by the mutant's key; of two lines the later one holds."""
    lines = path.read_text().splitlines() if path.exists() else []
    return {entry["key"]: entry for entry in map(json.loads, lines)}


def read_equivalents(path: Path) -> dict[tuple[str, str, str], str]:
    """The reasons, by module and the lines that differ."""
    entries = tomllib.loads(path.read_text()).get("equivalent", []) if path.exists() else []
    return {(each["module"], each["before"], each["after"]): each["reason"] for each in entries}


def described(mutant: Mutant, source: bytes) -> dict:
    """A mutant as it is reported, not tried yet. What is found holds for its key: this change of this text."""
    before, after = mutant.lines(source)
    key = f"{mutant.module}:{mutant.start}:{mutant.new}:{hashlib.sha256(source).hexdigest()[:12]}"
    line, operator = mutant.line(source), mutant.operator
    entry = {"key": key, "module": mutant.module, "line": line, "operator": operator}
    return entry | {"before": before, "after": after, "outcome": ""}


def outcome_of(entry: dict, equivalents: dict[tuple[str, str, str], str]) -> str:
    """One of `OUTCOMES`; empty: not tried yet."""
    known = (entry["module"], entry["before"], entry["after"]) in equivalents
    return "equivalent" if known and entry["outcome"] == "survived" else entry["outcome"]


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
    outcomes = [outcome_of(entry, equivalents) for entry in entries]
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
    for entry, outcome in zip(entries, outcomes, strict=True):
        if outcome == "killed" and (entry["module"], entry["before"], entry["after"]) in equivalents:
            print(f"\nlisted as equivalent, but killed by {entry['by']}: {entry['after']}")
    print(f"\n{killed} of {tried} killed, {len(entries) - tried} equivalent")
    return killed >= WANTED * tried


def main() -> None:
    """Draw, try, report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("modules", nargs="*", default=MODULES, help="files or folders, relative to the root")
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--root", type=Path, default=Path(__file__).parents[1], help="the checkout")
    parser.add_argument("--preload", nargs="*", default=PRELOADED, help="what is imported once for all runs of tests")
    arguments = parser.parse_args()
    for name in arguments.preload:
        importlib.import_module(name)
    # The tests in progress end with this process.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    root, files = arguments.root, tree_files(arguments.root)
    chosen = [
        name for name in files if name.endswith(".py") and any(Path(name).is_relative_to(m) for m in arguments.modules)
    ]
    sources = {name: (root / name).read_bytes() for name in chosen}
    found = [mutant for name in chosen for mutant in mutants_of(name, sources[name])]
    drawn = random.Random(arguments.seed).sample(found, min(arguments.count, len(found)))
    print(f"{len(drawn)} of {len(found)} mutants of {len(chosen)} files, seed {arguments.seed}", flush=True)
    path = root / "runs" / "mutation" / f"seed-{arguments.seed}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    results, equivalents = read_results(path), read_equivalents(root / "benchmarks" / "equivalent_mutants.toml")
    entries = [described(mutant, sources[mutant.module]) for mutant in drawn]
    entries = [results.get(entry["key"], entry) for entry in entries]
    left = [index for index, entry in enumerate(entries) if outcome_of(entry, equivalents) in ("", "survived")]
    tests = {name: covering_tests(name, root, files) for name in {drawn[index].module for index in left}}
    with tempfile.TemporaryDirectory() as folder:
        copy = Copy(root, Path(folder), files)
        if left:
            outcome, which = copy.run_tests(all_of(tests.values()))
            if outcome != "survived":
                sys.exit(f"A test fails without a mutant: {which}")
        for count, index in enumerate(left, 1):
            start, module = time.monotonic(), drawn[index].module
            outcome, by = copy.try_mutant(drawn[index], tests[module])
            seconds = round(time.monotonic() - start, 1)
            entries[index] |= {"outcome": outcome, "by": by, "seconds": seconds}
            with path.open("a") as file:
                file.write(json.dumps(entries[index]) + "\n")
            where = f"{module}:{entries[index]['line']}"
            print(f"[{count}/{len(left)}] {outcome}, {seconds} s, {where}: {entries[index]['after']}", flush=True)
    sys.exit(0 if report(entries, equivalents) else 1)


if __name__ == "__main__":
    main()
