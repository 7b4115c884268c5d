r"""Numbers in a text, in digits and in words, exactly.

Digits: ``1,072``, ``1 072``, ``1'072``, ``.5``, ``1e-5``, ``1.5*10^{3}``, ``1/2``, ``\frac{1}{2}``, ``1 1/2``. Words:
``seventy-two``, ``one and a half``, ``three quarters``. Both with a scale: ``5 million``, ``half a dozen``, ``60k``.
"""

import math
import re
from dataclasses import dataclass
from fractions import Fraction

_UNDER_TWENTY = (
    r"zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    r"eighteen nineteen"
)
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety"
_SMALL = {word: value for value, word in enumerate(_UNDER_TWENTY.split())}
_SMALL |= {word: 10 * value for value, word in enumerate(_TENS.split(), 2)}
_SCALES = {
    "dozen": 12,
    "hundred": 100,
    "thousand": 10**3,
    "million": 10**6,
    "billion": 10**9,
    "trillion": 10**12,
    "mil": 10**6,
    "score": 20,
    "lakh": 10**5,
    "crore": 10**7,
}
_PARTS = {
    "half": 2,
    "halve": 2,
    "third": 3,
    "quarter": 4,
    "fourth": 4,
    "fifth": 5,
    "sixth": 6,
    "seventh": 7,
    "eighth": 8,
    "ninth": 9,
    "tenth": 10,
    "hundredth": 100,
    "thousandth": 1000,
}
_ORDINALS = {"first": "one", "second": "two", "third": "three", "fifth": "five", "eighth": "eight"}
_ORDINALS |= {"ninth": "nine", "twelfth": "twelve"}
_SUFFIXES = {"k": 10**3, "K": 10**3, "M": 10**6, "mn": 10**6, "B": 10**9, "bn": 10**9}
_LARGEST_EXPONENT = 400

