"""The one reader of completions: where they reason and what they answer."""

from dataclasses import dataclass, field, replace
from typing import NamedTuple

from iapo.ops.checks import check_kinds
from iapo.styles.boxed import Boxed
from iapo.styles.combined import FirstThatFits, LastOf
from iapo.styles.interface import AnswerStyle, Marked, ReasoningStyle
from iapo.styles.json_field import JsonField
from iapo.styles.lines import Hashes
from iapo.styles.phrase import Phrase
from iapo.styles.steps import Steps
from iapo.styles.tags import AnswerTags, ReasoningTags

_DEEPEST = 4
"""Braces that a box may have open where its answer was cut."""


class Asked(NamedTuple):
    """The three texts that force an answer: what asks for it, the answer, and what ends it."""

    postfix: str
    answer: str
    closing: str

    @property
    def text(self) -> str:
        """All three."""
        return self.postfix + self.answer + self.closing


class Reading(NamedTuple):
    """A completion's parts, as slices of its text.

    Args:
        reasoning: where it reasons.
        marked: its final answer; ``None``: it gives none.
    """

    reasoning: slice
    marked: Marked | None

    @property
    def answer(self) -> slice | None:
        """The answer as it is written."""
        return None if self.marked is None else slice(self.marked.start, self.marked.stop)

    @property
    def exit(self) -> slice | None:
        """From the end of the reasoning to the end of the answer's closing."""
        return None if self.marked is None else slice(self.reasoning.stop, self.marked.closing)


@dataclass(frozen=True)
class CompletionStyle:
    """How completions reason and answer: reads their texts, and knows the texts that ask for such an answer.

    Rewards, spans, estimators and evaluation read with one of these, so that an answer that is paid for is the answer
    that information is measured about.

    Args:
        reasoning: how they reason.
        answer: how they answer.
        between: what stands between the end of the reasoning and the opening of the answer, usually white space.
        asks: a text that closes the reasoning and opens the answer, in place of the one made of the above.
        ends: a text that ends the answer, in place of the answer style's.
        steps: where a step of the reasoning ends, for estimators that ask step by step.

    Example:
        >>> style = CompletionStyle()
        >>> style.postfix, style.closing, style.answer_in("<think>2+2</think><answer>4</answer>")
        ('</think><answer>', '</answer>', '4')
    """

    reasoning: ReasoningStyle = field(default_factory=ReasoningTags)
    answer: AnswerStyle = field(default_factory=AnswerTags)
    between: str = ""
    asks: str | None = None
    ends: str | None = None
    steps: Steps = field(default_factory=Steps)

    def __post_init__(self) -> None:
        check_kinds(self)

    @property
    def postfix(self) -> str:
        """The text that closes the reasoning, wherever it is stopped, and opens the answer."""
        return self._postfix_of(self.answer)

    @property
    def closing(self) -> str:
        """The text that ends the answer."""
        return self.answer.closing if self.ends is None else self.ends

    def replaced(self, postfix: str | None, closing: str | None) -> "CompletionStyle":
        """The style with the texts that are given in place of its own; ``None`` keeps its own."""
        return replace(
            self,
            asks=self.asks if postfix is None else postfix,
            ends=self.ends if closing is None else closing,
        )

    def read(self, text: str) -> Reading:
        """The parts of a completion; linear in its length, never raising on any text.

        Reasoning that was opened and never ended gives no answer that its place alone marks: it would be whatever the
        completion had come to where it was cut. Behind reasoning that was ended before it began (``<think></think>``,
        as models write it that are told not to think), everything up to an answer is reasoning.

        Args:
            text: without the end-of-sequence token.
        """
        reasoned = self.reasoning.find(text)
        found = self.answer.find(text[reasoned.behind :])
        if found is None or (reasoned.unfinished and not found.announced):
            return _reading(reasoned.start, len(text) if reasoned.stop is None else reasoned.stop, None)
        found = found.moved(reasoned.behind)
        stop = reasoned.stop
        if stop is None:
            ending = self.reasoning.ending + self.between
            stop = found.opening - (len(ending) if text.endswith(ending, reasoned.start, found.opening) else 0)
        else:
            stop = max(stop, text.rfind(self.reasoning.ending, stop, found.opening))
            if not text[reasoned.start : stop].strip() and text[reasoned.behind : found.opening].strip():
                between = len(self.between) if text.endswith(self.between, reasoned.behind, found.opening) else 0
                return _reading(reasoned.behind, found.opening - between, found)
        return _reading(reasoned.start, stop, found)

    def answer_in(self, text: str, lenient: bool = False) -> str | None:
        """The final answer that a completion gives or, leniently, has begun (`begun_in`); ``None`` if there is none."""
        marked = self.read(text).marked
        if marked is None:
            return self.begun_in(text) if lenient else None
        return marked.style.plain(text[marked.start : marked.stop])

    def begun_in(self, text: str) -> str | None:
        """The answer that a completion has opened and not ended, as one that was cut in the middle of it has.

        Example:
            >>> style = CompletionStyle()
            >>> style.begun_in("<think>2+2</think><answer>4</ans"), style.begun_in("<think>2+2")
            ('4', None)
        """
        if self.read(text).marked is not None:
            return None
        for closing in self.answer.needed_closings:
            part = next((n for n in range(len(closing) - 1, 0, -1) if text.endswith(closing[:n])), 0)
            for count in range(1, _DEEPEST + 1):
                whole = text[: len(text) - part] + count * closing
                marked = self.read(whole).marked
                if marked is not None and marked.style.needed_closings and marked.stop > marked.start:
                    return marked.style.plain(whole[marked.start : marked.stop])
        return None

    def asked(self, answer: str) -> Asked:
        """The texts that force an answer, given as it is meant (a reference, say), not as it is written."""
        return Asked(self.postfix, self.answer.write(answer), self.closing)

    def asked_in(self, text: str, reading: Reading) -> Asked | None:
        """The texts that force the answer of a completion, in the style that it is written in; ``None`` without one."""
        marked = reading.marked
        if marked is None:
            return None
        closing = marked.style.closing if self.ends is None else self.ends
        # What was ended before it began is not ended a second time.
        ended = text.endswith(self.reasoning.ending, 0, reading.reasoning.start)
        return Asked(self._postfix_of(marked.style, ended), text[marked.start : marked.stop], closing)

    def _postfix_of(self, answer: AnswerStyle, ended: bool = False) -> str:
        if self.asks is not None:
            return self.asks
        return ("" if ended else self.reasoning.ending) + self.between + answer.opening


MARKED_STYLE = CompletionStyle(
    answer=FirstThatFits(
        (
            AnswerTags(),
            Boxed(),
            AnswerTags("<|begin_of_box|>", "<|end_of_box|>"),
            LastOf((Hashes(), Phrase(concludes=False), JsonField(), JsonField("final_answer"))),
        )
    )
)
"""Reasoning between ``<think>`` tags, or before the answer where there are none; the answer in ``<answer>`` tags, else
in the last box (``\\boxed{}``, else ``<|begin_of_box|>``), else behind the last ``####`` or phrase such as ``The answer
is``, or in a field ``"answer"`` or ``"final_answer"``."""

USUAL_STYLE = replace(MARKED_STYLE, answer=FirstThatFits((MARKED_STYLE.answer, Phrase())))
"""`MARKED_STYLE` and, where nothing marks the answer, what the last line concludes with: ``So the total is 72.`` What
samplers and rewards read by unless they are given another style."""


def _reading(start: int, stop: int, marked: Marked | None) -> Reading:
    return Reading(slice(min(start, stop), stop), marked)
