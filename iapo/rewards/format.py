"""The reward for a completion that is written in the format asked for."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from iapo.rewards.text import completion_text

_TAGS = ("<think>", "</think>", "<answer>", "</answer>")
_SHAPE = re.compile(r"\s*<think>.*</think>\s*<answer>.*</answer>\s*", re.DOTALL)


@dataclass(frozen=True)
class ThinkAnswerFormat:
    """1 if a completion is one ``<think>...</think>`` followed by one ``<answer>...</answer>``, 0 if not.

    Newlines are allowed everywhere; the pattern of the paper's released code allows none inside the reasoning, so that
    long reasoning gets no reward there. Only white space may stand before, between, or after, and ``endings`` at the
    end.

    Args:
        opened_by_prompt: the prompt ends in ``<think>``, so that completions start inside the reasoning.
        endings: texts of end-of-sequence tokens, one of which may stand at the end (``<|im_end|>``) where the
            completions' texts still have them.

    Returns:
        One number per completion.

    Example:
        >>> ThinkAnswerFormat()(["1+1="], ["<think>1+1\\n=2</think><answer>2</answer>"], [[]])
        [1.0]
    """

    opened_by_prompt: bool = False
    endings: tuple[str, ...] = ()

    def __call__(
        self, prompts: Sequence[Any], completions: Sequence[Any], completion_ids: Sequence[Any], **columns: Any
    ) -> list[float | None]:
        """Score a batch: 1 for a completion in the format, else 0."""
        return [self._grade(completion_text(completion)) for completion in completions]

    def _grade(self, completion: str) -> float:
        text = ("<think>" if self.opened_by_prompt else "") + completion.rstrip()
        ending = next((ending for ending in self.endings if text.endswith(ending)), "")
        text = text.removesuffix(ending)
        return float(all(text.count(tag) == 1 for tag in _TAGS) and _SHAPE.fullmatch(text) is not None)
