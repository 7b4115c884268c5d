r"""One notation for what is written in LaTeX, in Unicode or on a keyboard: string work that never raises.

The notation is LaTeX without its dress: no spacing commands, no ``\left``, no ``\text{}``, no marks of Markdown or
HTML, arguments in braces (``\frac12`` is ``\frac{1}{2}``), ``*`` for a product, ``°`` for degrees, ``≈`` for about
equal, a bar over digits that repeat (``0.1666...`` is ``0.1\overline{6}``).
"""

import re

from iapo.rewards.answers.markup import without_markup
from iapo.rewards.answers.vectors import column

_SYMBOLS = str.maketrans(
    {
        "∶": ":",
        **dict.fromkeys("×·∙⋅•✕", "*"),
        **dict.fromkeys("≃≅", "≈"),
        **dict.fromkeys("∘º", "°"),
        **dict.fromkeys("“”„″", '"'),
        **dict.fromkeys("’‘‛`´′", "'"),
        "÷": "/",
        "√": "\\sqrt ",
        "∛": "\\sqrt[3] ",
        "∜": "\\sqrt[4] ",
        "∞": "\\infty ",
        "∅": "\\emptyset ",
        "π": "\\pi ",
        "θ": "\\theta ",
        "α": "\\alpha ",
        "β": "\\beta ",
        "γ": "\\gamma ",
        "δ": "\\delta ",
        "ε": "\\epsilon ",
        "λ": "\\lambda ",
        "ρ": "\\rho ",
        "σ": "\\sigma ",
        "τ": "\\tau ",
        "ω": "\\omega ",
        "Θ": "\\Theta ",
        "≤": "\\leq ",
        "≥": "\\geq ",
        "≠": "\\neq ",
        "±": "\\pm ",
        "∪": "\\cup ",
        "∩": "\\cap ",
        "∈": "\\in ",
        "⊂": "\\subset ",
        "⊆": "\\subseteq ",
        "∖": "\\setminus ",
        "⟨": "(",
        "⟩": ")",
        "∀": "\\forall ",
        "∃": "\\exists ",
        "¬": "\\neg ",
        "∧": "\\land ",
        "∨": "\\lor ",
        "∥": "\\parallel ",
        "⊥": "\\perp ",
        "∠": "\\angle ",
        "△": "\\triangle ",
        "⌊": "\\lfloor ",
        "⌋": "\\rfloor ",
        "⌈": "\\lceil ",
        "⌉": "\\rceil ",
        "≡": "=",
        "→": "\\rightarrow ",
    }
)
_INLINE_MATH = (
    re.compile(r"^\s*(?<!\\)\$([^$]+)(?<!\\)\$\s*$"),
    re.compile(r"(?<!\\)\$\$(.+?)(?<!\\)\$\$"),
    re.compile(r"(?<!\\)\$(?=[^\s$])((?:\\\$|[^$])*?[^\s\\$])\$(?!\d)"),  # not "$5 and $6"
    re.compile(r"\\\((.+?)\\\)"),
    re.compile(r"\\\[(.+?)\\\]"),
)
_SPACES = re.compile(r"(\\\\)|\\!\s*|\\[,;: ]|\\(?:quad|qquad|enspace|thinspace|medspace)(?![A-Za-z])|~")
_COLUMNS = re.compile(r"(=[^=,;]*?)\s*\\q?quad\s*(?=[A-Za-z]\s*=)|(=\s*[-+]?[\d.]+)\s+(?=[A-Za-z]\s*=)")
"""Between two equations without a separator, as of two columns or two lines."""
_SYSTEM = re.compile(
    r"(?:\\left\s*\\\{\s*)?\\begin\{(cases|aligned|gathered|array|(?:align|gather|equation)\*?)\}(?:\{l\})?"
    r"((?:[^&]|&(?=\s*=))*?)(?:\\\\\s*)?\\end\{\1\}(?:\s*\\right\s*\.)?"
)
_FONT = re.compile(
    r"\\(?:ce|text|textbf|textit|textrm|textnormal|textsf|texttt|mathrm|mathbf|mathcal|mathscr|mathfrak|mathit|mathsf|boldsymbol|bm|mbox|hbox|emph|"
    r"underline|(?:(?:text)?color|colorbox)\s*\{[^{}]*\})\s*(?=\{)"
)
_REWRITTEN = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"\\(?:text)?color\s*\{[^{}]*\}", ""),
        (r"\\(?:left|right)\s*\.(?!\d)", ""),
        (r"\\(?:left|right|[bB]igg?[lr]?|displaystyle|textstyle|limits)(?![A-Za-z])", ""),
        (r"\\(?:bf|rm|it|sf|tt|tiny|(?:script|footnote|normal)size|small|[lL]arge|LARGE|[hH]uge)(?![A-Za-z])", ""),
        (r"\\mathbb\s*\{?\s*R\s*\}?\s*(?:\^\s*\{?\s*\+\s*\}?|_\s*\{?\s*(?:\+|>\s*0)\s*\}?)", r"(0,\\infty)"),
        (r"\\mathbb\s*\{?\s*R\s*\}?", r"(-\\infty,\\infty)"),
        (
            r"\\(?:wide)?(?:hat|vec|bar)\s*\{?\s*\\?([ij])(?:math)?\s*\}?(?![A-Za-z])|\\(?:hat|vec)\s*\{?\s*(k)\s*\}?(?![A-Za-z])",
            r"\1\2",
        ),
        (r"\\(?:vec|overrightarrow)\s*\{?\s*([A-Z]{2}|[A-Za-z])\s*\}?(?![A-Za-z])", r"\1"),
        (r"(?<!\d)μ(?=\s*(?:$|[=<>+*/,)^-]))", r"\\mu "),
        (r"\\var(?=(?:epsilon|phi|theta)(?![A-Za-z]))", r"\\"),
        (r"\\(max|min|gcd)\s*\\\{([^{}]*)\\\}", r"\\\1(\2)"),
        (r"(?<=[\])])\s*U\s*(?=[\[(])", r" \\cup "),
        (r"\\l(?:angle|brack)(?![A-Za-z])", "("),
        (r"\\r(?:angle|brack)(?![A-Za-z])", ")"),
        (r"^\s*<([^<>=]*,[^<>=]*)>\s*$", r"(\1)"),
        (r"\\overline\s*\{\s*([A-Z]{2})\s*\}", r"\1"),
        (r"(?<![\w\\])(d(?:\^\{?2\}?)?[a-z]?)/(d[a-z](?:\^\{?2\}?)?)(?!\w)", r"\\frac{\1}{\2}"),
        (r"\+\s*/\s*-|(?:(?<==)|^)\s*\+-|\+-(?=\s)|\bplus\s+or\s+minus\b", r"\\pm "),
        (r"(?<=[A-Z])\s*(?:\|\||//|\bis\s+parallel\s+to\b)\s*(?=[A-Z])", r" \\parallel "),
        (r"(?<=[A-Z])\s+is\s+perpendicular\s+to\s+(?=[A-Z])", r" \\perp "),
        (r"(?<![\\A-Za-z])sqrt\s*(?=\d)", r"\\sqrt"),
        (r"\\lbrace(?![A-Za-z])", r"\\{"),
        (r"\\rbrace(?![A-Za-z])", r"\\}"),
        (r"\{,\}", ","),
        (r"\\[dtc]frac(?![A-Za-z])", r"\\frac"),
        (r"\\[dt]binom(?![A-Za-z])", r"\\binom"),
        (r"\\(begin|end)\{smallmatrix\}", r"\\\1{pmatrix}"),
        (r"^(?:(?:np|numpy|torch|sympy)\.)?(?:list|array|tensor|Matrix)\((\[.*\])\)$", r"\1"),
        (r"^set\(\[(.*)\]\)$", r"\\{\1\\}"),
        (r"\\colon(?![A-Za-z])", ":"),
        (r"\\choose(?![A-Za-z])", r"\\choose "),
        (r"\\([%$#&])", r"\1"),
        (r"\\(?:times|cdot|ast)(?![A-Za-z])\s*", "*"),
        (r"(?<=[\w)}])\s*\*\*\s*(?=[-\w({\\])", "^"),
        (r"\\div(?![A-Za-z])", "/"),
        (r"\\(?:approx|simeq|cong)(?![A-Za-z])", "≈"),
        (r"==+|\\equiv(?![A-Za-z])", "="),
        (r"\s*(?:\(\s*\\?mod\s+(\d+)\s*\)|\\p?mod\s*\{?\s*(\d+)\s*\}?|\\?\bb?mod\s+(\d+))", r" mod \1\2\3"),
        (r"\\wedge(?![A-Za-z])", r"\\land "),
        (r"\\vee(?![A-Za-z])", r"\\lor "),
        (r"\\lnot(?![A-Za-z])", r"\\neg "),
        (r"(?<![\w.])(\d+)\s+choose\s+(\d+)(?![\w.])", r"\\binom{\1}{\2}"),
        (r"(?<=\d)\s+factorial\b", "!"),
        (r"(?<=\d)\s*([kM]?)\s*(?:\\Omega(?![A-Za-z])|Ω)", r" \1Ω"),
        (r"(?<=\d)\s*\^\s*\{?o\}?(?![A-Za-z])", "°"),
        (r"(?<=[\d}])\s*\\mu\s*([CFmsgAVWLH])\s*$", r" μ\1"),
        (r"\\textdollar(?![A-Za-z])\s*", "$"),
        (r"(?<=\d)\s*\^\s*\{\s*(st|nd|rd|th)\s*\}", r"\1"),
        (r"(?<=[A-Za-z])\s+(?=[_^])", ""),
        (r"Δ(?=\s?[A-Z]{3}\b)", r"\\triangle "),
        (r"(?<![#\w])#(?=\d)", ""),
        (r"(?<![\d.])(\d*\.\d{0,12}?)(\d{1,12}?)\2{1,40}\s*(?:\.{3,}|…|\\[lc]?dots(?![A-Za-z]))", r"\1\\overline{\2}"),
        (r"(?<=,)\s*\.{3}|\\[cd]?dots(?![A-Za-z])", r" \\ldots "),
        (r"(?<![\w.)])(0?\.\d{0,12})\((\d{1,12})\)", r"\1\\overline{\2}"),
        (r"(\.\d{0,12})\\bar\s*\{?\s*(\d{1,12})\s*\}?", r"\1\\overline{\2}"),
        (r"(?<!\d)(\d{0,12}\.)(\d)\2{0,11}\s*,?\s*\(?(?:repeating|recurring)\b\)?", r"\1\\overline{\2}"),
        (r"(\.\d{0,12})\\dot\s*\{?(\d)\}?(?:(\d{0,12})\\dot\s*\{?(\d)\}?)?", r"\1\\overline{\2\3\4}"),
        (r"\\(?:le|leq|leqslant|leqq)(?![A-Za-z])|<=", r"\\leq "),
        (r"\\(?:ge|geq|geqslant|geqq)(?![A-Za-z])|>=", r"\\geq "),
        (r"\\(?:ne|neq)(?![A-Za-z])|!=|<>", r"\\neq "),
        (r"\\lt(?![A-Za-z])", "<"),
        (r"\\gt(?![A-Za-z])", ">"),
        (r"\\(?:varnothing|O(?![A-Za-z]))", r"\\emptyset "),
        (r"\s*(?:\^\s*(?:\\circ|\{\s*\\circ\s*\}|°)|\\degree(?![A-Za-z]))", "°"),
        (r"°\s*(\d+)\s*'\s*(\d+(?:\.\d+)?)\s*(?:''|\")", r"° \1 arcmin \2 arcsec"),
        (r"°\s*(\d+(?:\.\d+)?)\s*'(?!')", r"° \1 arcmin"),
        (r"(?<![\w.])(\d+)\s*'\s*(\d+(?:\.\d+)?)\s*(?:''|\")", r"\1 ft \2 in"),
        (r"(?<=\d)_(?=\d{3}(?!\d))", ","),
        (r"(?<![\d./,])(\d+)\s+and\s+(?:an?|one)[\s-]+half\b", r"\1 1/2"),
        (r"(?<![\d./,])(\d+)\s+and\s+(?:an?|one)[\s-]+quarter\b", r"\1 1/4"),
        (r"(?<![\d./,])(\d+)\s+and\s+three[\s-]+quarters\b", r"\1 3/4"),
        (r"\b(?:negative|minus)\s+infinity\b", r"-\\infty "),
        (r"\b(?:positive|plus)\s+infinity\b", r"\\infty "),
        (r"([$€£]\s?[\d.,]+)\s?m(?!\w)", r"\1 million"),
        (r"\bU\.?S\.?\s+(?=dollars?\b)", ""),
        (r"(?<![\w.])(\d+)\s?h(?:rs?|ours?)?\s?(\d+)\s?m(?:ins?|inutes?)?(?![\w/^])", r"\1 hours \2 minutes"),
        (r"(?<=[\d}])\s*(J|N|kg|A|V|W|Pa)\s+([mhs])(?![\w^/])", r" \1*\2"),
        (r"(10\^\{-?\d+\}|\de-\d+)\s*C$", r"\1 coulomb"),
        (r"(?<=[A-Za-z])/\(\s*([A-Za-z]+)\s*\*\s*([A-Za-z]+)\s*\)$", r"/\1/\2"),
        (r"\\pounds(?![A-Za-z])", "£"),
        (r"\\euro(?![A-Za-z])", "€"),
    )
)
_UNIT_FRACTION = re.compile(r"(?<=\d)\s*\\frac\{([A-Za-z]+)\}\{([A-Za-z]+(?:\^\{\d\})?)\}$")
"""A quotient of units behind a number: ``12 \\frac{m}{s}``."""
_LINE_END = re.compile(r"[\s\\]+$")
_COMMAND = re.compile(r"\\frac(?![A-Za-z])|\\binom(?![A-Za-z])|\\sqrt(?![A-Za-z])(?:\s*\[[^\[\]]*\])?|[\^_]")
_TOKEN = re.compile(r"\\[A-Za-z]+|[^\s{}]")
_NUMBER = re.compile(r"-?(?:\d+(?:\.\d+)?|\.\d+)")
_ROWS = re.compile(r"\[\s*(\[[^\[\]]*\](?:\s*,\s*\[[^\[\]]*\])+)\s*\]")
_ROW = r"\s*-?[\w./]+(?:(?:\s*,\s*|\s+)-?[\w./]+)+\s*"
_DIVIDED_ROWS = re.compile(rf"\[({_ROW}(?:;{_ROW})+)\]")
_MOST_COMMANDS = 100
LONE_LETTER = re.compile(r"(?<![\\A-Za-z])[A-Za-z](?![A-Za-z])")
"""A letter that is a variable: of no word and no command."""


