"""The reward for a final answer that says the same as the reference."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from iapo.ops.checks import check_integer, check_kinds
from iapo.ops.extras import check_installed
from iapo.rewards.answers import Answer, Expression, Quantity, Words, formulas_of, readings, same
from iapo.rewards.columns import column
from iapo.rewards.text import accepted_answers, judged_texts, normalize
from iapo.rewards.worker import Failure, KillableWorker
from iapo.styles import MARKED_STYLE, CompletionStyle

_INTEGER = re.compile(r"-?[0-9]+")
_SENTENCE_END = re.compile(r"[.!?] \S")
_MOST_WORDS = 30
"""Words that an answer of several sentences may have; more are a solution in which nothing marks the answer."""


@dataclass(frozen=True)
class MathAnswer:
    """1 if a completion's final answer says the same as the reference, 0 if not.

    The final answer is where ``style`` reads it. Alone, without a style, it is what stands in the last ``<answer>``
    tags, else in the last ``\\boxed{}``, else behind the last ``####`` or ``answer is`` or in a field ``"answer"`` or
    ``"final_answer"`` (`iapo.styles.MARKED_STYLE`). A completion without one is wrong, and so is one that was cut
    before its end.

    Answer and reference are read by their kind (`iapo.rewards.answers`): quantities with sign, scale and unit, times
    and dates, lists, sets and intervals, choices, words. Words are compared as text: as a product of letters
    ``Monday`` would equal every anagram. Formulas go to math-verify in a worker process that is killed at the time
    limit, because some short ones (``9^{9^9}``) freeze any process that evaluates them. An answer that takes too long,
    crashes the worker, or exceeds ``longest`` is wrong.

    Args:
        answer_column: the column that holds the reference: an answer, a GSM8K solution ending in ``#### answer``, or a
            solution with the answer in its last ``\\boxed{}``; or several that are right, see
            `iapo.rewards.text.accepted_answers`. A solution of many words in which nothing marks the answer is
            unreadable.
        lenient: count an answer too where the completion was cut before its end (as ``completion_finished`` says, which
            the loop gives), in the middle of the answer too, or where nothing marks the answer: then what math-verify
            finds behind the reasoning.
        time_limit: seconds that a comparison of formulas may compute, however busy the machine is.
        longest: an answer of more characters is wrong without being read, a longer reference counts as unreadable.
        style: where the answer stands. ``None``: the style of the run, if there is one.

    Returns:
        One number per completion; ``None`` for all completions of a *reference* that is empty, too long, or found
        unreadable when one of them had to be compared with it, so that none of them counts in a baseline.
        `unreadable_rows` finds such references before.

    Warns:
        UserWarning: on a call, a comparison took too long, or ended the worker.

    Raises:
        ValueError: a ``time_limit`` that is not positive and finite, ``longest`` below 1, or on a call, a column of
            another length.
        KeyError: on a call, the column is missing.
        ModuleNotFoundError: on a call, math-verify (extra ``train``) is missing.

    Example:
        >>> MathAnswer()(["8 * 9?"], ["<think>8 * 9 = 72</think><answer>72</answer>"], [[]], answer=["#### 72"])
        [1.0]

    References:
        math-verify, https://github.com/huggingface/Math-Verify
    """

    answer_column: str = "answer"
    lenient: bool = False
    time_limit: float = 3.0
    longest: int = 2000
    style: CompletionStyle | None = None
    _worker: KillableWorker = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        check_kinds(self)
        check_integer("longest", self.longest)
        verify = Path(__file__).with_name("verify.py")
        object.__setattr__(self, "_worker", KillableWorker(verify, "verify", self.time_limit, computes=True))

    @property
    def required_columns(self) -> tuple[str, ...]:
        """The columns that a batch must have."""
        return (self.answer_column,)

    def __call__(
        self, prompts: Sequence[Any], completions: Sequence[Any], completion_ids: Sequence[Any], **columns: Any
    ) -> list[float | None]:
        """Score a batch: 1 for an answer equal to its reference, else 0; ``None`` if the reference is unreadable."""
        entries = column(self, columns, self.answer_column, len(completions))
        references = [accepted_answers(entry) for entry in entries]
        pairs = list(zip(judged_texts(completions, columns, self.lenient), references, strict=True))
        known: dict[tuple[str, tuple[str, ...]], float | None] = {}
        for pair in pairs:
            if pair not in known:
                known[pair] = self._grade(*pair)
        unreadable = {wanted for (_, wanted), grade in known.items() if grade is None}
        return [None if pair[1] in unreadable else known[pair] for pair in pairs]

    def unreadable_rows(self, rows: Sequence[Mapping[str, Any]]) -> list[int]:
        """The indices of the rows whose reference cannot be read, for set-up to name them before anything is sampled.

        Args:
            rows: problems, each with the column of the references.
        """
        references = [accepted_answers(row.get(self.answer_column)) for row in rows]
        readable = {wanted: self._is_readable(wanted) for wanted in set(references)}
        return [index for index, wanted in enumerate(references) if not readable[wanted]]

    def in_style(self, style: CompletionStyle) -> "MathAnswer":
        """The reward that reads by ``style``, unless it has a style of its own."""
        return self if self.style is not None else replace(self, style=style)

    def close(self) -> None:
        """End the worker process; the next call that needs one starts another."""
        self._worker.close()

    def _is_readable(self, accepted: tuple[str, ...]) -> bool:
        texts = [normalize(text[: self.longest + 1]) for text in accepted if len(text) <= self.longest]
        means = [meaning for text in texts if (meaning := _wanted(text)) is not None]
        try:
            return any(all(self._ask(formula, None) for formula in formulas_of(meaning)) for meaning in means)
        except _Unanswered:
            return False

    def _grade(self, completion: str, accepted: tuple[str, ...]) -> float | None:
        found, marked = self._final(completion)
        grades = [self._compare(found, marked, reference) for reference in accepted]
        return max((grade for grade in grades if grade is not None), default=None)

    def _compare(self, found: str | None, marked: bool, reference: str) -> float | None:
        wanted = normalize(reference[: self.longest + 1])
        if not wanted or len(reference) > self.longest:
            return None
        if found is None or len(found) > self.longest:
            return 0.0
        given = normalize(found)
        if given == wanted:
            return 1.0
        if marked and _INTEGER.fullmatch(given) and _INTEGER.fullmatch(wanted):
            return float(int(given) == int(wanted))
        meant = _wanted(wanted)
        if meant is None:
            return None
        meanings = readings(given)
        try:
            verdicts = [same(meant, meaning, self._ask) for meaning in meanings]
            if not marked and meanings and isinstance(meanings[0], Words | Expression):
                verdicts.append(self._search(meant, given))
        except _Unanswered as unanswered:
            (failure,) = unanswered.args
            if failure.reason != "error":  # that is an answer which math-verify cannot read
                failure.warn(type(self).__name__, "comparing an answer", self.time_limit)
            return 0.0
        return None if None in verdicts else float(True in verdicts)

    def _search(self, wanted: Answer, text: str) -> bool | None:
        """Whether math-verify finds the wanted number or formula in a text."""
        return self._ask(wanted.formula, text, is_text=True) if isinstance(wanted, Quantity | Expression) else False

    def _ask(self, wanted: str, given: str | None, is_text: bool = False) -> bool | None:
        check_installed("math_verify", "train")
        equal = self._worker.apply([wanted, given, is_text])
        if isinstance(equal, Failure):
            raise _Unanswered(equal)
        return equal

    def _final(self, completion: str) -> tuple[str | None, bool]:
        """The final answer and whether it was marked as one."""
        found = (self.style or MARKED_STYLE).answer_in(completion, self.lenient)
        if found is not None or not self.lenient:
            return found, True
        return completion.rpartition("</think>")[2][-self.longest :], False


def _wanted(reference: str) -> Answer | None:
    """What a reference says; ``None`` if nothing can be read in it, or if it is a solution that marks no answer."""
    found = next(iter(readings(reference)), None)
    is_long = isinstance(found, Words) and len(found.tokens) > _MOST_WORDS
    return None if is_long and _SENTENCE_END.search(reference) else found


class _Unanswered(Exception):  # noqa: N818  (raised and caught in this file alone)
    pass
