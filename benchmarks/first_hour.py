"""What a new user waits for: seconds until the first line, the first report and texts, and the final report.

    python benchmarks/first_hour.py
    python benchmarks/first_hour.py --model SmolLM2-135M-Instruct --data gsm8k/train.jsonl --until texts

A run of the embedded model to its end comes first; with ``--model`` one of that model follows, by the command that
`docs/your_model.md` begins with. ``--until texts`` ends it, as Ctrl-C does, when its first sampled texts can be read.
Standard error is no terminal here, so that the first line is one that a file gets.
"""

import argparse
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

MOMENTS = ("first line", "first report", "first texts", "first update", "final report")
_FILES = {"first report": "report.md", "first texts": "samples.jsonl"}


def first_times(arguments: list[str], until_texts: bool = False) -> dict[str, float]:
    """Seconds from the start of ``iapo train`` to what a user sees; what never came is absent.

    Args:
        arguments: of the command.
        until_texts: end it when the first sampled texts are there.
    """
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        line = [sys.executable, "-m", "iapo.cli", "train", "--output", str(run), *arguments]
        start, seen = time.perf_counter(), {}
        process = subprocess.Popen(line, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)

        def watch() -> None:
            missing = dict(_FILES)
            while process.poll() is None and missing:
                time.sleep(0.1)
                for name in [name for name, file in missing.items() if (run / file).exists()]:
                    seen[name] = time.perf_counter() - start
                    sys.stderr.write(f"{seen[name]:7.1f} s  ({missing.pop(name)} is there)\n")
            if until_texts:
                process.send_signal(signal.SIGINT)

        watching = threading.Thread(target=watch)
        watching.start()
        assert process.stderr is not None
        for text in process.stderr:
            now = time.perf_counter() - start
            seen.setdefault("first line", now)
            if "step 1/" in text:
                seen.setdefault("first update", now)
            sys.stderr.write(f"{now:7.1f} s  {text}")
        code = process.wait()
        watching.join()
        if code == 0:
            seen["final report"] = time.perf_counter() - start
        return seen


def main() -> None:
    """Print a table of times."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", help="directory, hub id or GGUF file, behind the embedded one")
    parser.add_argument("--data", default="embedded", help="the problems of that model")
    parser.add_argument("--until", choices=["texts", "end"], default="end", help="of that model's run")
    given = parser.parse_args()
    rows = {"embedded": first_times([])}
    if given.model is not None:
        arguments = ["--model", given.model, "--data", given.data, "--lora.r", "8", "--steps", "2"]
        rows[Path(given.model).name] = first_times(arguments, given.until == "texts")
    print(f"| model | {' | '.join(f'{name}, s' for name in MOMENTS)} |")
    print("|---" * (len(MOMENTS) + 1) + "|")
    for name, times in rows.items():
        print(f"| {name} | {' | '.join(f'{times[each]:.1f}' if each in times else '' for each in MOMENTS)} |")


if __name__ == "__main__":
    main()
