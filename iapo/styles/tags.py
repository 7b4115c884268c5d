"""Answers and reasoning between tags."""

import re
from dataclasses import dataclass

from iapo.ops.checks import check_kinds
from iapo.styles.boxed import Boxed
from iapo.styles.brackets import ends_in_brace, find_in_brackets
from iapo.styles.combined import FirstThatFits, LastOf
from iapo.styles.interface import AnswerStyle, Marked, Reasoned, ReasoningStyle, check_text
from iapo.styles.lines import Hashes
from iapo.styles.phrase import Phrase

_PHRASE = Phrase(concludes=False)
_MARKS = FirstThatFits((Boxed(), _PHRASE))
"""What marks the answer in a whole response between tags: ``<answer>48+24=72, so the answer is 72.</answer>``."""
_MARKS_OF_LINES = FirstThatFits((Boxed(), LastOf((Hashes(), _PHRASE))))
"""The same where a line begins with ``####``, which are a part of the answer anywhere else: of a picture, say."""
_HASHES = re.compile(r"^[ \t]*#### +(?=[^#\s])", re.MULTILINE)


@dataclass(frozen=True)
class AnswerTags(AnswerStyle):
    """The last closed pair of tags, ``<answer>72</answer>``; of nested pairs the inner one. An empty pair is no answer.

    Where a response stands between the tags, as Hunyuan and Granite write it, the answer is what a box, a line with
    ``####`` in front or a phrase marks in it; without these it is all of it.

    Where a brace ends the opening tag and its partner begins the closing one (``answer{`` and ``}``), braces in the
    answer are balanced if they can be.

    Args:
        opening: the tag that opens the answer.
        closing: the tag that ends it.

    Raises:
        ValueError: an empty tag.

    Example:
        >>> text = "<answer>1</answer> no, <answer>72</answer></answer>"
        >>> found = AnswerTags().find(text)
        >>> text[found.start:found.stop]
        '72'
    """

    opening: str = "<answer>"
    closing: str = "</answer>"

    def __post_init__(self) -> None:
        check_kinds(self)
        check_text("opening", self.opening)
        check_text("closing", self.closing)

    @property
    def needed_closings(self) -> tuple[str, ...]:
        """Its closing."""
        return (self.closing,)

    def find(self, text: str) -> Marked | None:
        """Between the last opening tag that is closed and the first closing tag behind it, or its own brace."""
        if ends_in_brace(self.opening, self.closing):
            balanced = find_in_brackets(text, re.escape(self.opening), self)
            if balanced is not None:
                return balanced
        opening = max(text.rfind(self.closing), 0)
        while (opening := text.rfind(self.opening, 0, opening)) >= 0:
            start = opening + len(self.opening)
            stop = text.index(self.closing, start)
            if text[start:stop].strip():
                found = Marked(opening, start, stop, stop + len(self.closing), self)
                inside = text[start:stop]
                marked = (_MARKS_OF_LINES if _HASHES.search(inside) else _MARKS).find(inside)
                if marked is None or marked.start == marked.stop:
                    return found
                within = marked.moved(start)
                return found._replace(start=within.start, stop=within.stop, style=_Within(self, within.style))
        return None


@dataclass(frozen=True)
class _Within(AnswerStyle):
    """An answer that is marked within tags: ``<answer>So \\boxed{72}.</answer>``.

    Args:
        tags: around the response.
        mark: what marks the answer in it.
    """

    tags: AnswerTags
    mark: AnswerStyle

    @property
    def opening(self) -> str:  # type: ignore[override]
        """The tag and what opens the mark."""
        return self.tags.opening + self.mark.opening

    @property
    def closing(self) -> str:  # type: ignore[override]
        """The end of the mark and the tag."""
        return self.mark.closing + self.tags.closing

    @property
    def needed_closings(self) -> tuple[str, ...]:
        """Those of the tags."""
        return self.tags.needed_closings

    def find(self, text: str) -> Marked | None:
        """As the tags find it."""
        return self.tags.find(text)

    def plain(self, written: str) -> str:
        """As the mark has it."""
        return self.mark.plain(written)

    def write(self, answer: str) -> str:
        """As the mark has it."""
        return self.mark.write(answer)


@dataclass(frozen=True)
class ReasoningTags(ReasoningStyle):
    """Reasoning up to the first closing tag, ``<think>...</think>``, as Qwen3, DeepSeek-R1 and many others write it.

    The opening tag is skipped where a completion begins with it (white space aside); without it the reasoning begins
    with the completion, as it does where a chat template has written the tag. Answers count behind the closing tag. If
    a completion never closes its reasoning, they count anywhere, and the reasoning ends where the answer is opened. If
    it closes it several times (``</think><answer>7</think><answer>7</answer>``), what stands before the last closing
    tag in front of the final answer is reasoning too (`iapo.styles.CompletionStyle.read`): it is measured, and has a
    price, as anything else that could be left out.

    Args:
        opening: the tag that opens the reasoning.
        closing: the tag that ends it.
        opened_by_prompt: whether the prompts end with the opening tag, so that completions must not write it again
            (`iapo.rewards.ThinkAnswerFormat`).

    Raises:
        ValueError: an empty tag.

    Example:
        >>> ReasoningTags().find("<think>1+2=3</think>3")
        Reasoned(start=7, stop=12, behind=20, unfinished=False)
    """

    opening: str = "<think>"
    closing: str = "</think>"
    opened_by_prompt: bool = False

    def __post_init__(self) -> None:
        check_kinds(self)
        check_text("opening", self.opening)
        check_text("closing", self.closing)

    @property
    def ending(self) -> str:  # type: ignore[override]
        """The closing tag."""
        return self.closing

    def find(self, text: str) -> Reasoned:
        """From the opening tag, if the text begins with it, to the first closing tag."""
        begin = len(text) - len(text.lstrip())
        start = begin + len(self.opening) if text.startswith(self.opening, begin) else 0
        stop = text.find(self.closing, start)
        if stop < 0:
            return Reasoned(start, None, start, unfinished=start > 0 or self.opened_by_prompt)
        return Reasoned(start, stop, stop + len(self.closing))
