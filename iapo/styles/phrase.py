"""Answers behind a phrase that announces them."""

import re
from dataclasses import dataclass
from functools import lru_cache

from iapo.ops.checks import check_kinds
from iapo.styles.conclusion import LONGEST, concluded
from iapo.styles.interface import AnswerStyle, Marked, check_text
from iapo.styles.lines import one_line, rest_of_sentence

_ENGLISH = (
    r"\b(?:(?:the|my)\s+)?(?:(?:final|correct|right)\s+)*answer\b[*_]*"
    r"(?:\s+(?:to|of|for)\b[^.?!:=\n]{1,60}?|\s*\([^)\n]{1,40}\))?\s*"
    r"(?:\bis\b|\bwas\b|would\s+be\b|equals\b|remains\b|comes\s+(?:out\s+)?to\b|(?:should|must)\s+be\b(?=[^\w\n]{0,6}\d)|"
    r"[-=]+>|[→⇒:=：])"
    r"|^[ \t*_]*(?:(?:final|correct)\s+)*answer[*_]*\s+[—–-]+\s"
    r"|\bthe\s+(?:(?:final|correct|right|best)\s+)+(?:option|choice|result|solution)\s+(?:is\b|[:=：])"
)
_OTHERS = (
    r"\b(?:(?:la|die|het|правильный)\s+)?(?:réponse|respuesta|resposta|risposta|antwort|antwoord|odpowiedź|ответ|"
    r"відповідь|отговор(?:ът)?|odgovor|cevap|jawa[bp]an(?:nya)?|jibu|sagot|đáp án|उत्तर|الإجابة|الجواب|תשובה|"
    r"התשובה|پاسخ|جواب|απάντηση|svar(?:et)?|vastaus|odpověď|odpoveď|válasz|răspuns(?:ul)?|উত্তর|సమాధానం|விடை|பதில்|คำตอบ)"
    r"(?:\s+(?:finale?|correct[ae]?|corretta|akhir|النهائية|النهائي|הסופית|نهایی))?"
    r"[*_]*\s*(?:(?:est|este|es|é|è|ist|is|lautet|adalah|ialah|är|er|on|je|to|ni|ay|είναι|là|है|হলো|হল|هي|هو|היא|คือ)(?!\w)"
    r"|คือ|[:=：]|[—–-]+\s)"
    r"|(?:उत्तर|উত্তর|సమాధానం|பதில்|پاسخ|جواب)(?=\s+[*$]*[-−]?\d)"
    r"|答案[*_]*(?:应该|應該)?(?:[是为為]|等[于於]|\s*[:=：])|答え[*_]*(?:は、?|\s*[:=：])|정?답[*_]*(?:[은는]|\s*[:=：])"
)
_SUPPOSED = re.compile(r"\b(?:if|suppose|assuming)\b[^.?!\n]*$", re.IGNORECASE)
"""In front of what the answer would be, of another problem than the one that was asked."""
_REMARK = re.compile(
    r"\s*(?:(?:already|indeed|also|thus|therefore|clearly|now|then)\s+)?(?:"
    r"(?:correct|right|wrong|incorrect|valid|verified|checked|confirmed|consistent|reasonable|plausible|sensible|"
    r"simplified|ok|okay)\b(?=[^\S\n]*(?:[.,;!)*\n]|$)|\s+(?:because|since|as|and|for|with|to|by)\b)"
    r"|(?:(?:given|written|expressed)\s+)?(?:above\b|in\s+(?:[a-z]+\s+){0,3}(?:form|terms?|units?)\b))",
    re.IGNORECASE,
)
"""Behind a phrase that says something of the answer that was given before: ``so the answer is correct``."""
_FOLLOWS = r"(?:\s+(?:as\s+follows|the\s+following|(?:given|shown)\s+below|below)[*_]*[.:：][*_]*)?"
_LONGEST_CASE = 200
"""Characters in front of a phrase that are looked at for its case."""
_HEADING = re.compile(
    r"^[ \t]*(?:#{1,6}[ \t]+)?[*_]{0,3}(?:(?:the|final|correct)[ \t]+)*answer[*_]{0,3}[ \t]*\r?$(?=[\s*]*[^\s*])",
    re.IGNORECASE | re.MULTILINE,
)
"""A line with nothing but ``Final Answer`` in it: what stands below is one, if it is short."""


@dataclass(frozen=True)
class Phrase(AnswerStyle):
    """What stands in the line behind the last phrase that announces it: ``The answer is 72.``, ``Final answer: 72``.

    The usual phrases are read (``answer is``, ``answer:``, ``the correct option is``, in any case and in bold, and
    ``La respuesta es``, ``答案是`` and their like), and the one that is asked with; else a short line below a heading
    ``Final Answer``. Where there is none, the last line that begins with an arrow or ``A:`` counts; else the last line
    that says anything (``Let me know if ...`` does not): behind a label (``Total: 72``, in any language), in bold
    type, what its last sentence concludes with (``So the total is 72.``, ``Thus she paid $72.``) or says something is
    (``The total is 72.``), or all of it, if it is a number or a formula. A period that ends the sentence, the reasons
    given behind the answer (``72 because ...``) and further sentences are no part of it.

    Args:
        opening: the phrase that asks for an answer.
        closing: text that ends an answer that is asked for.
        concludes: whether answers are read that no phrase announces.

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
        check_kinds(self)
        check_text("opening", self.opening.strip())

    def find(self, text: str) -> Marked | None:
        """The rest of the line behind the last phrase that anything follows, without what is said behind the answer."""
        marks = [mark for mark in _pattern(self.opening.strip()).finditer(text) if not _is_supposed(text, mark)]
        if marks:
            mark = next((each for each in reversed(marks) if not _REMARK.match(text, each.end())), marks[-1])
            return rest_of_sentence(text, _before_stars(text, mark), mark.end(), self)
        if headings := list(_HEADING.finditer(text)):
            below = rest_of_sentence(text, headings[-1].start(), headings[-1].end(), self)
            if 0 < below.stop - below.start <= LONGEST:
                return below
        return concluded(text, self) if self.concludes else None

    def write(self, answer: str) -> str:
        """In one line."""
        return one_line(answer)


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
        rf"(?:{usual})(?:[*_:：]|\s?\}}|</(?:b|strong|em|i)>)*{_FOLLOWS}(?=[\s*]*[^\s*])", re.IGNORECASE | re.MULTILINE
    )
