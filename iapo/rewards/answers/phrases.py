"""What stands around an answer and says nothing: phrases in front, quotation, a point behind."""

import re

from iapo.rewards.answers.moment import MONTH
from iapo.rewards.answers.notation import group_end

_LINKS = (
    r"(?:(?:so|thus|hence|therefore|then|finally|ok|okay|well|in conclusion|to conclude|i\.e\.|that is|we get|we have|"
    r"we find|this gives|which gives)\b(?:\s*[,:])?\s*)"
)
_IS = r"(?:is|are|was|were|equals|will be|would be|should be|must be|comes (?:out )?to|turns out to be)"
_NO_OTHER = (
    r"(?![^,;]*\d[^,;]*(?:[,;]|\band\b)\s*(?:the\s+)?[A-Za-z]{3,}(?:\s+[A-Za-z']+){0,3}?\s*"
    rf"(?:[:=]|\b{_IS}\b)\s*[-$\\\d])"
)
"""What is measured is the name of one of several answers where another follows: ``mean = 4, median = 5``."""
_KINDS = (
    r"(?:(?:the|my|our|your|this|its|her|his|their|final|correct|right|total|exact|required|overall|best|numerical|only|"
    r"maximum|minimum|maximal|minimal|largest|smallest|greatest|least|"
    r"possible|real)\s+)*(?:answers?|results?|solutions?|values?|number|option|choice|conclusion|winner|output|roots?|limit|slope|derivative|list|"
    r"array|order|sequence|set|point|vertex|center|coordinates|interval|domain|equation|matrix|"
    rf"{_NO_OTHER}(?:total|sum|amount|cost|price|area|volume|perimeter|length|distance|probability|average|mean|range|ratio|count|"
    r"product|difference|quotient|remainder))(?:\s+(?:of|for|to|in)(?:\s+(?!is\b|are\b)[A-Za-z$']+){1,6}?)?"
)
_ELSEWHERE = (
    r"(?:(?:la|le|el|il|a|die)\s+)?(?:respuesta|réponse|antwort|resposta|risposta|ответ|答案|正解|答え?|정답|답|đáp\s+án)"
    r"(?:\s+(?:finale?|correcta?))?\s*(?:[:=是为は은]|\b(?:es|est|ist|è|é|là)\b)\s*:?"
)
"""``The answer is`` in other languages."""
_PRONOUN = r"(?:it|this|that|there|they|he|she|these|those|which)"
_ABOUT = (
    r"(?:approximately|approx\.?|about|around|roughly|exactly|precisely|simply|just|only|equal to|a total of|in total|"
    rf"on\s+(?=[a-z]{{3,6}}day\b|(?:the\s+\d+(?:st|nd|rd|th)\s+of\s+)?(?:{MONTH})\b)|"
    r"(?:for\s+)?all\s+(?:(?:positive|real)\s+)?(?:integers|numbers|values)?\s*(?=[a-z]\s*(?:[<>]|\\[gl]eq))|"
    r"at\s+(?=\()|the\s+(?:point|vector|interval|set|ordered\s+(?:pair|triple))\b|"
    r"(?:the\s+)?odds\s+(?:of|are)|called|known\s+as|=|≈|~|\\sim)"
)
_ARROWS = r"\#{2,6}\s*|->\s*|=>\s*|\\(?:Rightarrow|implies|therefore|to|rightarrow)\b\s*|\*\s+(?=[A-Za-z]{2}|\d)"
_LEAD = re.compile(
    rf"(?:{_LINKS})*(?:{_KINDS}\s*(?:->|=>|[:=≈]+|\b{_IS}\b\s*:?)"
    r"|(?:[A-Za-z]|\\[a-z]+)\s+(?!.*[,;]\s*(?:and\s+)?[A-Z]\s+is\b)(?:is(?!\s+(?:the\s+)?(?:correct|right)\b)|equals|(?:must|should|will)\s+be)\b"
    rf"|{_ELSEWHERE}"
    rf"|{_PRONOUN}(?:'s|\s+{_IS})\b\s*:?"
    r"|.*,\s*(?:which|that)\s+(?:makes|gives|leaves|totals)(?=\s+(?:a\s+total\s+of\s+)?[-$\d])"
    r"|.*,\s*(?:so\s+)?we\s+(?:get|have|find|obtain|see\s+that)(?=\s)"
    r"|.*[;,.]\s*(?:so\s+|thus\s+)?(?:the|my)\s+(?:(?:final|correct|right)\s+)?answer\s+is\b"
    r"|[^,;=]*\brounds?\s+(?:(?:up|down|off)\s+)?to(?=\s+[-$\d]))\s*",
    re.IGNORECASE,
)
_LEADING = re.compile(rf"(?:{_LINKS}|{_ARROWS}|{_ABOUT}\s*(?=\S))+", re.IGNORECASE)
_PAIRS = tuple(
    re.compile(pattern)
    for pattern in (
        r"'([^']+)'",
        r'"([^"]+)"',
        r"'{2,3}(.+)'{2,3}",
        r"[「«](.+)[」»]",
        r"<answer>(.*)</answer>",
    )
)
_BEHIND = re.compile(
    r"(?<![.,;:?。\s])(?<!です)(?:\s*[.,;:?。]|(?<=\d)\s*\\ldots|です|입니다|(?<=[A-Za-z]{2})!|(?<=[\d)}])\s+only|(?<=\S)\s*\(\s*=[^()]*\)"
    r"|\s*\(?(?:a\s+)?(?:double|triple|repeated)\s+root\)?|(?:,|\s)\s*\(?with\s+multiplicity\s+\w+\)?)+$"
)
_REASON = re.compile(
    r"([^\s,;(]+|(?=[^,;(]*\d)[^,;(]+?)(?:(?:\s*[,;(]\s*|\s+)because|\s*[,;(]\s*(?:since|not|or\s+equivalently)"
    r"|\s*[,;(]\s*(?:which\s+is\s+)?(?:attained|achieved|reached)\s+(?:at|when|for|if|by)"
    r"|\s*[,;(]?\s*(?:when\s+)?rounded\s+(?:(?:up|down|off)\s+)?"
    r"(?:from|to\s+(?:the\s+nearest|\w+\s+(?:decimal|significant))))\b.*",
    re.IGNORECASE,
)
"""A number, or one word, and why it is the answer, what is not, where it is attained, or how it was rounded."""
_PLACE = re.compile(
    r"((?:[A-Za-z\s]+\s(?:is|of)\s+)?(?=[^\s,;(]*\d)[^\s,;(]+)\s*[,;(]?\s*(?:at|when)\s+[a-z]\s*=\s*[^\s,;]+",
    re.IGNORECASE,
)
"""A number and where it is one: ``the minimum is 7, at x = 2``."""
_ASIDE = re.compile(r"([^.]*[^.\s])\.\s*\([A-Z][^()]*\)")
"""A sentence in brackets behind the answer's own."""
_BOXED = re.compile(r"\\(?:boxed|fbox|framebox)\s*\{")
_MOST_LAYERS = 10


