"""Reading the one quantity of an answer: its number, and what the words around it make of it.

A sign, a scale, a multiple (``twice``) and a unit in words are read. A bound (``more than 5``) is one side of the
number line. What denies (``not 5``) or doubts (``nearly 5``) is no quantity. Any other word is what a sentence needs
around a number.
"""

import re
from dataclasses import dataclass, replace
from fractions import Fraction

from iapo.rewards.answers.numerals import Number, find_numbers, words_value
from iapo.rewards.answers.quantity import Quantity
from iapo.rewards.answers.senses import rates_of, senses_of
from iapo.rewards.answers.units import Unit, read_unit

_NEVER = (
    r"not|no|never|neither|nor|none|without|except|cannot|\w+n't|unlike|or(?!\s+so\b)|either|if|unless|rather|instead|"
    r"but|besides|anything|other|upwards|negative|nearly|almost|close|barely|hardly|nowhere|between|minus|plus|divided|"
    r"multiplied|(?:a|arc)?(?:sin|cos|tan)h?|cot|sec|csc|log|ln|exp|sqrt|cbrt|pi|mod|modulo|gcd|lcm|root|infinity|infinite|undefined|nan|"
    r"false|true|unknown|impossible|wrong|incorrect|opposite|reciprocal|inverse|factorial|power|base|approaching|shy|"
    r"twice|double|triple|thrice|quadruple|half|nicht|kein\w*|pas|jamais|nunca|não|не|нет"
)
"""Words around a number that make it another number, or none."""

_NEVER_BEFORE = (
    rf"{_NEVER}|least|most|minimum|maximum|difference|product|square|cube|third|quarter|fraction|multiple|factor|divisor|"
    r"times|by|from|within|towards?|outside|short|past|off|nearest|before|after|until|till"
)
"""These do so in front of a number."""

_SYMBOL = r"(?<![^\W\d_])(?<!')(?![aAiIsS]\b)[A-Za-z](?![^\W\d_]|')"
_LONE_SYMBOL = r"^\s*/\s*[A-Za-z](?![A-Za-z])|^\s*[ai]\s*$"
"""Behind a number, what would be an article or a pronoun in a sentence: ``1/a``, ``2 i``."""
_STRANGE = r"[^\w\s,.;:'\"()?/\u064b-\u065f\u0900-\u0dff\u0e00-\u0eff-]|[\d_\u0370-\u03ff不非没無无]"
"""Signs, Greek letters, which are symbols, and the characters that deny; letters of other scripts are words, with
the marks that some write vowels as."""
_HARMFUL = re.compile(rf"\b(?:{_NEVER}|ish)\b|{_SYMBOL}|{_LONE_SYMBOL}|{_STRANGE}", re.IGNORECASE)
_HARMFUL_BEFORE = re.compile(rf"\b(?:{_NEVER_BEFORE})\b|{_SYMBOL}|-\s*\(|\b(?:and|as)\s*$|{_STRANGE}", re.IGNORECASE)
_APPLIED = re.compile(r"[A-Za-z]\(\s*[-+]?\s*$")
"""A function in front of its number: ``floor(3.7)``."""
_AT_LEAST = r"(?:no|not)\s+(?:less|fewer)\s+than|(?:greater|more)\s+than\s+or\s+equal\s+to"
_AT_MOST = r"(?:no|not)\s+(?:more|greater)\s+than|(?:less|fewer)\s+than\s+or\s+equal\s+to"
_BOUNDS = (
    (">=", rf"{_AT_LEAST}|at\s+least|\bmin(?:imum)?(?:\s+of)?|\\geq"),
    ("<=", rf"{_AT_MOST}|at\s+most|up\s+to|\bmax(?:imum)?(?:\s+of)?|\\leq"),
    (">", r"(?:more|greater|larger|bigger|higher|longer)\s+than|\bover|\babove|exceed(?:s|ing)|\bbeyond|>"),
    ("<", r"(?:less|fewer|smaller|lower|shorter)\s+than|\bunder|\bbelow|<"),
)
_BOUNDS_BEFORE = tuple((relation, re.compile(rf"(?:{words})\s*$", re.IGNORECASE)) for relation, words in _BOUNDS)
_BOUNDS_AFTER = (
    (">=", r"at\s+(?:the\s+)?(?:least|minimum)\b|minimum\b|or\s+(?:more|greater|above|higher|larger|over)\b"),
    (">=", r"and\s+(?:above|up|over|more)\b|(?<!.)\+(?=$|\s+[A-Za-z])"),
    ("<=", r"at\s+(?:the\s+)?(?:most|maximum)\b|max(?:imum)?\b|or\s+(?:less|fewer|below|lower|smaller|under)\b"),
    ("<=", r"and\s+(?:below|under)\b"),
)
_BOUNDS_BEHIND = tuple((relation, re.compile(words, re.IGNORECASE)) for relation, words in _BOUNDS_AFTER)
_BEFORE = re.compile(
    r"(?P<lead>.*?)(?P<sign>[-+]|\b(?:minus|negative|positive|neg)\b\.?)?\s*"
    r"(?:(?P<currency>(?:US)?\$|[€£¥₹]|\b(?:USD|EUR|GBP|INR|JPY|Rs)\b\.?)\s*(?P<inner>[-+])?\s*)?",
    re.IGNORECASE,
)
_OPERATOR = re.compile(r"[^\s(:=,;]$|(?:[\d)}]|\b[A-Za-z])\s*$")
"""The end of what stands before a sign that is an operator, as in ``x - 5`` and ``10-12``."""