def plain(text: str) -> str:
    r"""The text in the one notation, with single spaces.

    Args:
        text: as `iapo.rewards.text.normalize` leaves it.

    Example:
        >>> plain(r"$\left(1\,072,\ \dfrac12\right)$"), plain("3√13 ≤ 2**10"), plain(r"5\text{ km}")
        ('(1 072, \\frac{1}{2})', '3\\sqrt{13} \\leq 2^{10}', '5 km')
    """
    text = without_markup(text)
    for pattern in _INLINE_MATH:
        text = pattern.sub(r" \1 ", text)
    text = _SYSTEM.sub(lambda system: re.sub(r"\s*,?\s*\\\\", ", ", system[2].replace("&", "")), text)
    text = _COLUMNS.sub(lambda equation: f"{equation[1] or equation[2]}, ", text)
    text = _SPACES.sub(lambda found: found[1] or ("" if found[0].startswith("\\!") else " "), text.translate(_SYMBOLS))
    text = regrouped(_FONT, text, " ", " ")
    for pattern, replacement in _REWRITTEN:
        text = pattern.sub(replacement, text)
    return _matrix(" ".join(_UNIT_FRACTION.sub(r" \1/\2", _LINE_END.sub("", _braced(text))).split()))


def group_end(text: str, start: int, pair: str = "{}") -> int | None:
    """Where the bracket that opens at ``start`` is closed (behind it); ``None`` if it is not.

    Example:
        >>> group_end("{1{2}}3", 0), group_end("((1)", 0, "()")
        (6, None)
    """
    depth = 0
    for bracket in re.compile(f"[{re.escape(pair)}]").finditer(text, start):
        depth += 1 if bracket[0] == pair[0] else -1
        if depth == 0:
            return bracket.end()
    return None


