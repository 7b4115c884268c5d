"""The reward for a final answer that is spelled like the reference."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from iapo.ops.checks import check_integer, check_kinds
from iapo.ops.written_values import written_value
from iapo.rewards.columns import column
from iapo.rewards.text import accepted_answers, judged_texts, named_answers, normalize, reference_answer
from iapo.styles import CompletionStyle

_SOLUTION = re.compile(r"\s*[^#\s].*\n####\s*[^#\s][^\n]*\s*", re.DOTALL)
"""A solution of GSM8K: text, and a last line with the answer."""


@dataclass(frozen=True)
class ExactAnswer:
    """1 if a completion's final answer is the reference, 0 if not or without one.

    Both are compared after `iapo.rewards.text.normalize`; a reference may list several spellings
    (`iapo.rewards.text.accepted_answers`), be the text of a mapping that names it, or a solution of GSM8K with
    ``####``. For generated tasks with one spelling per answer: no mathematics, no worker process, no further package.

    Args:
        answer_column: the column that holds the reference.
        longest: an answer of more characters is wrong without being read.
        lenient: count an answer too where the completion was cut before its end (as ``completion_finished`` says, which
            the loop gives), in the middle of the answer too, or where nothing marks the answer: then the whole text is
            the answer.
        style: where the answer stands; ``None``: the style of the run, and alone the last ``<answer>`` tags.

    Returns:
        One number per completion; ``None`` where the reference is empty.

    Raises:
        ValueError: ``longest`` is not positive, or on a call, the column has another length.
        KeyError: on a call, the column is missing.

    Example:
        >>> ExactAnswer()(["1+1="], ["<think>1+1</think><answer> 2 </answer>"], [[]], answer=["2"])
        [1.0]
    """

    answer_column: str = "answer"
    longest: int = 2000
    lenient: bool = False
    style: CompletionStyle | None = None

    def __post_init__(self) -> None:
        check_kinds(self)
        check_integer("longest", self.longest)

    @property
    def required_columns(self) -> tuple[str, ...]:
        """The columns that a batch must have."""
        return (self.answer_column,)

    def __call__(
        self, prompts: Sequence[Any], completions: Sequence[Any], completion_ids: Sequence[Any], **columns: Any
    ) -> list[float | None]:
        """Score a batch: 1 for an answer equal to its reference, else 0; ``None`` where the reference is empty."""
        references = column(self, columns, self.answer_column, len(completions))
        texts = judged_texts(completions, columns, self.lenient)
        return [self._grade(*pair) for pair in zip(texts, references, strict=True)]

    def unreadable_rows(self, rows: Sequence[Mapping[str, Any]]) -> list[int]:
        """The indices of the rows whose reference is empty or cannot be read as a text."""
        return [index for index, row in enumerate(rows) if not _spellings(row.get(self.answer_column))]

    def in_style(self, style: CompletionStyle) -> "ExactAnswer":
        """The reward that reads by ``style``, unless it has a style of its own."""
        return self if self.style is not None else replace(self, style=style)

    def _grade(self, completion: str, reference: Any) -> float | None:
        wanted = _spellings(reference)
        if not wanted:
            return None
        marked = (self.style or CompletionStyle()).answer_in(completion, self.lenient)
        given = completion if marked is None and self.lenient else marked
        return float(given is not None and len(given) <= self.longest and normalize(given) in wanted)


def _spellings(reference: Any) -> set[str]:
    """How an answer may be spelled, after normalization."""
    if not isinstance(reference, str):
        texts = accepted_answers(reference)
    elif not accepted_answers(reference):
        texts = ()
    elif _SOLUTION.fullmatch(reference):
        texts = (reference, reference_answer(reference))
    elif isinstance(written_value(reference), list | set):
        texts = (reference,)  # the answer may be a list
    else:
        marked = CompletionStyle().answer_in(f"<answer>{reference}</answer>")  # in a box, say, as completions are read
        texts = (reference, *named_answers(reference), *([] if marked is None else [marked]))
    return {normalize(text) for text in texts} - {""}