def undressed(text: str) -> str:
    r"""The answer alone, of a text in the notation of `iapo.rewards.answers.notation.plain`.

    Example:
        >>> undressed("So the final answer is 72."), undressed(r"The answer is \boxed{72}"), undressed("'Bob'")
        ('72', '72', 'Bob')
    """
    boxes = list(_BOXED.finditer(text))
    if boxes and (end := group_end(text, boxes[-1].end() - 1)) is not None:
        text = text[boxes[-1].end() : end - 1]
    for _ in range(_MOST_LAYERS):
        before = text
        text = _BEHIND.sub("", text.strip())
        for remark in (_REASON, _PLACE, _ASIDE):
            if (found := remark.fullmatch(text)) is not None:
                text = found[1]
        for pair in _PAIRS:
            if (found := pair.fullmatch(text)) is not None:
                text = found[1]
        for lead in (_LEAD, _LEADING):
            if (found := lead.match(text)) is not None and found.end() < len(text):
                text = text[found.end() :]
        text = _single(text.strip())
        if text == before:
            break
    return text


def _single(text: str) -> str:
    """Without brackets around all of it, if they hold one thing: ``(72)``, but neither ``(1, 2)`` nor ``(A)``."""
    for opening, pair in (("\\{", "{}"), ("{", "{}"), ("(", "()"), ("[", "[]")):
        if not text.startswith(opening):
            continue
        inner = text[len(opening) : -1].removesuffix("\\") if opening == "\\{" else text[1:-1]
        one = group_end(text, len(opening) - 1, pair) == len(text) and not re.search(r"[,;]|\\\\", inner)
        return inner.strip() if one and not re.fullmatch(r"\s*[A-Za-z]?\s*", inner) else text
    return text
