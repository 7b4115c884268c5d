"""Run the parts that need a GPU, in order of worth, each by itself in less than nine minutes.

    python -m benchmarks.gpu contracts              # one part; also: estimate, sampling, study
    python -m benchmarks.gpu                        # all of them, a process each
    python -m benchmarks.gpu --toy --output /tmp/x  # all of it at toy size, on a CPU

Results are appended to `--output`: a table (`PART.md`) and the same as JSON. What is there already is not measured
again, so that a part that ran out of time goes on when it is called once more; cases that failed say why and are tried
again. The exit code is 1 if a case failed, and 2 if only time ran out.
"""

import argparse
import importlib
import subprocess
import sys
from pathlib import Path

from benchmarks.gpu.results import OutOfTimeError, Results

PARTS = ("contracts", "estimate", "sampling", "study")


def main(arguments: list[str] | None = None) -> int:
    """Run a part, or all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", nargs="?", choices=PARTS)
    parser.add_argument("--toy", action="store_true", help="small enough for a CPU, to see that it runs")
    parser.add_argument("--output", type=Path, default=Path("runs/gpu"))
    parser.add_argument("--minutes", type=float, default=8.5, help="of a part; no case is begun later")
    help_ = "study: folder of a warm-started model; once for each task; without it, the embedded one"
    parser.add_argument("--weights", type=Path, action="append", default=[], help=help_)
    settings = parser.parse_args(arguments)
    if settings.part is None:
        given = sys.argv[1:] if arguments is None else arguments
        codes = [
            subprocess.run([sys.executable, "-m", "benchmarks.gpu", part, *given], check=False).returncode
            for part in PARTS
        ]
        return max(codes, key=lambda code: (code not in (0, 2), code))
    results = Results(settings.output, settings.part, settings.minutes)
    try:
        importlib.import_module(f"benchmarks.gpu.{settings.part}").run(results, settings)
    except OutOfTimeError as left:
        print(f"{settings.part}: out of time before {left}; call it again to go on")
        return 1 if results.failed else 2
    for name in results.failed:
        print(f"{settings.part}: {name} failed: {results.rows[name]['failed']}")
    return 1 if results.failed else 0


if __name__ == "__main__":
    sys.exit(main())
