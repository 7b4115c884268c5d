"""Reasoning without marks of its own: everything before the answer."""

from dataclasses import dataclass

from iapo.ops.checks import check_kinds
from iapo.styles.interface import Reasoned, ReasoningStyle


@dataclass(frozen=True)
class BeforeAnswer(ReasoningStyle):
    """Everything before the final answer is reasoning, as in ``2+2=4, so the answer is 4``.

    Args:
        ending: what is written between reasoning that is stopped and the text that asks for the answer.
    """

    ending: str = "\n"

    def __post_init__(self) -> None:
        check_kinds(self)

    def find(self, text: str) -> Reasoned:
        """The whole text, up to the answer."""
        return Reasoned(0, None, 0)