_GROUPED = "|".join(rf"\d{{1,3}}(?:{separator}\d{{3}})+(?!\d)" for separator in ", '")
_DIGITS = rf"(?:(?:{_GROUPED}|\d+)(?:\.\d+)?|\.\d+)"
_POWER = r"(?:[eE][+-]?\d+(?!\d)|\s*[*xX]\s*10\^\{\+?-?\d+\})?"
_SCALE_WORDS = r"(?:\s+(?:" + "|".join(_SCALES) + r")s?\b)*"
_SHARES = "|".join(part for part in _PARTS if part not in ("half", "quarter"))  # "3 quarters" are coins
_LITERAL = re.compile(
    r"(?<![A-Za-z\d.\\^_{}])(?<!\^\{-)(?:"
    rf"(?P<whole>\d+)\s*(?:\s|(?=\\))(?:and\s+|&\s*)?(?P<part>\d+\s*/\s*\d+|\\frac\{{\d+\}}\{{\d+\}})(?![\d/])"
    r"|(?P<ended>\d*\.\d*)\\overline\{(?P<repeating>\d{1,50})\}"
    r"|\\frac\{\s*(?P<top>-?\s*[\d.,]+)\s*\}\{\s*(?P<bottom>-?\s*[\d.,]+)\s*\}"
    rf"|(?P<over>{_DIGITS})\s*/\s*(?P<under>{_DIGITS})"
    rf"|(?P<number>{_DIGITS}{_POWER})"
    rf")(?P<suffix>(?:k|K|M|mn|B|bn)(?![A-Za-z\d]))?(?P<scale>{_SCALE_WORDS})(?:\s+(?P<share>{_SHARES})s?\b)?"
)
_NUMBER_WORD = "|".join([*_SMALL, *(f"{word}s?" for word in _SCALES), *(f"{word}s?" for word in _PARTS)])
_START_WORD = "|".join([*_SMALL, "half"])
_WORDS = re.compile(
    rf"(?<![\w\\-])(?:(?:{_START_WORD})|an?[ -]+(?:{_NUMBER_WORD}))"
    rf"(?:(?:\s*-\s*|\s+)(?:(?:and\s+)?(?:an?\s+)?(?:{_NUMBER_WORD})))*(?![\w])(?!-[A-Za-z])",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Number:
    """A number of a text.

    Args:
        value: exactly what is written.
        places: digits behind the point if it is written as a decimal number that has some, else 0.
        start: where it begins in the text.
        end: where it ends.
    """

    value: Fraction
    places: int
    start: int
    end: int


def find_numbers(text: str) -> list[Number]:
    r"""All numbers of a text in their order, without their signs; what cannot be read as one is no number.

    Args:
        text: in the notation of `iapo.rewards.answers.notation.plain`.

    Example:
        >>> [str(n.value) for n in find_numbers(r"1,072 of 5 million, \frac{1}{2} of seventy-two, 1 1/2, 2.5e3")]
        ['1072', '5000000', '1/2', '72', '3/2', '2500']
    """
    found = [number for match in _LITERAL.finditer(text) if (number := _literal(match)) is not None]
    for match in _WORDS.finditer(text):
        value = words_value(match[0])
        if value is not None and all(match.end() <= n.start or n.end <= match.start() for n in found):
            found.append(Number(value, 0, match.start(), match.end()))
    return sorted(found, key=lambda number: number.start)


def ordinal_value(words: str) -> Fraction | None:
    """The number of a place in order; ``None`` if the words are none.

    Example:
        >>> [str(ordinal_value(w)) for w in ("the third", "Twenty-first", "hundredth", "a third", "month")]
        ['3', '21', '100', 'None', 'None']
    """
    *before, last = re.split(r"(?<=[\s-])", words.lower().removeprefix("the ").strip())
    if before and before[0].strip() in ("a", "an"):
        return None
    cardinal = _ORDINALS.get(last) or re.sub("ieth$", "y", last).removesuffix("th")
    return None if cardinal == last else words_value("".join(before) + cardinal)


def words_value(words: str) -> Fraction | None:
    """The number that words say; ``None`` if they say none.

    Example:
        >>> [str(words_value(w)) for w in ("one hundred and five", "one and a half", "three quarters", "two five")]
        ['105', '3/2', '3/4', 'None']
    """
    tokens = [word for word in re.split(r"[\s-]+", words.lower().strip()) if word not in ("a", "an")]
    shares = [index for index, word in enumerate(tokens) if word.removesuffix("s") in _PARTS]
    if not shares:
        return _cardinal(tokens)
    before, after = tokens[: shares[0]], tokens[shares[0] + 1 :]
    whole, count = [], before
    if "and" in before:
        split = len(before) - before[::-1].index("and")
        whole, count = before[: split - 1], before[split:]
    total = _cardinal(whole) if whole else Fraction(0)
    counted = _cardinal(count) if count else Fraction(1)
    scales = [_SCALES.get(word.removesuffix("s")) for word in after]
    if total is None or counted is None or None in scales:
        return None
    return (total + counted / _PARTS[tokens[shares[0]].removesuffix("s")]) * math.prod(filter(None, scales))


def _cardinal(tokens: list[str]) -> Fraction | None:
    """Three hundred and five thousand: groups below a thousand, each with a scale smaller than the last."""
    total, group, last = 0, 0, math.inf
    for word in tokens:
        scale = _SCALES.get(word.removesuffix("s"), 0)
        if word in _SMALL:
            fits = group == 0 or group % 100 == 0 or (group % 100 >= 20 and group % 10 == 0 and 0 < _SMALL[word] < 10)
            if not fits or (group == 0 and tokens[0] == "zero" and len(tokens) > 1):
                return None
            group += _SMALL[word]
        elif scale == 100:
            group = (group or 1) * 100
        elif 0 < scale < last:
            total, group, last = total + (group or 1) * scale, 0, scale
        elif word != "and":
            return None
    return Fraction(total + group)


def _literal(match: re.Match[str]) -> Number | None:
    groups = match.groupdict()
    places = 0
    if groups["whole"]:
        above, below = re.findall(r"\d+", groups["part"])
        value = _ratio(above, below)
        value = None if value is None else value + int(groups["whole"])
    elif groups["repeating"]:
        ended, repeating = groups["ended"], groups["repeating"]
        nines = Fraction(int(repeating), 10 ** len(repeating) - 1)
        value = Fraction(f"0{ended}0") + nines / 10 ** len(ended.partition(".")[2])
    elif groups["top"]:
        value = _ratio(groups["top"], groups["bottom"])
    elif groups["over"]:
        value = _ratio(groups["over"], groups["under"])
    else:
        value = _decimal(groups["number"])
        places = len(groups["number"].partition(".")[2]) if re.fullmatch(r"[\d, ']*\.\d+", groups["number"]) else 0
    if value is None:
        return None
    for word in groups["scale"].lower().split():
        value *= _SCALES[word.removesuffix("s")]
    value *= _SUFFIXES.get(groups["suffix"] or "", 1)
    value /= _PARTS.get(groups["share"] or "", 1)
    return Number(
        value, 0 if groups["scale"] or groups["suffix"] or groups["share"] else places, match.start(), match.end()
    )


def _ratio(above: str, below: str) -> Fraction | None:
    top, bottom = _decimal(above), _decimal(below)
    return None if top is None or not bottom else top / bottom


def _decimal(text: str) -> Fraction | None:
    power = re.search(r"(?:[eE]|[*xX]\s*10\^\{)\+?(-?\d+)\}?$", text)
    digits = re.sub(r"[\s,']", "", text[: power.start()] if power else text)
    if not re.fullmatch(r"-?(?:\d+\.?\d*|\.\d+)", digits) or (power and len(power[1]) > 4):
        return None
    exponent = int(power[1]) if power else 0
    if abs(exponent) > _LARGEST_EXPONENT:
        return None
    return Fraction(digits) * Fraction(10) ** exponent
