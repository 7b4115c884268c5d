"""The last line of a command: where its results are, and what comes next."""

import sys

from iapo.commands.standard_streams import flush_output


def say_where(command: str, text: str) -> None:
    """Write the line to standard error, behind what is on standard output."""
    flush_output()
    print(f"{command}: {text}", file=sys.stderr)
