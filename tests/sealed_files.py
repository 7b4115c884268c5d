"""Files that know whether they are what was written, with other entries."""

from pathlib import Path
from typing import Any

from iapo.ops.json_files import read_sealed, write_sealed


def rewrite(path: Path, **entries: Any) -> None:
    """Write a sealed file anew with these entries in place of its own."""
    write_sealed(path, {**read_sealed(path), **entries})
