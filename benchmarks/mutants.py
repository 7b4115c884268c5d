"""Mutants of Python source: small changes of what code computes, found in its syntax tree, applied to its text.

Not mutated: docstrings, annotations and type aliases, decorators, imports, ``__all__``, the text of messages (format
strings, what is raised, what is warned of), and ``strict=`` of ``zip``, which asserts what holds anyway.
"""

import ast
import builtins
import difflib
import itertools
from collections.abc import Iterator
from dataclasses import dataclass

COMPARISONS = {
    ast.Lt: ("<", ("<=", ">=")),
    ast.LtE: ("<=", ("<", ">")),
    ast.Gt: (">", (">=", "<=")),
    ast.GtE: (">=", (">", "<")),
    ast.Eq: ("==", ("!=",)),
    ast.NotEq: ("!=", ("==",)),
    ast.Is: ("is", ("is not",)),
    ast.IsNot: ("is not", ("is",)),
    ast.In: ("in", ("not in",)),
    ast.NotIn: ("not in", ("in",)),
}
ARITHMETIC = {
    ast.Add: ("+", "-"),
    ast.Sub: ("-", "+"),
    ast.Mult: ("*", "/"),
    ast.Div: ("/", "*"),
    ast.FloorDiv: ("//", "/"),
    ast.Mod: ("%", "*"),
    ast.Pow: ("**", "*"),
    ast.BitAnd: ("&", "|"),
    ast.BitOr: ("|", "&"),
}
OPPOSITES = (("min", "max"), ("minimum", "maximum"), ("amin", "amax"), ("argmin", "argmax"), ("cummin", "cummax"))
OTHER_NAMES = {"any": "all", "all": "any", "sum": "mean", "mean": "sum", "floor": "ceil", "ceil": "floor"}
OTHER_NAMES |= dict(OPPOSITES) | {second: first for first, second in OPPOSITES}
LEFT_OUT = {"abs", "clamp", "cumsum", "detach", "exp", "expm1", "flip", "log", "masked_fill", "sign", "sqrt", "square"}
"""Methods ``x.method(...)`` for which ``x`` alone is a mutant."""


@dataclass(frozen=True)
class Mutant:
    """One change of one file.

    Args:
        module: the file, relative to the repository.
        start: the first byte that is replaced.
        end: the byte behind the last one.
        new: what is put there.
        operator: the kind of change.
    """

    module: str
    start: int
    end: int
    new: str
    operator: str

    def apply(self, source: bytes) -> bytes:
        """The source with the change."""
        return source[: self.start] + self.new.encode() + source[self.end :]

    def lines(self, source: bytes) -> tuple[str, str]:
        """The lines that differ, before and after, stripped and joined: what names the mutant, wherever it moves."""
        texts = source.decode().splitlines(), self.apply(source).decode().splitlines()
        marked = [line for line in difflib.ndiff(*texts) if line[:2] in ("- ", "+ ")]
        before, after = (" ".join(line[2:].strip() for line in marked if line[0] == sign) for sign in "-+")
        return before, after

    def line(self, source: bytes) -> int:
        """The number of the line where it begins."""
        return source[: self.start].count(b"\n") + 1


def mutants_of(module: str, source: bytes) -> list[Mutant]:
    """All mutants of a file, in the order of its text; those that do not compile or change nothing are left out."""
    tree = ast.parse(source)
    found = dict.fromkeys(_Finder(module, source).visit(tree))
    return sorted(
        (each for each in found if _compiles(each.apply(source), tree)), key=lambda each: (each.start, each.new)
    )


def _compiles(mutated: bytes, tree: ast.Module) -> bool:
    try:
        return ast.dump(ast.parse(mutated)) != ast.dump(tree)
    except SyntaxError:
        return False


