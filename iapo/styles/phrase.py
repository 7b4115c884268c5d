"""Answers behind a phrase that announces them, or in a last sentence that concludes."""

import re
from dataclasses import dataclass
from functools import lru_cache

from iapo.styles.interface import AnswerStyle, Marked, check_text
from iapo.styles.lines import one_line, rest_of_line, without_stars

_ENGLISH = (
    r"\b(?:(?:the|my)\s+)?(?:(?:final|correct|right)\s+)*answer\b[*_]*"
    r"(?:\s+(?:to|of|for)\b[^.?!:=\n]{1,60}?|\s*\([^)\n]{1,40}\))?\s*"
    r"(?:is\b|was\b|would\s+be\b|equals\b|comes\s+(?:out\s+)?to\b|(?:should|must)\s+be\b(?=[^\w\n]{0,6}\d)|[:=：])"
    r"|^[ \t*_]*(?:(?:final|correct)\s+)*answer[*_]*\s+[—–-]+\s"
    r"|\bthe\s+(?:(?:final|correct|right|best)\s+)+(?:option|choice|result|solution)\s+(?:is\b|[:=：])"
)
_OTHERS = (
    r"\b(?:(?:la|die|het|правильный)\s+)?(?:réponse|respuesta|resposta|risposta|antwort|antwoord|odpowiedź|ответ|"
    r"відповідь|cevap|jawaban|đáp án|उत्तर|الإجابة|الجواب)(?:\s+(?:finale?|correct[ae]?|corretta|النهائية))?"
    r"[*_]*\s*(?:(?:est|es|é|è|ist|adalah|là|है|هي|هو)(?!\w)|[:=：]|[—–-]+\s)"
    r"|答案[*_]*(?:应该|應該)?(?:[是为為]|\s*[:=：])|答え[*_]*(?:は|\s*[:=：])|정?답[*_]*(?:[은는]|\s*[:=：])"
)
_SUPPOSED = re.compile(r"\b(?:if|suppose|assuming)\b[^.?!\n]*$", re.IGNORECASE)
"""In front of what the answer would be, of another problem than the one that was asked."""
_LONGEST_CASE = 200
"""Characters in front of a phrase that are looked at for its case."""
_HEADING = re.compile(
    r"^[ \t]*(?:#{1,6}[ \t]+)?[*_]{0,3}(?:(?:the|final|correct)[ \t]+)*answer[*_]{0,3}[ \t]*\r?$(?=[\s*]*[^\s*])",
    re.IGNORECASE | re.MULTILINE,
)
"""A line with nothing but ``Final Answer`` in it: what stands below is one, if it is short."""
_SPOKEN = re.compile(r"(?:です|である|입니다|이다)[.。]?$")
"""What ends a sentence behind an answer, in languages whose verbs stand there."""
_LINE = re.compile(
    r"^[ \t]*[*_]*(?:=>|-+>|==+>|[→⇒⟹∴]|\\(?:Rightarrow|implies|therefore)\b|(?:A|Ans)\.?[ \t]*[:：])"
    r"[*_]*(?=[\s*]*[^\s*])",
    re.MULTILINE,
)
"""What stands at the beginning of a line before an answer: an arrow, or ``A:``."""
_LABEL = re.compile(
    r"[ \t]*[*_]{0,3}[^\W\d_]{1,30}(?:[ \t][^\W\d_]{1,30}){0,2}[ \t]?[*_]{0,3}[:：][*_]*(?=[\s*]*[^\s*])"
)
"""One to three words and a colon, in any language, at the beginning of the last line: ``Respuesta: 72``."""
_CONCLUDES = re.compile(
    r"(?:^|(?<=[.!?;])\s)\s*[*_]*"
    r"(?:so|thus|hence|therefore|altogether|in total|in conclusion|consequently|finally)\b[,:]?",
    re.IGNORECASE,
)
_IS = re.compile(r"\b(?:is|are|was|were|equals?|be)\b(?:\s+(?:equal to|exactly|simply))?\s*")
_EQUAL = re.compile(r"(?<![<>!])=\s*|[≈≃]\s*|:\s+")
_NUMBER = re.compile(r"[-−+]?[$€£]?[-−+]?\d[\d,.]*")
_LONGEST = 60
"""Characters of an answer that nothing but its place marks."""
_BECAUSE = re.compile(
    r",\s*(?:because|since|as|so|which(?!\s+(?:makes|gives|leaves|totals)\b)|where)\b|\bbecause\b|(?<=[\d)\]}$%°*])[.;]\s+[A-Z(]"
)
"""Begins reasons and further sentences behind an answer. A period behind letters may be of an abbreviation."""
_OWN_PERIOD = re.compile(r"(?:[A-Za-z]\.\s?[A-Za-z]|\.\s?)\.$")
"""A period that ends no sentence: of an abbreviation (``p.m.``), or one of several."""


