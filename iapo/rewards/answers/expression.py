r"""Answers that only algebra can compare: written so that math-verify reads what is meant."""

import re
from dataclasses import dataclass

from iapo.rewards.answers.notation import LONE_LETTER, regrouped
from iapo.rewards.answers.units import NO_UNIT, Unit, read_unit

_APPLICABLE = "arcsin|arccos|arctan|sinh|cosh|tanh|sin|cos|tan|cot|sec|csc|ln|log|exp|gcd|lcm|det|max|min"
_FUNCTIONS = f"{_APPLICABLE}|pi|theta|alpha|beta|gamma|delta|lambda|mu|phi|omega|sigma"
_BARE_FUNCTION = re.compile(rf"(?<![\\A-Za-z])({_FUNCTIONS})(?![A-Za-z])")
_BARE_ROOT = re.compile(r"(?<![\\A-Za-z])sqrt\s*(?=[({])")
_BARE_ROUNDED = {
    f"\\{half}": re.compile(rf"(?<![\\A-Za-z]){name}(?:ing)?\s*(?=\()")
    for half, name in (("lfloor", "floor"), ("lceil", "ceil"))
}
_BARE_ABSOLUTE = re.compile(r"(?<![\\A-Za-z])abs\s*(?=\()")
_COMBINATIONS = re.compile(
    r"(?<![\\A-Za-z])C\s*\(\s*([\dnmkr+-]+)\s*,\s*([\dnmkr+-]+)\s*\)|(?:\{\})?[\^_]\{(\w+)\}\s*C_\{(\w+)\}|(?<![\w\\])(\d+)C(\d+)(?!\w)"
)
_SPELLED = (
    (re.compile(r"(?<![\\A-Za-z])(?:infinity|inf|oo)(?![A-Za-z])", re.IGNORECASE), r"\\infty "),
    (re.compile(r"\{\s*([^{}]+?)\s*\\choose\s*([^{}]+?)\s*\}"), r"\\binom{\1}{\2}"),
    (re.compile(r"^\s*([^{}]+?)\s*\\choose\s+([^{}]+?)\s*$"), r"\\binom{\1}{\2}"),
    (re.compile(r"\\operatorname\{(\w+)\}"), r"\\\1"),
    (re.compile(r"\\lg(?![A-Za-z])"), r"\\log_{10} "),
    (re.compile(r"\\?\bcis\s*(?:\(([^()]*)\)|(\S.*))$"), r"(\\cos(\1\2) + i\\sin(\1\2))"),
    (re.compile(r"\\?\b(sin|cos|tan|cot|sec|csc)\s*\^\{-1\}"), r"\\arc\1"),
    (re.compile(r"(?<![\\A-Za-z])a(sin|cos|tan)(?=h?\s*\()"), r"\\arc\1"),
    (re.compile(r"(?<![\\A-Za-z])log(2|10)\s*(?=\()"), r"\\log_{\1}"),
    (re.compile(r"(?<![\\A-Za-z])cbrt\s*\(([^()]*)\)"), r"\\sqrt[3]{\1}"),
    (re.compile(r"^([-+]?[\d.]+\s*[-+]\s*[\d.]*)j$"), r"\1i"),
    (re.compile(r"(?<=\d)\s*\*\s*(?=[A-Za-z])"), ""),
    (re.compile(r"(?<![\d.,(])(\d{1,3}),(\d{3})(?:,(\d{3}))?(?![\d,)])"), r"\1\2\3"),
)
_FACTORS = re.compile(
    r"(?<=\\pi)\s*(?=\()|(?<=\d)\s*(?=\(|\\binom(?![A-Za-z]))|(?<=\))\s*(?=[(\d]|\\(?:binom|frac)(?![A-Za-z]))"
    r"|(\\binom\{[^{}]*\}\{[^{}]*\})\s*(?=\(|\\(?:binom|frac)(?![A-Za-z]))"
)
"""Between numbers that are multiplied, which math-verify adds, as if they were a mixed number: ``3\\binom{4}{2}``,
``(2)(3)``."""
_TRAILING_UNIT = re.compile(r"(?<=[\d)}\w])\s+([A-Za-z][A-Za-z\s/^{}\d.]*)$|(?<=[\d)}a-z])\s*([°%])$")
_APPLIED = re.compile(rf"\\?(?:{_APPLICABLE})$")
"""A function in front of its letter: ``\\ln t``."""
_UNSPECIFIED = re.compile(
    r"(?:(?:square|sq\.?|cubic|cu\.?)\s+)?units?(?:\s+(?:squared|cubed)|\^\{[23]\})?", re.IGNORECASE
)
_RELATION = re.compile(
    r"\\(?:parallel|perp|triangle|angle|forall|exists|neg|land|lor|oplus|circ|ce|aleph|mathbb|ldots|sim|propto|ll|gg"
    r"|cap|n?mid|notin|(?:sub|sup)set(?:eq)?|mapsto|implies|iff|rightleftharpoons"
    r"|(?:long)?rightarrow|leftrightarrow|Rightarrow|Leftrightarrow)(?![A-Za-z])|\bmod\b|^(?!.*\\begin).*&"
)
"""What is said of figures, sets, statements and reactions, compared as text."""
_REACTION = re.compile(r"[\dA-Za-z_{}\s+()^-]+(?:\\to(?![A-Za-z])|->)[\dA-Za-z_{}\s+()^-]+")
_GRADE = re.compile(r"[A-Z](?:[-+]|\+\+|#)|(?:[A-Z][a-z]?(?:_\{\d+\}|\d+)?)+\s*(?:\^\{\d*[-+]\}|(?:\^\{\d\})?[-+])")
"""A grade (``A-``), a name (``C++``), an ion (``Ca^{2+}``, ``Ca2+``)."""
_COMPOUND = re.compile(
    r"(?=.*\d)(?:[A-Z][a-z]?(?:_\{)?\d*\}?\s*){2,}|#[\dA-Fa-f]{3,8}|0[xX][\dA-Fa-f]+|0[bB][01]+|0[oO][0-7]+"
)
"""A chemical formula, another name of letters and digits, or a number in code."""
_SIGN = re.compile(r"[<>=+*/-]|\\(?:[lg]eq|neq|pm|parallel|perp)")
"""The whole of an answer that says how two things compare, or which operation it is."""
_OTHER_SCRIPT = re.compile(r"[^\W\d_A-Za-z\u0370-\u03ff]")
_RAISED_FIRST = re.compile(r"(?:\{\})?[\^_]")
"""The beginning of an isotope: ``^{14}C``."""
_DOTTED = re.compile(r"(?<![A-Za-z])[A-Za-z]\.[A-Za-z](?![A-Za-z])")
_TRIGONOMETRY = re.compile(r"\b(?:sin|cos|tan|cot|sec|csc|cis)(?![a-z])")
_DEGREES = re.compile(r"(-?\d+(?:\.\d+)?)\s*°")
_WORD = re.compile(r"(?<![\\A-Za-z])[A-Za-z]{2,}(?:'s)?")
_MATHS = re.compile(r"[=+*/^_\d\\<>]")
FUNCTION_NAMES = frozenset(
    f"{_FUNCTIONS}|sqrt|cbrt|abs|asin|acos|atan|floor|ceil|ceiling|infinity|inf|oo|mod".split("|")
)
"""Words that stand in formulas."""
_LONG_WORD = 4
"""Letters from which a run of letters is a word, also beside signs and digits."""
_PRODUCT = re.compile(
    r"(?!(?:am|an|as|at|be|by|do|go|he|hi|if|in|is|it|me|my|no|of|oh|ok|on|or|so|to|up|us|we)\b)[a-z]{2}"
)
"""Two letters that are multiplied, and no word."""


