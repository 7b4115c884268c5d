"""Answers that only their place marks: in a last line or sentence that concludes."""

import re

from iapo.styles.interface import AnswerStyle, Marked
from iapo.styles.lines import last_line, rest_of_sentence

_LINE = re.compile(
    r"^[ \t]*[*_]*(?:=>|-+>|==+>|[→⇒⟹∴]|\\(?:Rightarrow|implies|therefore)\b|(?:A|Ans)\.?[ \t]*[:：]|Ans\.(?=[ \t]))"
    r"[*_]*(?=[\s*]*[^\s*])",
    re.MULTILINE,
)
"""What stands at the beginning of a line before an answer: an arrow, or ``A:``."""
_LABEL = re.compile(
    r"[ \t]*[*_]{0,3}[^\W\d_]{1,30}(?:[ \t][^\W\d_]{1,30}){0,2}[ \t]?[*_]{0,3}[:：][*_]*(?=[\s*]*[^\s*])"
)
"""One to three words and a colon, in any language, at the beginning of the last line: ``Respuesta: 72``."""
_BOLD = re.compile(r"\*\*(?!\s)([^*\n]+?)(?<![\s:：])\*\*(?!\w)")
_BARE = re.compile(
    r"[ \t]*(?P<answer>[-−+]?[$€£]?\d[\d,./:]*(?:\s?%)?|[$][^$\n]+[$]|\\\((?:(?!\\\)).)+\\\))[ \t]*\.?[ \t]*"
)
"""A line that holds a number or a formula alone."""
_DISPLAYS = (("$$", "$$"), ("\\[", "\\]"))
"""What a formula that stands apart is put between."""
_CONCLUDES = re.compile(
    r"(?:^|(?<=[.!?;:])\s)\s*[*_]*"
    r"(?:so|thus|hence|therefore|altogether|in total|in conclusion|consequently|finally)\b[,:]?",
    re.IGNORECASE,
)
_VERB = r"\b(?:is|are|was|were|equals?|be)"
_IS = re.compile(rf"{_VERB}\b(?:\s+(?:equal to|exactly|simply|therefore|thus|then|now))?\s*")
_EQUAL = re.compile(r"(?<![<>!])=\s*|[≈≃]\s*|:\s+")
_NUMBER = re.compile(r"[-−+]?[$€£]?[-−+]?\d[\d,.]*")
_IS_BEFORE = re.compile(rf"(?:{_VERB}|[=≈])\s*$")
_VALUE = re.compile(r"[\d\\π∞√$]")
_SENTENCE_END = re.compile(r"[.!?]\s+(?=[A-Z¡¿])")
_BEGINS_A_VALUE = re.compile(r"[*$(]*[-−+]?[$€£]?(?:\d|[\\π√∞])|[$]")
_WORDS = re.compile(r"\b(?:not|or|than|to|from|by|if)\b", re.IGNORECASE)
"""In what is no value: ``3 more than 5``."""
LONGEST = 60
"""Characters of an answer that nothing but its place marks."""


def concluded(text: str, style: AnswerStyle) -> Marked | None:
    """The answer in a line that begins as one with an answer does, or in the last line that says anything.

    There it is what stands behind a label (``Total: 72``), in bold type, or behind the verb of a sentence that
    concludes (``So the total is 72.``); or it is all of the line, or the formula that stands apart at its end.

    Args:
        text: of a completion, or of what stands behind its reasoning.
        style: what the answer is written in.
    """
    if marks := list(_LINE.finditer(text)):
        found: Marked | None = rest_of_sentence(text, marks[-1].start(), marks[-1].end(), style)
    else:
        found = _in_last_line(text, style)
    return found._replace(announced=False) if found is not None and 0 < found.stop - found.start <= LONGEST else None


def _in_last_line(text: str, style: AnswerStyle) -> Marked | None:
    if (display := _in_display(text, style)) is not None:
        return display
    begin, end = last_line(text)
    label = _LABEL.match(text, begin, end)
    if (bold := _in_bold(text, label.end() if label is not None else begin, end, style)) is not None:
        return bold
    if label is not None:
        return rest_of_sentence(text, begin, label.end(), style)
    if (bare := _BARE.fullmatch(text, begin, end)) is not None:
        return Marked(begin, *bare.span("answer"), bare.end("answer"), style)
    return _conclusion(text, begin, end, style)


def _in_display(text: str, style: AnswerStyle) -> Marked | None:
    """A formula that stands apart at the end of the text."""
    end = len(text.rstrip(" \t\n."))
    for opening, closing in _DISPLAYS:
        if text.endswith(closing, 0, end) and (begin := text.rfind(opening, 0, end - len(closing))) >= 0:
            inside = text[begin + len(opening) : end - len(closing)]
            start = begin + len(opening) + len(inside) - len(inside.lstrip())
            return Marked(begin, start, max(start, begin + len(opening) + len(inside.rstrip(" \t\n.,"))), end, style)
    return None


def _in_bold(text: str, begin: int, end: int, style: AnswerStyle) -> Marked | None:
    """What stands last in bold type in a line, if it is a value, all of the line or what something is."""
    for bold in reversed(list(_BOLD.finditer(text, begin, end))):
        start = bold.start(1)
        if (label := _LABEL.match(text, start, bold.end(1))) is not None:
            start = label.end()
        is_all = not text[begin : bold.start()].strip() and not text[bold.end() : end].strip(" .!")
        if is_all or _VALUE.search(text, start, bold.end(1)) or _IS_BEFORE.search(text, begin, bold.start()):
            stop = len(text[: bold.end(1)].rstrip(" .!"))
            return Marked(bold.start() if is_all else begin, start, stop, bold.end(), style)
    return None


def _conclusion(text: str, begin: int, end: int, style: AnswerStyle) -> Marked | None:
    """The answer that the last sentence of a line concludes with: behind its verb, or its number.

    Where no word makes the sentence a conclusion, only a value right behind its verb counts.
    """
    sentences = list(_CONCLUDES.finditer(text[begin:end]))
    if not sentences:
        return _said(text, begin, end, style)
    opening = begin + sentences[-1].start() + len(sentences[-1][0]) - len(sentences[-1][0].lstrip())
    behind = begin + sentences[-1].end()
    verbs, equal, numbers = (list(each.finditer(text, behind, end)) for each in (_IS, _EQUAL, _NUMBER))
    if len(numbers) == 1 and not text[behind : numbers[0].start()].strip(" *") and not equal:
        return rest_of_sentence(text, opening, numbers[0].start(), style)  # "So 72 clips are left"
    if verbs or equal:
        return rest_of_sentence(text, opening, (verbs[-1] if verbs else equal[0]).end(), style)
    return rest_of_sentence(text, opening, numbers[0].start(), style) if len(numbers) == 1 else None


def _said(text: str, begin: int, end: int, style: AnswerStyle) -> Marked | None:
    """The value that the last sentence of a line ends with, right behind its verb: ``The product is 72.``"""
    begin = max((sentence.end() for sentence in _SENTENCE_END.finditer(text, begin, end)), default=begin)
    verbs = list(_IS.finditer(text, begin, end))
    if not verbs or not _BEGINS_A_VALUE.match(text, verbs[-1].end(), end) or _WORDS.search(text, verbs[-1].end(), end):
        return None
    return rest_of_sentence(text, begin, verbs[-1].end(), style)