_MULTIPLE = re.compile(r"\b(twice|double|triple|thrice|quadruple)(?:\s+of)?\s*$", re.IGNORECASE)
_MULTIPLES = {"twice": 2, "double": 2, "triple": 3, "thrice": 3, "quadruple": 4}
_OUT_OF = re.compile(r"[\w,-]+\s+(?:out\s+of|in)\s+(?:every\s+)?[\w,-]+", re.IGNORECASE)
"""A chance or a share: ``2 out of 5``, ``one in three``."""
_OF_ONE = re.compile(r"^\s+(?:of\s+)?an?\s+(?=[a-z])")
"""Between a fraction and its unit: ``half an hour``."""
_POWER = re.compile(r"\s*(squared|cubed)\b", re.IGNORECASE)
_ORDINAL = re.compile(r"(?:st|nd|rd|th)\b")
_PERCENT = re.compile(r"\s*(?:%|\bper\s?cent\b|\bpct\b)", re.IGNORECASE)
_BASE = re.compile(r"\s*_\{\s*(\d+)\s*\}")
_SAID_BASE = re.compile(
    r"\s*,?\s*\(?\s*(?:in\s+)?\bbase[\s-]+(?P<said>\w+)\s*\)?|_\{\s*(?P<written>[a-z]+)\s*\}", re.IGNORECASE
)
_DIGIT = r"(?:zero|oh|one|two|three|four|five|six|seven|eight|nine)"
_SPOKEN_POINT = re.compile(rf"\b([\w-]+)\s+point((?:\s+{_DIGIT})+)\b", re.IGNORECASE)
"""A decimal number as it is spoken: ``three point one four``."""
_AND_A_PART = re.compile(r"\b([a-z]+|\d+)\s+([a-z]+)\s+and\s+(?:an?|one)[\s-]+(half|quarter)$", re.IGNORECASE)
"""``an hour and a half``."""
_BELOW_ZERO = re.compile(r"\bbelow\s+(?:zero\b|0(?![\d.,])|freezing\b|sea\s+level\b)", re.IGNORECASE)
_OPEN_SIGN = re.compile(r"\b(?:loss|los[te]|debt|deficit|decreased?|drop(?:ped)?|fell|declined?|owes?)\b", re.I)
_WHEN = re.compile(
    r"(?:in|after|for|over|within|during|with|at|every)\s+(?:the\s+)?(?:(?:first|last|next|all)\s+)?", re.IGNORECASE
)
_CLAUSE = re.compile(
    r"(?:\s+[A-Za-z]+){1,2},?(?:\s+(?!and\b|or\b|plus\b|minus\b|times\b|to\b)[A-Za-z']+){2,8}\s*\$?", re.IGNORECASE
)
"""Between the number of a circumstance and that of an answer: ``In 3 days Tom reads 45 pages``."""
_CHANGES_BY = re.compile(
    r"\b(?:(?:in|de)creas(?:es?|ed)|(?:rises?|rose|falls?|fell|drops?|dropped)|is\s+off)\s+by\s*$", re.I
)
_REMARK = re.compile(r"\s+\((?P<said>(?=\D*\d)[^()]*)\)")
"""In brackets behind an amount, what its parts are or where it is from: ``17 (5 red and 12 green)``."""
_NO_REMARK = re.compile(
    rf"\b(?:{_NEVER}|maybe|perhaps|possibly|probably|actually|least|most|more|less|fewer|over|under|remainder|x|to|\w+cluding)\b"
    rf"|{_SYMBOL}|[=<>\\_]",
    re.IGNORECASE,
)
"""What makes it another amount, or a formula."""
_WORD = re.compile(r"[^\W\d_]{2,}")
_JOINED = re.compile(r"(?:\s*,)?(?:\s+and)?\s*$")


