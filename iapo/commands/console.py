"""Styled text on standard output."""

from rich.console import Console


class OutputConsole(Console):
    """A console of rich that raises where nobody reads it, as ``print`` does: rich alone would exit with code 1."""

    def on_broken_pipe(self) -> None:
        """Leave it to the command, which then ends as one whose output was read."""
        raise BrokenPipeError
