"""Answers that stand at the end of a line: behind ``####``, or in a line of their own."""

import re
from dataclasses import dataclass

from iapo.ops.checks import check_kinds
from iapo.styles.interface import AnswerStyle, Marked

_BEFORE = re.compile(r"(?:\n[ \t]*[-+•][ \t]+|(?:\$\$|\\\[|```\w*)[ \t]*(?=\r?\n)|\s|\*+(?=\s))*")
"""White space, what begins a line of a list, and a line that opens a formula or code: the answer is behind them."""
_END_OF_TURN = re.compile(r"(?:<\|(?!end_of_box)[^<>|\s]{1,30}\|>|</s>|<eos>|<end_of_turn>)$")
"""A special token that ends a turn, where it was decoded with the text."""
_LONGEST_TOKEN = 34
"""Characters of such a token."""
_HASHES = re.compile(r"####(?!#)\s*(?=\S)")
_LABEL = re.compile(
    r"[*_]*(?:(?:the|my)\s+)?(?:(?:final|correct)\s+)?answer\b[*_]*(?:\s*(?:is\b|[:=：])[*_]*|[ \t]*$)\s*(?=\S)",
    re.IGNORECASE | re.MULTILINE,
)
"""What may stand between ``####`` and the answer: ``#### Final answer: 72``."""

_PLEASANTRY = re.compile(
    r"\W*(?:let me know|i hope|hope (?:this|that)|feel free|is there anything|would you like|do you want|"
    r"if you (?:have|need|want)|have a (?:great|nice|good)|good luck|happy to help|thank you|thanks)\b",
    re.IGNORECASE,
)
"""The beginning of a line that says nothing of the problem."""
_QED = re.compile(
    r"(?:\$?\\(?:blacksquare|square|Box|qed)\$?|[∎■□▪◼]|\bQ\.?E\.?D\.?|\s[\u2600-\u27bf\U0001f300-\U0001faff\ufe0f]+)$"
)
"""What ends a solution behind its answer, or adorns it."""
_CLOSING_TAG = re.compile(r"</([\w-]{1,30})>$")
_BRACKETS = {")": "(", "]": "[", "}": "{", "」": "「", "』": "『", "】": "【", "”": "“", "»": "«"}
_LAYERS = 8
"""What an answer is freed of at most, one after the other."""
_AROUND = re.compile(r"(?P<sign>[_~=|$]|(?<=\s)#)(?P=sign){0,5}$")
"""What stands at both ends of a line, or of what is set apart in it: ``_The answer is 72_``, ``| Answer: 72 |``."""
_FENCE = re.compile(r"[ \t]*```[ \t]*$")
"""A line that ends code."""
_BEGINNING = re.compile(r"[ \t]*(?:(?:[-•*]|#{1,6})[ \t]+|(?:=>|-+>|==+>|[→⇒⟹∴])[ \t]*)")
"""The sign of an item of a list, of a heading, or an arrow."""
_SPOKEN = re.compile(r"(?:です|である|입니다|이다)[.。]?$")
"""What ends a sentence behind an answer, in languages whose verbs stand there."""
_BECAUSE = re.compile(
    r",\s*(?:because|since|as|so|which(?!\s+(?:makes|gives|leaves|totals)\b)|where)\b|,\s*i\.e\.|\s?—\s*(?=[a-z])|\bbecause\b|(?<=[\d)\]}$%°*])[.;]\s+[A-Z(¡¿]"
)
"""Begins reasons and further sentences behind an answer. A period behind letters may be of an abbreviation."""
_OWN_PERIOD = re.compile(r"(?:[A-Za-z]\.\s?[A-Za-z]|\.\s?)\.$")
"""A period that ends no sentence: of an abbreviation (``p.m.``), or one of several."""


@dataclass(frozen=True)
class Hashes(AnswerStyle):
    """What stands in the line behind the last ``####``, as GSM8K writes it; of ``#### Answer: 72`` what is behind that.

    Args:
        closing: text that ends an answer that is asked for.

    Example:
        >>> text = "48+24=72\\n#### 72\\n"
        >>> found = Hashes().find(text)
        >>> text[found.start:found.stop]
        '72'
    """

    closing: str = "\n"
    opening = "#### "

    def __post_init__(self) -> None:
        check_kinds(self)

    def find(self, text: str) -> Marked | None:
        """The rest of the line behind the last mark that anything follows."""
        marks = list(_HASHES.finditer(text))
        if not marks:
            return None
        label = _LABEL.match(text, marks[-1].end())
        return rest_of_line(text, marks[-1].start(), (label or marks[-1]).end(), self)

    def write(self, answer: str) -> str:
        """In one line."""
        return one_line(answer)


@dataclass(frozen=True)
class LastLine(AnswerStyle):
    """The last line that says something, whatever stands there: for completions that mark their answer in no way.

    Passed over are empty lines, pleasantries such as ``Let me know if you have questions``, and the end of code.

    Args:
        closing: text that ends an answer that is asked for.

    Example:
        >>> text = "2+2=4\\n4\\n"
        >>> LastLine().find(text)[1:3]
        (6, 7)
    """

    closing: str = "\n"
    opening = ""

    def __post_init__(self) -> None:
        check_kinds(self)

    def find(self, text: str) -> Marked | None:
        """The last line, without white space around it and without a sign in front that begins an item or a result."""
        start, stop = last_line(text)
        if start == stop:
            return None
        sign = _BEGINNING.match(text, start, stop)
        found = rest_of_line(text, start, start if sign is None else sign.end(), self)
        return found._replace(announced=False)

    def write(self, answer: str) -> str:
        """In one line."""
        return one_line(answer)