@dataclass(frozen=True)
class Bounded:
    """A quantity that words make a bound: all that is on one side of it.

    Args:
        relation: ``<``, ``<=``, ``>`` or ``>=``.
        bound: what it is compared with.
    """

    relation: str
    bound: Quantity


def read_quantity(text: str) -> Quantity | Bounded | None:
    """The one quantity of a text; ``None`` if there is none or more than one, or if the words deny or doubt it.

    Args:
        text: in the notation of `iapo.rewards.answers.notation.plain`.

    Example:
        >>> read_quantity("a total of minus five").value, read_quantity("half of 5").value, read_quantity("not 5")
        (Fraction(-5, 1), Fraction(5, 2), None)
    """
    below = _BELOW_ZERO.search(text)
    if below is not None:
        text = text[: below.start()] + text[below.end() :]
    text = _SPOKEN_POINT.sub(_decimal_in_digits, text)
    text = _SAID_BASE.sub(_base_in_digits, text)
    text = _without_remark(_AND_A_PART.sub(_mixed, text))
    numbers = find_numbers(text)
    if len(numbers) == 2 and _OUT_OF.fullmatch(text) and numbers[0].value <= numbers[1].value != 0:
        return Quantity(numbers[0].value / numbers[1].value)
    factor = Fraction(-1 if below else 1)
    if len(numbers) == 2 and numbers[0].value == numbers[1].value:
        between, behind = text[numbers[0].end : numbers[1].start].rstrip(), text[numbers[1].end :].lstrip()
        if re.fullmatch(r"\s+\(", between) and behind.startswith(")"):  # "9 (nine)", not "3(3)"
            text, numbers = text[: numbers[0].end] + behind[1:], numbers[:1]
    if len(numbers) == 2 and _WHEN.fullmatch(text[: numbers[0].start]):
        when, answer = numbers
        if _CLAUSE.fullmatch(text[when.end : answer.start]):
            text = text[when.end :]
            numbers = find_numbers(text)
    if len(numbers) == 2 and 0 < numbers[0].value < 1:
        share, whole = numbers
        if re.fullmatch(r"\s*of\s+(?:the\s+)?\$?", text[share.end : whole.start]):
            factor *= share.value
            text, numbers = (
                text[: share.start] + text[whole.start :],
                find_numbers(text[: share.start] + text[whole.start :]),
            )
    if len(numbers) != 1:
        return None
    found = _between(text[: numbers[0].start], numbers[0], text[numbers[0].end :])
    if isinstance(found, Quantity):
        found = replace(found, senses=senses_of(text) | (rates_of(text) if found.percent else frozenset()))
    if found is None or factor == 1:
        return found
    if isinstance(found, Bounded):
        return None
    return replace(found, value=found.value * factor, places=0)


def read_compound(text: str) -> Quantity | None:
    """An amount in several units of one dimension, from large to small; ``None`` if the text is none.

    Example:
        >>> read_compound("5 hours and 30 minutes").value, read_compound("6 ft 2 in").value, read_compound("5 cm 3 kg")
        (Fraction(11, 2), Fraction(37, 6), None)
    """
    numbers = find_numbers(text)
    if not 2 <= len(numbers) <= 4 or text[: numbers[0].start].strip():
        return None
    ends = [number.start for number in numbers[1:]] + [len(text)]
    pieces = [_JOINED.sub("", text[number.start : end]) for number, end in zip(numbers, ends, strict=True)]
    amounts = [read_quantity(piece) for piece in pieces]
    first = amounts[0]
    total = Fraction(0)
    last = None
    for amount in amounts:
        if not isinstance(amount, Quantity) or not isinstance(first, Quantity) or not amount.unit.dimensions:
            return None
        if amount.unit.dimensions != first.unit.dimensions or (last is not None and amount.unit.factor >= last):
            return None
        last = amount.unit.factor
        total += amount.value * last / first.unit.factor
    return Quantity(total, unit=first.unit) if isinstance(first, Quantity) else None


