"""Where the steps of a reasoning end: at lines, at sentences, or where patterns say so."""

import re
from dataclasses import dataclass

from iapo.ops.checks import check_kinds

_LINE = re.compile(r"\n\s*(?=\S)")
"""The end of a line, empty lines behind it included."""
_SENTENCE = re.compile(r"(?<!\n\d)(?<!\n\d\d)[.?!]['\")\]*]*\s+(?=\S)|[。？！]")
"""The end of a sentence: its mark, closing quotes and brackets, and white space, which ``3.14`` does not have.

The number of a list entry (``2. Then``) ends none.
"""


@dataclass(frozen=True)
class Steps:
    """How a reasoning is cut into steps: behind every line, every sentence, and every match of some patterns.

    Args:
        lines: whether a line is a step.
        sentences: whether a sentence is a step.
        patterns: regular expressions; a step ends where a match of one of them ends. A match may be empty, as in front
            of a word: ``(?=Wait)``.

    Raises:
        ValueError: no lines, no sentences and no patterns; a pattern that is no regular expression.

    Example:
        >>> Steps().ends("One. Two.\\nThree"), Steps(False, False, (r"=\\s*\\d+",)).ends("2+3=5, so 5+1=6")
        ([5, 10], [5, 15])
    """

    lines: bool = True
    sentences: bool = True
    patterns: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_kinds(self)
        if not (self.lines or self.sentences or self.patterns):
            raise ValueError("lines, sentences, patterns: got False, False, (), want at least one, else no step ends")
        for pattern in self.patterns:
            try:
                re.compile(pattern)
            except re.error as error:
                raise ValueError(f"patterns: got {pattern!r}, want a regular expression ({error})") from error

    def ends(self, text: str) -> list[int]:
        """How many characters there are in front of the end of each step, in order."""
        built_in = [pattern for pattern, wanted in ((_LINE, self.lines), (_SENTENCE, self.sentences)) if wanted]
        every = [*built_in, *map(re.compile, self.patterns)]
        return sorted({match.end() for pattern in every for match in pattern.finditer(text)})