def regrouped(command: re.Pattern[str], text: str, opening: str, closing: str) -> str:
    """The text with what stands in brackets behind a command between ``opening`` and ``closing``, without the command.

    Example:
        >>> regrouped(re.compile("sqrt(?=[({])"), "sqrt(1+sqrt{2})", "<", ">")
        '<1+<2>>'
    """
    for found in reversed(list(command.finditer(text))[:_MOST_COMMANDS]):
        end = group_end(text, found.end(), "()" if text[found.end()] == "(" else "{}")
        if end is not None:
            text = text[: found.start()] + opening + text[found.end() + 1 : end - 1] + closing + text[end:]
    return text


def _matrix(text: str) -> str:
    """The text as a matrix in LaTeX if it is a list of lists of one length, or rows between semicolons."""
    if (nested := _ROWS.fullmatch(text)) is not None:
        rows = [row.split(",") for row in re.findall(r"\[([^\[\]]*)\]", nested[1])]
    elif (divided := _DIVIDED_ROWS.fullmatch(text)) is not None:
        rows = [row.replace(",", " ").split() for row in divided[1].split(";")]
    else:
        return text
    if len({len(row) for row in rows}) > 1:
        return text
    return column(" & ".join(map(str.strip, row)) for row in rows)


def _braced(text: str) -> str:
    commands = list(_COMMAND.finditer(text))
    for command in reversed(commands if len(commands) <= _MOST_COMMANDS else []):
        end, arguments = command.end(), ""
        for _ in range(2 if command[0] in ("\\frac", "\\binom") else 1):
            start = end + len(text[end:]) - len(text[end:].lstrip())
            found = _argument(text, start, command[0])
            if found is None:
                break
            content, end = found
            arguments += f"{{{content}}}"
        text = text[: command.end()] + arguments + text[end:]
    return text


def _argument(text: str, start: int, command: str) -> tuple[str, int] | None:
    """What a command takes: a group, else as many digits as people mean, else one token."""
    if text[start : start + 1] == "{":
        end = group_end(text, start)
        return None if end is None else (text[start + 1 : end - 1].strip(), end)
    if command.startswith(("\\sqrt", "^", "_")) and text[start : start + 1] == "(":
        end = group_end(text, start, "()")
        return None if end is None else (text[start + 1 : end - 1].strip(), end)
    whole = command[0] in "^_" or command.startswith("\\sqrt")
    token = (whole and _NUMBER.match(text, start)) or _TOKEN.match(text, start)
    return (token[0], token.end()) if token else None
