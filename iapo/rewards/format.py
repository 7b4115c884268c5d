"""The reward for a completion that is written in the format asked for."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from iapo.ops.checks import check_kinds
from iapo.rewards.text import completion_text
from iapo.styles import AnswerTags, CompletionStyle, ReasoningTags


@dataclass(frozen=True)
class ThinkAnswerFormat:
    """1 if a completion is one ``<think>...</think>`` and one ``<answer>...</answer>`` with an answer, 0 if not.

    Newlines are allowed everywhere; the pattern of the paper's released code allows none inside the reasoning, so that
    long reasoning gets no reward there. Only white space may stand before, between, or after, and ``endings`` at the
    end.

    In another style its own tags take their place. Reasoning without tags asks for none; an answer without tags must
    be there, behind the reasoning, and text may stand around it.

    Args:
        opened_by_prompt: the prompt ends in ``<think>``, so that completions start inside the reasoning.
        endings: texts of end-of-sequence tokens, one of which may stand at the end (``<|im_end|>``) where the
            completions' texts still have them.
        style: how completions reason and answer; ``None``: the style of the run, and alone the tags above.

    Returns:
        One number per completion.

    Example:
        >>> ThinkAnswerFormat()(["1+1="], ["<think>1+1\\n=2</think><answer>2</answer>"], [[]])
        [1.0]
    """

    opened_by_prompt: bool = False
    endings: tuple[str, ...] = ()
    style: CompletionStyle | None = None

    def __post_init__(self) -> None:
        check_kinds(self)

    def __call__(
        self, prompts: Sequence[Any], completions: Sequence[Any], completion_ids: Sequence[Any], **columns: Any
    ) -> list[float | None]:
        """Score a batch: 1 for a completion in the format, else 0."""
        return [self._grade(completion_text(completion)) for completion in completions]

    def in_style(self, style: CompletionStyle) -> "ThinkAnswerFormat":
        """The reward for the format of ``style``, unless it has a style of its own."""
        return self if self.style is not None else replace(self, style=style)

    def _grade(self, completion: str) -> float:
        style = self.style or CompletionStyle()
        reasoning, answer = style.reasoning, style.answer
        shape, tags, text = "", [], completion.rstrip()
        if isinstance(reasoning, ReasoningTags):
            tags += [reasoning.opening, reasoning.closing]
            shape = rf"\s*{re.escape(reasoning.opening)}.*{re.escape(reasoning.closing)}"
            text = (reasoning.opening if self.opened_by_prompt or reasoning.opened_by_prompt else "") + text
        else:
            shape = ".*"
        if isinstance(answer, AnswerTags):
            tags += [answer.opening, answer.closing]
            shape += rf"\s*{re.escape(answer.opening)}.*{re.escape(answer.closing)}\s*"
        else:
            shape += ".*"
        ending = next((ending for ending in self.endings if text.endswith(ending)), "")
        text = text.removesuffix(ending)
        once = all(text.count(tag) == 1 for tag in tags) and re.fullmatch(shape, text, re.DOTALL) is not None
        return float(once and style.answer_in(text) is not None)
