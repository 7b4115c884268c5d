"""Values that a table without nesting holds as texts."""

import ast
import json
import warnings
from typing import Any


def written_value(text: str, longest: int = 10_000) -> Any:
    """What a text in JSON, or a literal as Python prints it, stands for; ``None`` if it is neither.

    Args:
        text: any text.
        longest: characters of a literal of Python that is read; JSON may be as long as it likes.

    Example:
        >>> written_value('{"a": null}'), written_value("['2', 'two']"), written_value("[0, 1)")
        ({'a': None}, ['2', 'two'], None)
    """
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        pass
    if len(text) > longest:
        return None
    try:
        with warnings.catch_warnings(action="ignore"):  # of backslashes, as in LaTeX
            return ast.literal_eval(text.strip())
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return None