def last_line(text: str) -> tuple[int, int]:
    """Where the last line begins and ends that is neither empty, nor a mere pleasantry, nor the end of code."""
    end = len(text.rstrip())
    begin = last = text.rfind("\n", 0, end) + 1
    stop = end
    while begin > 0 and _says_nothing(text[begin:stop]):
        stop = len(text[:begin].rstrip())
        begin = text.rfind("\n", 0, stop) + 1
    return (last, end) if _says_nothing(text[begin:stop]) else (begin, stop)


def _says_nothing(line: str) -> bool:
    """Whether a line says nothing of the problem, or asks."""
    last_letter = max((place for place, sign in enumerate(line) if sign.isalnum()), default=-1)
    return _FENCE.match(line) is not None or "?" in line[last_letter + 1 :] or _PLEASANTRY.match(line) is not None


def one_line(answer: str) -> str:
    """An answer as it can stand in a line."""
    return " ".join(part for line in answer.split("\n") if (part := line.strip()))


def rest_of_line(text: str, opening: int, start: int, style: AnswerStyle) -> Marked:
    """The answer from the first sign at or behind ``start`` to the end of its line, without stars of bold type."""
    start = _BEFORE.match(text, start).end()  # type: ignore[union-attr]
    end = text.find("\n", start)
    end = len(text) if end < 0 else end
    start, stop = without_stars(text, start, _without_wrapping(text, start, _without_turn(text, start, end)))
    closed = stop + len(style.closing) if text.startswith(style.closing, stop) else stop
    return Marked(opening, start, stop, closed, style)


def _without_turn(text: str, start: int, end: int) -> int:
    """Where a line ends, without white space and the special tokens that end a turn."""
    while True:
        while end > start and text[end - 1].isspace():
            end -= 1
        token = _END_OF_TURN.search(text, max(start, end - _LONGEST_TOKEN), end)
        if token is None:
            return end
        end = token.start()


def _without_wrapping(text: str, start: int, end: int) -> int:
    """Where an answer ends, without what was opened in front of it in its line, and what ends a solution.

    These are brackets, tags and signs that stand at both ends: ``\\textbf{Answer: 72}``, ``<b>Answer: 72</b>``.
    """
    before = text[text.rfind("\n", 0, start) + 1 : start]
    for _ in range(_LAYERS):
        answer = text[start:end].rstrip()
        end = start + len(answer)
        last = answer[-1:]
        opened = _BRACKETS.get(last)
        if (
            opened is not None
            and before.count(opened) > before.count(last)
            and answer.count(opened) < answer.count(last)
        ):
            stop = end - 1
        elif (tag := _CLOSING_TAG.search(answer)) is not None and f"<{tag[1]}" not in answer:
            stop = start + tag.start()
        elif (
            (around := _AROUND.search(answer)) is not None
            and around["sign"] in before
            and answer.count(around["sign"], 0, around.start()) % 2 == 0  # |x| is whole
        ):
            stop = start + around.start()
        elif (qed := _QED.search(answer)) is not None:
            stop = start + qed.start()
        else:
            break
        if stop <= start:
            break
        end = stop
    return end


def rest_of_sentence(text: str, opening: int, start: int, style: AnswerStyle) -> Marked:
    """The answer from ``start`` on, without the reasons and the sentences that follow it in its line."""
    found = rest_of_line(text, opening, start, style)
    answer = text[found.start : found.stop]
    if (reason := _BECAUSE.search(answer)) is not None and answer[: reason.start()].strip(" *"):
        answer = answer[: reason.start()].rstrip()
    if (spoken := _SPOKEN.search(answer)) is not None:
        answer = answer[: spoken.start()].rstrip()
    if answer.endswith((".", "。", "।")) and not _OWN_PERIOD.search(answer):
        answer = answer[:-1]
    if found.start + len(answer) == found.stop:
        return found
    start, stop = without_stars(text, found.start, found.start + len(answer))
    closed = text.startswith(style.closing, stop)
    return found._replace(start=start, stop=stop, closing=stop + len(style.closing) if closed else stop)


def without_stars(text: str, start: int, stop: int) -> tuple[int, int]:
    """A part of a text without white space behind it, and without stars around all of it.

    Stars whose other half stands within stay: ``**72** apples``.
    """
    answer = text[start:stop].rstrip()
    inner = answer.strip("*")
    leading = answer[: len(answer) - len(answer.lstrip("*"))] if inner else answer
    trailing = answer[len(leading) + len(inner) :]
    around = bool(leading) and leading == trailing and inner.count(leading) % 2 == 1  # **2**10**
    if not around and any(stars and stars in inner for stars in (leading, trailing)):
        return start, start + len(answer)
    begin = start + len(leading)
    return begin, begin + len(inner.rstrip())