@dataclass(frozen=True)
class Phrase(AnswerStyle):
    """What stands in the line behind the last phrase that announces it: ``The answer is 72.``, ``Final answer: 72``.

    The usual phrases are read (``answer is``, ``answer:``, ``the correct option is``, in any case and in bold, and
    ``La respuesta es``, ``答案是`` and their like), and the one that is asked with; else a short line below a heading
    ``Final Answer``. Where there is none, the last line that begins with an arrow or ``A:`` counts; else the last line
    of all, if it begins with a label (``Total: 72``, in any language), or if a sentence in it concludes: ``So the
    total is 72.``, ``Thus she paid $72.`` A period that ends the sentence, the reasons given behind the answer
    (``72 because ...``) and further sentences are no part of it.

    Args:
        opening: the phrase that asks for an answer.
        closing: text that ends an answer that is asked for.
        concludes: whether answers are read that no phrase announces: arrows, labels and concluding sentences.

    Raises:
        ValueError: a phrase without any letter or sign.

    Example:
        >>> text = "Her total is the result: 72 clips."
        >>> found = Phrase(opening="the result: ").find(text)
        >>> text[found.start:found.stop]
        '72 clips'
    """

    opening: str = "The answer is "
    closing: str = "."
    concludes: bool = True

    def __post_init__(self) -> None:
        check_text("opening", self.opening.strip())

    def find(self, text: str) -> Marked | None:
        """The rest of the line behind the last phrase that anything follows, without what is said behind the answer."""
        marks = [mark for mark in _pattern(self.opening.strip()).finditer(text) if not _is_supposed(text, mark)]
        if marks:
            return self._marked(text, _before_stars(text, marks[-1]), marks[-1].end())
        if headings := list(_HEADING.finditer(text)):
            below = self._marked(text, headings[-1].start(), headings[-1].end())
            if 0 < below.stop - below.start <= _LONGEST:
                return below
        found = self._concluded(text) if self.concludes else None
        return None if found is None else found._replace(announced=False)

    def write(self, answer: str) -> str:
        """In one line."""
        return one_line(answer)

    def _concluded(self, text: str) -> Marked | None:
        """The answer in a line that begins as one with an answer does, or in the last line."""
        if marks := list(_LINE.finditer(text)):
            return self._marked(text, marks[-1].start(), marks[-1].end())
        begin = text.rfind("\n", 0, len(text.rstrip())) + 1
        label = _LABEL.match(text, begin)
        found = self._conclusion(text, begin) if label is None else self._marked(text, begin, label.end())
        return found if found is not None and 0 < found.stop - found.start <= _LONGEST else None

    def _conclusion(self, text: str, begin: int) -> Marked | None:
        """The answer that the last sentence of the line at ``begin`` concludes with: behind its verb, or its number."""
        sentences = list(_CONCLUDES.finditer(text[begin:]))
        if not sentences:
            return None
        opening = begin + sentences[-1].start() + len(sentences[-1][0]) - len(sentences[-1][0].lstrip())
        behind = begin + sentences[-1].end()
        verbs, equal, numbers = (list(each.finditer(text, behind)) for each in (_IS, _EQUAL, _NUMBER))
        if verbs or equal:
            return self._marked(text, opening, (verbs[-1] if verbs else equal[0]).end())
        return self._marked(text, opening, numbers[0].start()) if len(numbers) == 1 else None

    def _marked(self, text: str, opening: int, start: int) -> Marked:
        """The answer from ``start`` on, without what follows it in its line."""
        found = rest_of_line(text, opening, start, self)
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
        closed = text.startswith(self.closing, stop)
        return found._replace(start=start, stop=stop, closing=stop + len(self.closing) if closed else stop)


def _is_supposed(text: str, mark: re.Match[str]) -> bool:
    """Whether a phrase is about another case: ``If both were sold, the answer would be 200``."""
    before = text[max(0, mark.start() - _LONGEST_CASE) : mark.start()]
    return "would" in mark[0] and _SUPPOSED.search(before) is not None


def _before_stars(text: str, mark: re.Match[str]) -> int:
    """Where a phrase begins, with the stars of bold type that are closed in it: ``**Answer:** 72``."""
    stars = "*" * mark[0].count("*")
    return mark.start() - len(stars) if text.endswith(stars, 0, mark.start()) else mark.start()


@lru_cache
def _pattern(phrase: str) -> re.Pattern[str]:
    """A phrase or one of the usual ones, with signs of bold type and colons behind it, where something follows."""
    usual = rf"{re.escape(phrase)}|{_ENGLISH}|{_OTHERS}"
    return re.compile(
        rf"(?:{usual})(?:[*_:：]|\s?\}}|</(?:b|strong|em|i)>)*(?=[\s*]*[^\s*])", re.IGNORECASE | re.MULTILINE
    )
