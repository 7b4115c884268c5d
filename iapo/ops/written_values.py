"""Values that a table without nesting holds as texts."""

import ast
import io
import json
import math
import tokenize
import warnings
from typing import Any

_PRINTED = ("array", "float16", "float32", "float64", "int8", "int16", "int32", "int64", "str_", "bool_", "Decimal")
"""Names of what is printed as a call around its value, as ``array(['4'], dtype=object)`` and ``np.float64(4.0)``."""


def written_value(text: str, longest: int = 10_000) -> Any:
    """What a text in JSON, or a literal as Python or NumPy prints it, stands for; ``None`` if it is neither.

    NumPy prints no commas: ``['2' 'two']`` and ``[3 -4]`` have two elements here, of which Python would make one text
    and a difference. An array is the list of its elements, and ``nan`` a float.

    Args:
        text: any text.
        longest: characters of a literal of Python that is read; JSON may be as long as it likes.

    Example:
        >>> written_value('{"a": null}'), written_value("['2' 'two']"), written_value("[0, 1)")
        ({'a': None}, ['2', 'two'], None)
        >>> written_value("{'a': array(['2', np.float64(4.0)], dtype=object)}")
        {'a': ['2', 4.0]}
    """
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        pass
    if len(text) > longest:
        return None
    try:
        with warnings.catch_warnings(action="ignore"):  # of backslashes, as in LaTeX
            return ast.literal_eval(_Values().visit(ast.parse(_with_commas(text.strip()), mode="eval")))
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError, tokenize.TokenError):
        return None


def _with_commas(text: str) -> str:
    """The text with commas between the elements of arrays, where NumPy prints spaces or the end of a line."""
    ends = [0]
    for line in io.StringIO(text):
        ends.append(ends[-1] + len(line))
    places, opened, after_value = [], [""], False
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.NL:
            continue
        at = ends[token.start[0] - 1] + token.start[1]
        is_value = token.type in (tokenize.STRING, tokenize.NUMBER, tokenize.NAME)
        is_sign = token.string in ("-", "+") and text[at - 1].isspace() and not text[at + 1 : at + 2].isspace()
        if (is_value or is_sign or token.string in ("[", "{")) and after_value and opened[-1] == "[":
            places.append(at)
        if token.string in ("(", "[", "{"):
            opened.append(token.string)
        elif token.string in (")", "]", "}"):
            opened = opened[:-1] or [""]
        after_value = is_value or token.string in (")", "]", "}")
    parts = [text[start:stop] for start, stop in zip([0, *places], [*places, len(text)], strict=True)]
    return ",".join(parts)


class _Values(ast.NodeTransformer):
    """Makes of a call that is printed around a value the value alone."""

    def visit_Call(self, node: ast.Call) -> ast.AST:
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", None)
        return self.visit(node.args[0]) if name in _PRINTED and node.args else node

    def visit_Name(self, node: ast.Name) -> ast.AST:
        return ast.Constant(math.nan) if node.id == "nan" else node
