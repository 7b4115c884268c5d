"""What a new user waits for: seconds until the first line, the first report and texts, and the final report.

    python benchmarks/first_hour.py
    python benchmarks/first_hour.py --model SmolLM2-135M-Instruct --data gsm8k/train.jsonl --until texts

A run of the embedded model comes first; with ``--model`` one of that model follows, by the command that
`docs/your_model.md` begins with. ``--until texts`` ends both, as Ctrl-C does, when first sampled texts can be read.
Standard error is no terminal here, so that the first line is one that a file gets.
"""

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

MOMENTS = ("first line", "first report", "first texts", "first update", "final report")
_FILES = {"first report": "report-so-far.md", "first texts": "samples.jsonl"}


def first_times(arguments: list[str], until_texts: bool = False) -> dict[str, tuple[float, float]]:
    """Seconds from the start of ``iapo train`` to what a user sees, by the clock and of the processor.

    What never came is absent.

    Args:
        arguments: of the command.
        until_texts: end it when the first sampled texts are there.
    """
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        line = [sys.executable, "-m", "iapo.cli", "train", "--output", str(run), *arguments]
        start, seen = time.perf_counter(), {}
        process = subprocess.Popen(line, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)

        def now() -> tuple[float, float]:
            return time.perf_counter() - start, _processor_seconds(process.pid)

        def watch() -> None:
            missing = dict(_FILES)
            while process.poll() is None and missing:
                time.sleep(0.1)
                for name in [name for name, file in missing.items() if (run / file).exists()]:
                    seen[name] = now()
                    sys.stderr.write(f"{seen[name][0]:7.1f} s  ({missing.pop(name)} is there)\n")
            if until_texts:
                process.send_signal(signal.SIGINT)

        watching = threading.Thread(target=watch)
        watching.start()
        assert process.stderr is not None
        for text in process.stderr:
            at = now()
            seen.setdefault("first line", at)
            if "step 1/" in text:
                seen.setdefault("first update", at)
            if "the report is in" in text:
                seen["final report"] = at
            sys.stderr.write(f"{at[0]:7.1f} s  {text}")
        process.wait()
        watching.join()
        return seen


def _processor_seconds(pid: int) -> float:
    """What a process has used; 0 for one that is gone, and where there is no ``/proc``."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    """Print a table of times."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", help="directory, hub id or GGUF file, behind the embedded one")
    parser.add_argument("--data", default="embedded", help="the problems of that model")
    parser.add_argument("--until", choices=["texts", "end"], default="end", help="of the runs")
    given = parser.parse_args()
    rows = {"embedded": first_times([], given.until == "texts")}
    if given.model is not None:
        arguments = ["--model", given.model, "--data", given.data, "--lora.r", "8", "--steps", "2"]
        rows[Path(given.model).name] = first_times(arguments, given.until == "texts")
    print(f"| seconds (of the processor) | {' | '.join(MOMENTS)} |")
    print("|---" * (len(MOMENTS) + 1) + "|")
    for name, times in rows.items():
        cells = [f"{times[each][0]:.1f} ({times[each][1]:.1f})" if each in times else "" for each in MOMENTS]
        print(f"| {name} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