class _Finder:
    """Walks a syntax tree and yields the mutants of each node."""

    def __init__(self, module: str, source: bytes) -> None:
        self.module, self.source = module, source
        starts = [0]
        for line in source.splitlines(keepends=True):
            starts.append(starts[-1] + len(line))
        self.starts = starts

    def visit(self, node: ast.AST) -> Iterator[Mutant]:
        """The mutants of a node and of all that is in it."""
        if isinstance(node, ast.JoinedStr | ast.Import | ast.ImportFrom) or self._declares(node):
            return
        yield from self.of_node(node)
        for name, value in ast.iter_fields(node):
            if name in ("annotation", "returns", "decorator_list", "type_params"):
                continue
            if isinstance(node, ast.Raise) or (isinstance(node, ast.Expr) and _is_constant(node.value, str)):
                continue
            children = value if isinstance(value, list) else [value]
            for child in children:
                if isinstance(child, ast.AST) and not (isinstance(child, ast.keyword) and child.arg == "strict"):
                    yield from self.visit(child)

    def _declares(self, node: ast.AST) -> bool:
        """Whether nothing is computed in a node: a type, ``__all__``, or a message."""
        if isinstance(node, ast.Assign):
            names = {target.id.strip("_") for target in node.targets if isinstance(target, ast.Name)}
            a_type = node.col_offset == 0 and any(name[:1].isupper() and not name.isupper() for name in names)
            return a_type or "all" in names
        return isinstance(node, ast.Call) and _name(node.func) in ("warn", "cast", "isinstance")

    def of_node(self, node: ast.AST) -> Iterator[Mutant]:
        """The mutants of a node itself."""
        match node:
            case ast.Compare(left=left, ops=ops, comparators=others):
                operands = [left, *others]
                for index, op in enumerate(ops):
                    old, news = COMPARISONS[type(op)]
                    for new in news:
                        yield from self._between(operands[index], operands[index + 1], old, new, "comparison")
                for operand in operands:
                    yield from self._text(operand)
            case ast.BinOp(left=left, op=op, right=right) if type(op) in ARITHMETIC:
                yield from self._between(left, right, *ARITHMETIC[type(op)], "arithmetic")
            case ast.AugAssign(target=target, op=op, value=value):
                if type(op) in ARITHMETIC:
                    old, new = ARITHMETIC[type(op)]
                    yield from self._between(target, value, f"{old}=", f"{new}=", "arithmetic")
                yield self._replaced(node, "pass", "statement")
            case ast.BoolOp(op=op, values=values):
                old, new = ("and", "or") if isinstance(op, ast.And) else ("or", "and")
                for left, right in itertools.pairwise(values):
                    yield from self._between(left, right, old, new, "boolean")
            case ast.UnaryOp(op=ast.Not() | ast.Invert() | ast.USub(), operand=operand):
                if not _is_constant(operand, (int, float)):
                    yield self._replaced(node, self._text_of(operand), "boolean")
            case ast.Constant(value=bool() as value):
                yield self._replaced(node, str(not value), "boolean")
            case ast.Constant(value=int() as value):
                yield self._replaced(node, str(value - 1 if value else 1), "number")
            case ast.Constant(value=float() as value):
                yield self._replaced(node, repr(2 * value or 1.0), "number")
            case ast.If(test=test) | ast.IfExp(test=test) | ast.While(test=test):
                yield from self._negated(test)
            case ast.comprehension(ifs=ifs):
                for test in ifs:
                    yield from self._negated(test)
            case ast.Expr(value=ast.Call()) | ast.Raise():
                yield self._replaced(node, "pass", "statement")
            case ast.Continue():
                yield self._replaced(node, "break", "statement")
            case ast.Break():
                yield self._replaced(node, "continue", "statement")
            case ast.Dict(keys=keys):
                for key in keys:
                    yield from self._text(key)
            case ast.Subscript(slice=key):
                yield from self._text(key)
            case ast.Call():
                yield from self._called(node)

    def _called(self, node: ast.Call) -> Iterator[Mutant]:
        """Another function, another bound, or a method left out."""
        name, (_, end) = _name(node.func), self._span(node.func)
        if name in OTHER_NAMES and (isinstance(node.func, ast.Attribute) or hasattr(builtins, OTHER_NAMES[name])):
            yield Mutant(self.module, end - len(name), end, OTHER_NAMES[name], "call")
        if (
            name in LEFT_OUT
            and isinstance(node.func, ast.Attribute)
            and _name(node.func.value) not in ("torch", "math")
        ):
            yield self._replaced(node, self._text_of(node.func.value), "call")
        for keyword in node.keywords:
            if keyword.arg in ("min", "max"):
                start, _ = self._span(keyword)
                yield Mutant(self.module, start, start + 3, OTHER_NAMES[keyword.arg], "call")

    def _negated(self, test: ast.expr) -> Iterator[Mutant]:
        """A condition turned around; those that are comparisons or joined have mutants of their own."""
        if not isinstance(test, ast.Compare | ast.BoolOp | ast.UnaryOp):
            yield self._replaced(test, f"(not {self._text_of(test)})", "boolean")

    def _text(self, node: ast.AST | None) -> Iterator[Mutant]:
        """Another text, where one is compared or a key."""
        if _is_constant(node, str):
            yield self._replaced(node, f'"{node.value}X"', "text")

    def _between(self, left: ast.AST, right: ast.AST, old: str, new: str, operator: str) -> Iterator[Mutant]:
        """An operator replaced: it is the first of its text between two operands."""
        start, stop = self._span(left)[1], self._span(right)[0]
        at = self.source.find(old.encode(), start, stop)
        if at >= 0:
            yield Mutant(self.module, at, at + len(old), new, operator)

    def _replaced(self, node: ast.AST, new: str, operator: str) -> Mutant:
        return Mutant(self.module, *self._span(node), new, operator)

    def _span(self, node: ast.AST) -> tuple[int, int]:
        return self.starts[node.lineno - 1] + node.col_offset, self.starts[node.end_lineno - 1] + node.end_col_offset

    def _text_of(self, node: ast.AST) -> str:
        """An expression's text, in brackets where its parts could be read together with what is around it."""
        start, end = self._span(node)
        text = self.source[start:end].decode()
        return text if isinstance(node, ast.Name | ast.Attribute | ast.Call | ast.Subscript) else f"({text})"


def _is_constant(node: ast.AST | None, kinds: type | tuple[type, ...]) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, kinds)


def _name(function: ast.AST) -> str:
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
