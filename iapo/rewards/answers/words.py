"""Answers that are words, names or code: compared as text, never as algebra."""

import re
import unicodedata
from dataclasses import dataclass, field
from itertools import pairwise

_TOKEN = re.compile(r"\w+(?:[-']\w+)*|[^\w\s]")
_ARROW = re.compile(r"\s*(?:->|\\(?:long)?rightarrow(?![A-Za-z])|\\to(?![A-Za-z]))\s*")
_DROPPED = frozenset(".,;:!?\"'()\\")
_ARTICLES = frozenset(("a", "an", "the"))
_NOUN = re.compile(r"(?!(?:and|or)$)[^\W\d_][\w'-]+")
_VERDICT = re.compile(r"yes|no|true|false")
_AUXILIARY = "is|are|was|were|has|have|had|does|did|can|will|would|should|could|must|cannot"
_CLAUSE = re.compile(f"{_AUXILIARY}|converges|diverges")
"""The first word of an answer that only needs a subject: ``(The limit) does not exist``."""
_VERB = re.compile(
    rf"{_AUXILIARY}|[a-z]{{3,}}ed|won|wins|wrote|came|comes|ran|runs|made|makes|got|gets|took|ate|drew|built|gave|led|needs|"
    r"earns|lives"
)
"""Beside the name that a sentence is the answer for: ``Bob has won``, ``The winner is Bob``."""
_TAKEN_BACK_OF_NO = re.compile(r"but|or|nor|neither|maybe|perhaps|except|yes|true")
_SHORT: dict[str, tuple[str, ...]] = {
    day[:3]: (day,) for day in ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
}
_SHORT |= {"tues": ("tuesday",), "thurs": ("thursday",), "dne": ("does", "not", "exist")}
_INFINITELY_MANY = re.compile(
    r"\b(?:infinitely\s+many|infinite|an\s+infinite\s+number\s+of)\s+solutions?|\binfinitely\s+many$|^infinite$",
    re.IGNORECASE,
)
_TOWARDS = re.compile(r"(?:in|to|towards?)\s+the\s+(\w+)(?:\s+direction)?", re.IGNORECASE)
_QUADRANT = re.compile(
    r"\b(?:quadrant\s+|Q)(I{1,3}|IV|[1-4])\b|\b(first|second|third|fourth|[1-4](?:st|nd|rd|th))\s+quadrant\b",
    re.IGNORECASE,
)
_PLACES = ("i", "ii", "iii", "iv", "first", "second", "third", "fourth", "1st", "2nd", "3rd", "4th", *"1234")
_QUADRANTS = dict(zip(_PLACES, 4 * "1234", strict=True))
_DENIED = tuple(
    (re.compile(rf"\b(?:not\s+{one}|un{one})\b", re.IGNORECASE), two)
    for one, two in (("true", "false"), ("false", "true"), ("defined", "undefined"))
)
"""What a word and its denial say by another word."""
_SAME = {
    "divergent": "diverges",
    "diverge": "diverges",
    "convergent": "converges",
    "converge": "converges",
    "every": "all",
}
_SIGNS: dict[tuple[str, ...], tuple[str, ...]] = {
    ("less", "than"): ("<",),
    ("greater", "than"): (">",),
    ("equal",): ("=",),
    ("equal", "to"): ("=",),
    ("plus",): ("+",),
    ("minus",): ("-",),
}
"""What signs are called that are the whole answer."""
_SUBJECTS = frozenset(("i", "we", "it", "they", "she", "he"))
_COPULAS = frozenset(("is", "are", ":", "="))
_UNORDERED = re.compile(r"&|\band\b", re.IGNORECASE)
_JOINED = re.compile(r"[,;]\s*(?:and\b|&)?|&|\band\b", re.IGNORECASE)
_KINDS = re.compile(r"(?:function|triangle|number|integer|sequence|series|progression|distribution|matrix)s?")
"""What an adjective may leave unsaid: ``odd (function)``, ``isosceles (triangle)``."""
_TAKEN_BACK = re.compile(r"not|no|never|but|or|nor|neither|maybe|perhaps|except|yes|true|false")


@dataclass(frozen=True)
class Words:
    """A text.

    Args:
        tokens: its words in small letters and the marks between them that matter, in their order.
        parts: the words of its parts, between commas and each ``and``.
        unordered: whether the order of the parts does not count, as in ``cats and dogs``.
    """

    tokens: tuple[str, ...]
    parts: tuple[tuple[str, ...], ...] = field(default=(), compare=False)
    unordered: bool = field(default=False, compare=False)

    def equals(self, other: "Words") -> bool:
        """Whether the words are the same in the same order, or begin a sentence: ``Yes, it is``, ``Bob has won``."""
        if (self.unordered or other.unordered) and sorted(self.parts) == sorted(other.parts):
            return True
        for essence in (_closed_up, _without_small_words, _singular, _convergence):
            if essence(self.tokens) and essence(self.tokens) == essence(other.tokens):
                return True
        longer, shorter = sorted((self.tokens, other.tokens), key=len, reverse=True)
        if shorter and longer[:-1] == shorter and _KINDS.fullmatch(longer[-1]):
            return True
        return self.tokens == other.tokens or _said_in_sentence(self.tokens, other.tokens)


