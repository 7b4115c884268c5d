"""The two interfaces of a style: where a completion answers, and where it reasons."""

from abc import ABC, abstractmethod
from typing import NamedTuple

from iapo.ops.hooks import Hooked


class Marked(NamedTuple):
    """A marked answer in a text: ``opening <= start <= stop <= closing`` are positions of characters.

    Args:
        opening: where the text that opens the answer begins.
        start: where the answer begins.
        stop: where it ends.
        closing: where the text that ends it has ended.
        style: the style that the answer is written in, which knows how to ask for such an answer.
        announced: whether something marks it as the answer, and not its place alone.
    """

    opening: int
    start: int
    stop: int
    closing: int
    style: "AnswerStyle"
    announced: bool = True

    def moved(self, by: int) -> "Marked":
        """The same answer in a text with ``by`` more characters before it."""
        places = self.opening + by, self.start + by, self.stop + by, self.closing + by
        return Marked(*places, self.style, self.announced)


class AnswerStyle(Hooked, ABC):
    """How a completion gives its final answer. Implementations are frozen dataclasses.

    ``opening`` is the text that asks for an answer of this style, ``closing`` the one that ends it. Both are what an
    answer that is asked for is put between; `find` may read more spellings than these.
    """

    opening: str
    closing: str

    @property
    def needed_closings(self) -> tuple[str, ...]:
        """The texts of which one has to end an answer; none if the end of a line, or of the text, is enough."""
        return ()

    @abstractmethod
    def find(self, text: str) -> Marked | None:
        """The final answer in a text, ``None`` where there is none. Linear in the length, never raising on any text."""

    def plain(self, written: str) -> str:
        """The answer that is written in this way between opening and closing."""
        return written

    def write(self, answer: str) -> str:
        """How an answer is written between opening and closing."""
        return answer


class Reasoned(NamedTuple):
    """The reasoning in a text, by positions of characters.

    Args:
        start: where it begins.
        stop: where the text that ends it begins; ``None``: only the answer ends it.
        behind: from where on an answer is a final one.
        unfinished: whether it was opened and never ended.
    """

    start: int
    stop: int | None
    behind: int
    unfinished: bool = False


class ReasoningStyle(Hooked, ABC):
    """How a completion reasons before it answers. Implementations are frozen dataclasses.

    ``ending`` is the text that ends the reasoning, wherever it is stopped.
    """

    ending: str

    @abstractmethod
    def find(self, text: str) -> Reasoned:
        """The reasoning in a text. Linear in the length, never raising on any text."""


def check_text(name: str, text: str) -> None:
    """Raise ``ValueError`` for an empty text."""
    if not text:
        raise ValueError(f"{name}: got an empty text, want the text that stands there")
