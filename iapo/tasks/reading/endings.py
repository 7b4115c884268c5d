"""Endings of the names of files, which say how they are read."""

from pathlib import Path

SUFFIXES = (".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".parquet")
"""The endings of the files that can be read; one of `PACKED` may stand behind them."""
PACKED = (".gz", ".bz2", ".xz")
"""The endings of packed files."""


def kind_of(path: Path) -> str:
    """The ending that says how a file is read, without that of a packed one.

    Example:
        >>> kind_of(Path("train.jsonl.gz")), kind_of(Path("x/openai.gsm8k"))
        ('.jsonl', '.gsm8k')
    """
    return (path.with_suffix("") if path.suffix.lower() in PACKED else path).suffix.lower()