def read_words(text: str) -> Words:
    """The words of a text, without articles in front, quotation, punctuation and the ``'s`` of a name.

    Example:
        >>> read_words("The Bob's.").tokens, read_words("red; blue").tokens, read_words("U.K.").tokens
        (('bob',), ('red', 'blue'), ('uk',))
    """
    text = re.sub(r"\b(?:[A-Za-z]\.)+[A-Za-z]\b\.?", lambda dotted: dotted[0].replace(".", "") + " ", text)
    text = re.sub(r"\s*[\^_]\{(\d*[-+]?)\}", r"\1", text).removeprefix("- ")
    text = _ARROW.sub(", ", _INFINITELY_MANY.sub("infinitely many solutions", text))
    text = re.sub(r"(?<=[A-Za-z])[\u0300-\u036f]+", "", unicodedata.normalize("NFD", text))
    text = _QUADRANT.sub(lambda found: f"quadrant {_QUADRANTS[(found[1] or found[2]).lower()]}", text)
    if (towards := _TOWARDS.fullmatch(text)) is not None:
        text = towards[1]
    for denied, said in _DENIED:
        text = denied.sub(said, text)
    parts = tuple(_tokens(part) for part in _JOINED.split(text))
    tokens = _tokens(text)
    return Words(_SIGNS.get(tokens, tokens), parts, unordered=_UNORDERED.search(text) is not None)


def _closed_up(tokens: tuple[str, ...]) -> str:
    """Without spaces but between numbers, and without hyphens between letters: ``grand-mother``, ``B D A C``."""
    return re.sub(r"(?<=\D) | (?=\D)|(?<=[^\W\d])-(?=[^\W\d])", "", " ".join(tokens))


def _convergence(tokens: tuple[str, ...]) -> tuple[str, ...]:
    """How a series behaves, in any order: ``conditionally convergent`` is ``converges conditionally``."""
    return tuple(sorted(tokens)) if {"converges", "diverges"} & set(tokens) else ()


def _singular(tokens: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(token.removesuffix("s") if len(token) > 3 else token for token in tokens)


def _without_small_words(tokens: tuple[str, ...]) -> tuple[str, ...]:
    """The tokens without copulas, and without articles in front of words: ``A is a knight`` is ``A: knight``."""
    pairs = pairwise((*tokens, ""))
    return tuple(one for one, two in pairs if one not in _COPULAS and (one not in _ARTICLES or len(two) < 2))


def _tokens(text: str) -> tuple[str, ...]:
    found = [token.casefold().removesuffix("'s") for token in _TOKEN.findall(text)]
    found = [_SAME.get(token, token) for token in found]
    if len(found) > 1 and found[0] in _ARTICLES and _NOUN.fullmatch(found[1]):  # not "A, C" and "A and C"
        found = found[1:]
    kept = tuple(token for token in found if token not in _DROPPED and (len(found) == 1 or token not in ("and", "&")))
    return _SHORT.get(kept[0], kept) if len(kept) == 1 else kept


def _said_in_sentence(wanted: tuple[str, ...], given: tuple[str, ...]) -> bool:
    """Whether a sentence begins or ends with the wanted words beside a verb (a yes needs none), taking nothing back."""
    count = len(wanted)
    if not 0 < count < len(given):
        return False
    begins, ends = given[:count] == wanted, given[-count:] == wanted
    is_clause = _CLAUSE.fullmatch(wanted[0]) is not None
    rest = given[count:] if begins else given[:-count]
    takes_back = _TAKEN_BACK_OF_NO if wanted in (("no",), ("false",)) else _TAKEN_BACK
    if any(map(takes_back.fullmatch, rest)):
        return False
    if ends and len(rest) == 1 and rest[0] in _SUBJECTS:
        return True
    while ends and len(rest) > 1 and rest[-1] in _ARTICLES:  # "ABCD is a rhombus"
        rest = rest[:-1]
    if begins:
        return bool(_VERB.fullmatch(rest[0]) or (count == 1 and _VERDICT.fullmatch(wanted[0])))
    return ends and (is_clause or (len(rest) > 1 and _VERB.fullmatch(rest[-1]) is not None))
