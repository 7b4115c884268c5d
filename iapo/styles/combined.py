"""Answer styles made of others."""

from dataclasses import dataclass

from iapo.ops.checks import check_kinds
from iapo.styles.interface import AnswerStyle, Marked


@dataclass(frozen=True)
class Combined(AnswerStyle):
    """Base of styles that read by several others, and ask for an answer as the first of them does.

    Args:
        styles: the styles.

    Raises:
        ValueError: no styles.
    """

    styles: tuple[AnswerStyle, ...]

    def __post_init__(self) -> None:
        check_kinds(self)
        if not self.styles:
            raise ValueError("styles: got none, want at least one answer style")

    @property
    def opening(self) -> str:  # type: ignore[override]
        """That of the first style."""
        return self.styles[0].opening

    @property
    def closing(self) -> str:  # type: ignore[override]
        """That of the first style."""
        return self.styles[0].closing

    @property
    def needed_closings(self) -> tuple[str, ...]:
        """Those of all styles."""
        return tuple(closing for style in self.styles for closing in style.needed_closings)

    def write(self, answer: str) -> str:
        """As the first style writes it."""
        return self.styles[0].write(answer)


@dataclass(frozen=True)
class FirstThatFits(Combined):
    """The answer by the first of several styles that finds one.

    Args:
        styles: from the most specific to the most general; an answer is asked for as by the first of them.

    Raises:
        ValueError: no styles.
    """

    def find(self, text: str) -> Marked | None:
        """The answer that the first style with one finds."""
        found = (style.find(text) for style in self.styles)
        return next((answer for answer in found if answer is not None), None)


@dataclass(frozen=True)
class LastOf(Combined):
    """The last answer in the text by any of several styles.

    Args:
        styles: the styles; an answer is asked for as by the first of them.

    Raises:
        ValueError: no styles.
    """

    def find(self, text: str) -> Marked | None:
        """The answer that begins last."""
        found = [answer for style in self.styles if (answer := style.find(text)) is not None]
        return max(found, key=lambda answer: answer.start, default=None)
