"""How completions reason and answer, and the text that asks for such an answer; one style a file.

The interfaces are `iapo.styles.AnswerStyle` and `iapo.styles.ReasoningStyle`; `iapo.styles.CompletionStyle` reads with
one of each.
"""

from iapo.styles.agreement import better_style, misfits
from iapo.styles.before_answer import BeforeAnswer
from iapo.styles.boxed import Boxed
from iapo.styles.combined import FirstThatFits, LastOf
from iapo.styles.completion import MARKED_STYLE, USUAL_STYLE, Asked, CompletionStyle, Reading
from iapo.styles.detection import Detected, detect_style
from iapo.styles.interface import AnswerStyle, Marked, Reasoned, ReasoningStyle
from iapo.styles.json_field import JsonField
from iapo.styles.lines import Hashes, LastLine
from iapo.styles.phrase import Phrase
from iapo.styles.steps import Steps
from iapo.styles.tags import AnswerTags, ReasoningTags

__all__ = [
    "MARKED_STYLE",
    "USUAL_STYLE",
    "AnswerStyle",
    "AnswerTags",
    "Asked",
    "BeforeAnswer",
    "Boxed",
    "CompletionStyle",
    "Detected",
    "FirstThatFits",
    "Hashes",
    "JsonField",
    "LastLine",
    "LastOf",
    "Marked",
    "Phrase",
    "Reading",
    "Reasoned",
    "ReasoningStyle",
    "ReasoningTags",
    "Steps",
    "better_style",
    "detect_style",
    "misfits",
]
