"""The last line of a command: where its results are, and what comes next."""

import sys


def say_where(command: str, text: str) -> None:
    """Write the line to standard error, behind what is on standard output."""
    sys.stdout.flush()
    print(f"{command}: {text}", file=sys.stderr)