def _between(before: str, number: Number, after: str) -> Quantity | Bounded | None:
    if _APPLIED.search(before):
        return None
    if before.rstrip().endswith("(") and after.lstrip().startswith(")"):
        before, after = before.rstrip()[:-1], after.lstrip()[1:]
    parts = _BEFORE.fullmatch(before)
    assert parts is not None
    lead, value, places = parts["lead"], number.value, number.places
    sign = parts["sign"] or parts["inner"] or ""
    if (parts["sign"] and parts["inner"]) or (sign in ("-", "+") and _OPERATOR.search(lead)):
        return None
    multiple = _MULTIPLE.search(lead)
    if multiple is not None:
        lead, value, places = lead[: multiple.start()], value * _MULTIPLES[multiple[1].lower()], 0
    if 0 < value < 1:
        after = _OF_ONE.sub(" ", after)
    relation, lead, after = _relation(lead, after)
    if power := _POWER.match(after):
        value, places, after = value ** (2 if power[1].lower() == "squared" else 3), 0, after[power.end() :]
    ordinal = "digits" if _ORDINAL.match(after) else ""
    lead = _CHANGES_BY.sub("", lead)
    percent, unit, rest = _unit(parts["currency"] or "", after)
    if rest is None or _HARMFUL_BEFORE.search(lead) or _HARMFUL.search(rest):
        return None
    if sign.lower().rstrip(".") in ("-", "minus", "negative", "neg"):
        value = -value
    unsigned = not sign and _OPEN_SIGN.search(f"{parts['lead']} {rest}") is not None
    quantity = Quantity(value, places, percent, unit, unsigned, ordinal)
    return quantity if relation is None else Bounded(relation, quantity)


def _without_remark(text: str) -> str:
    """The text without a remark in brackets at its end, in which an amount is neither doubted nor said again."""
    found = _REMARK.search(text)
    if found is None or found.end() != len(text.rstrip(" .")) or not find_numbers(text[: found.start()]):
        return text
    said = found["said"]
    is_remark = len(_WORD.findall(said)) > 1 and not _NO_REMARK.search(said) and read_compound(said) is None
    return text[: found.start()] if is_remark else text


def _decimal_in_digits(found: re.Match[str]) -> str:
    whole = words_value(found[1])
    digits = [words_value(word.replace("oh", "zero")) for word in found[2].lower().split()]
    return found[0] if whole is None else f"{whole}.{''.join(map(str, digits))}"


def _base_in_digits(found: re.Match[str]) -> str:
    base = found["said"] or found["written"]
    return f"_{{{words_value(base) or base}}}"


def _mixed(found: re.Match[str]) -> str:
    """``1 1/2 hour``, of an hour and a half; as it is if what stands in front is no number."""
    whole = 1 if found[1].lower() in ("a", "an") else words_value(found[1]) or found[1]
    return found[0] if str(whole).isalpha() else f"{whole} 1/{2 if found[3].lower() == 'half' else 4} {found[2]}"


def _relation(lead: str, after: str) -> tuple[str | None, str, str]:
    """The bound that the words make of a number, and the other words."""
    for relation, words in _BOUNDS_BEFORE:
        if (found := words.search(lead)) is not None:
            return relation, lead[: found.start()], after
    for relation, words in _BOUNDS_BEHIND:
        if (found := words.search(after)) is not None:
            return relation, lead, after[: found.start()] + after[found.end() :]
    return None, lead, after


def _unit(currency: str, after: str) -> tuple[bool, Unit, str | None]:
    """Percent, unit and the words behind them; ``None`` for the words if letters at the number are no unit."""
    if (percent := _PERCENT.match(after)) is not None:
        return True, Unit(), after[percent.end() :]
    if (base := _BASE.match(after)) is not None:
        return False, Unit(dimensions=frozenset({(f"base {base[1]}", 1)})), after[base.end() :]
    if (ordinal := _ORDINAL.match(after)) is not None:
        after = after[ordinal.end() :]
    unit, rest = read_unit(f"{currency.strip(' .')} {after}" if currency else after)
    if not unit.dimensions:
        return False, unit, None if re.match("[A-Za-z]", after) else after
    return False, unit, rest
