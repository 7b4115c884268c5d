"""What a new user waits for: seconds until the first line of progress, the first update, and the first report.

    python benchmarks/first_hour.py
    python benchmarks/first_hour.py --model SmolLM2-135M-Instruct.Q4_1.gguf --data gsm8k/train.jsonl -- --steps 2

What follows ``--`` goes to ``iapo train``. Standard error is no terminal here, so that the first line is one that a
file gets.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path


def first_times(arguments: list[str]) -> dict[str, float]:
    """Seconds from the start of ``iapo train`` to what a user sees; what never came is absent."""
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        line = [sys.executable, "-m", "iapo.cli", "train", "--output", str(run), *arguments]
        start, seen = time.perf_counter(), {}
        process = subprocess.Popen(line, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
        assert process.stderr is not None
        for text in process.stderr:
            now = time.perf_counter() - start
            seen.setdefault("first line of progress", now)
            if "step 1/" in text:
                seen.setdefault("first update", now)
            sys.stderr.write(f"{now:7.1f} s  {text}")
        code = process.wait()
        if code == 0 and (run / "report.md").exists():
            seen["first report"] = time.perf_counter() - start
        return seen


def main() -> None:
    """Print one table row of times."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="embedded")
    parser.add_argument("--data", default="embedded")
    parser.add_argument("more", nargs="*", help="flags of iapo train, behind --")
    given = parser.parse_args()
    times = first_times(["--model", given.model, "--data", given.data, *given.more])
    print("| model | " + " | ".join(f"{name}, s" for name in times) + " |")
    print("|---" * (len(times) + 1) + "|")
    print(f"| {Path(given.model).name} | " + " | ".join(f"{value:.1f}" for value in times.values()) + " |")


if __name__ == "__main__":
    main()