@dataclass(frozen=True)
class Expression:
    """A formula.

    Args:
        formula: LaTeX.
        unit: of measure, behind it.
        parameters: letters of which it is said that they stand for any number.
    """

    formula: str
    unit: Unit = NO_UNIT
    parameters: frozenset[str] = frozenset()


def is_formula(text: str) -> bool:
    r"""Whether a text is a formula: no words in it but a unit, or only short runs of letters beside signs and digits.

    Example:
        >>> is_formula("2ab+c"), is_formula("UK"), is_formula("x-axis"), is_formula("sin(x)"), is_formula("2x meters")
        (True, False, False, True, True)
    """
    text = _unit_apart(text)[0]
    words = [word for word in _WORD.findall(re.sub(r"\\(?:begin|end)\{\w+\}", "", text)) if word not in FUNCTION_NAMES]
    if any(len(word) >= _LONG_WORD for word in words) or _DOTTED.search(text) or _COMPOUND.fullmatch(text):
        return False
    if _RELATION.search(text) or _REACTION.fullmatch(text) or _GRADE.fullmatch(text):
        return False
    if _SIGN.fullmatch(text) or _OTHER_SCRIPT.search(text):
        return False
    if _RAISED_FIRST.match(text) and not _COMBINATIONS.match(text):
        return False
    return not words or _MATHS.search(text) is not None or _PRODUCT.fullmatch(text) is not None


def read_expression(text: str) -> Expression:
    r"""The formula of a text in the notation of `iapo.rewards.answers.notation.plain`.

    Example:
        >>> read_expression("3*sqrt(13)").formula, read_expression(r"288\pi cm^{3}").unit.dimensions
        ('3\\sqrt{13}', frozenset({('length', 3)}))
    """
    if _TRIGONOMETRY.search(text):
        text = _DEGREES.sub(r"{\\frac{\1\\pi}{180}}", text)
    text, unit = _unit_apart(text)
    for pattern, replacement in _SPELLED:
        text = pattern.sub(replacement, text)
    text = _COMBINATIONS.sub(lambda found: "\\binom{{{}}}{{{}}}".format(*filter(None, found.groups())), text)
    text = _FACTORS.sub(lambda found: f"{found[1] or ''} \\cdot ", text)
    text = regrouped(_BARE_ROOT, text, "\\sqrt{", "}")
    for opening, rounded in _BARE_ROUNDED.items():
        text = regrouped(rounded, text, f"{opening} ", f"{opening.replace('l', 'r', 1)} ")
    text = regrouped(_BARE_ABSOLUTE, text, "|", "|")
    return Expression(_BARE_FUNCTION.sub(r"\\\1 ", text).replace("°", "^\\circ").strip(), unit)


def _unit_apart(text: str) -> tuple[str, Unit]:
    """The formula of a text, and the unit behind it."""
    found = _TRAILING_UNIT.search(text)
    if found is None or not _MATHS.search(text[: found.start()]):
        return text, NO_UNIT
    named = (found[1] or found[2]).strip()
    is_letter = len(named) == 1 and named.isalpha()
    if is_letter and (LONE_LETTER.search(text[: found.start()]) or _APPLIED.search(text[: found.start()])):
        return text, NO_UNIT
    if _UNSPECIFIED.fullmatch(named):
        return text[: found.start()], NO_UNIT
    known, rest = read_unit(named)
    return (text[: found.start()], known) if known.dimensions and not rest.strip() else (text, NO_UNIT)
