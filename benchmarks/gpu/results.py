"""A part's results: a row a case, kept as JSON and shown as Markdown, so that a part goes on where it stopped."""

import json
import platform
import signal
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import transformers

Row = dict[str, Any]
GRACE = 25
"""Seconds that a case may go on after the part's time is over; then it has failed."""


class OutOfTimeError(Exception):
    """The part's time is over; the cases that are left are for another call."""


class Results:
    """The cases of one part.

    Args:
        folder: of all parts' results.
        part: its name; the files are ``part.json`` and ``part.md``.
        minutes: from now on, after which no further case is begun.
    """

    def __init__(self, folder: Path, part: str, minutes: float) -> None:
        self.folder, self.part = folder, part
        self._end = time.monotonic() + 60 * minutes
        folder.mkdir(parents=True, exist_ok=True)
        self._path = folder / f"{part}.json"
        self.rows: dict[str, Row] = json.loads(self._path.read_text())["rows"] if self._path.exists() else {}

    def case(self, name: str, measure: Callable[[], Row]) -> Row | None:
        """Measure a case unless that is done; one that fails gets the reason, and is tried again by the next call.

        Raises:
            OutOfTimeError: no time is left to begin it.
        """
        there = self.rows.get(name)
        if there is not None and "failed" not in there:
            return there
        if time.monotonic() > self._end:
            raise OutOfTimeError(name)
        start = time.monotonic()
        signal.signal(signal.SIGALRM, _too_long)
        signal.alarm(max(1, int(self._end + GRACE - start)))
        try:
            row = measure()
        except OutOfTimeError:
            raise
        except Exception as error:
            where = traceback.extract_tb(error.__traceback__)[-1]
            text = " ".join(str(error).split())[:300]
            row = {"failed": f"{type(error).__name__}: {text} ({Path(where.filename).name}:{where.lineno})"}
        finally:
            signal.alarm(0)
        row["case took, s"] = round(time.monotonic() - start, 2)
        self.rows[name] = row
        self.write()
        print(f"{self.part}: {name}: {row}", flush=True)
        if torch.cuda.is_available() and "failed" in row:
            torch.cuda.empty_cache()
        return row if "failed" not in row else None

    @property
    def seconds_left(self) -> float:
        """Until the part's time is over; not below 0."""
        return max(0.0, self._end - time.monotonic())

    @property
    def failed(self) -> list[str]:
        """Cases that failed."""
        return [name for name, row in self.rows.items() if "failed" in row]

    def write(self) -> None:
        """Both files; a row keeps the machine it was measured on."""
        for row in self.rows.values():
            row.setdefault("machine", machine())
        self._path.write_text(json.dumps({"part": self.part, "rows": self.rows}, indent=1) + "\n")
        lines = [f"# {self.part}", ""]
        for place in dict.fromkeys(row["machine"] for row in self.rows.values()):
            own = {name: row for name, row in self.rows.items() if row["machine"] == place}
            columns = list(dict.fromkeys(key for row in own.values() for key in row if key != "machine"))
            lines += [place, "", f"| case | {' | '.join(columns)} |", "|---" * (len(columns) + 1) + "|"]
            for name, row in own.items():
                lines.append(f"| {name} | {' | '.join(_shown(row.get(column, '')) for column in columns)} |")
            lines.append("")
        (self.folder / f"{self.part}.md").write_text("\n".join(lines))


def _too_long(*_: Any) -> None:
    raise TimeoutError("not done when the part's time was over; call the part again, or give it more --minutes")


def _shown(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value).replace("|", "\\|")


def machine() -> str:
    """The device's name and the versions."""
    device = "CPU"
    if torch.cuda.is_available():
        properties = torch.cuda.get_device_properties(0)
        device = f"{properties.name} ({properties.total_memory / 2**30:.0f} GiB), CUDA {torch.version.cuda}"
    versions = f"Python {platform.python_version()}, torch {torch.__version__}, transformers {transformers.__version__}"
    return f"{device}; {versions}"
