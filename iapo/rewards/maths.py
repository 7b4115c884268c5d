"""The reward for a final answer that is mathematically equal to the reference."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from iapo.rewards.scores import column
from iapo.rewards.text import completion_text, last_answer, last_boxed, normalize, reference_answer
from iapo.rewards.worker import Failure, KillableWorker

_WORDS = re.compile(r"[^\W\d_]{3,}(?: [^\W\d_]+)*")
_TEXT_COMMAND = re.compile(r"\\(?:text|textbf|mathrm)\s*\{([^{}]*)\}")


@dataclass(frozen=True)
class MathAnswer:
    """1 if a completion's final answer equals the reference (math-verify), 0 if not.

    The final answer is what stands in the last ``<answer>`` tags, else in the last ``\\boxed{}``, else, unless
    ``tagged_only``, what math-verify finds behind the reasoning. Equal spelling is settled at once, and so is a
    reference of words (``Monday``: as a product of letters it would equal every anagram). Everything else goes to a
    worker process that is killed at the time limit, because some short expressions (``9^{9^9}``) freeze any process
    that evaluates them. An answer that takes too long, crashes the worker, or exceeds ``longest`` is wrong.

    Args:
        answer_column: the column that holds the reference: an answer, a GSM8K solution ending in ``#### answer``, or a
            solution with the answer in its last ``\\boxed{}``.
        tagged_only: count an answer without tags or box as wrong.
        time_limit: seconds per answer.
        longest: an answer of more characters is wrong without being read, a longer reference counts as unreadable.

    Returns:
        One number per completion; ``None`` for all completions of a *reference* that is empty, too long, or found
        unreadable when one of them had to be compared with it, so that none of them counts in a baseline.

    Raises:
        ValueError: ``time_limit`` or ``longest`` is not positive, or on a call, the column has another length.
        KeyError: on a call, the column is missing.
        ModuleNotFoundError: on a call, math-verify (extra ``train``) is missing.

    Example:
        >>> MathAnswer()(["8 * 9?"], ["<think>8 * 9 = 72</think><answer>72</answer>"], [[]], answer=["#### 72"])
        [1.0]

    References:
        math-verify, https://github.com/huggingface/Math-Verify
    """

    answer_column: str = "answer"
    tagged_only: bool = False
    time_limit: float = 3.0
    longest: int = 2000
    _worker: KillableWorker = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.longest < 1:
            raise ValueError(f"longest: got {self.longest}, want at least 1")
        verify = Path(__file__).with_name("verify.py")
        object.__setattr__(self, "_worker", KillableWorker(verify, "verify", self.time_limit))

    @property
    def required_columns(self) -> tuple[str, ...]:
        """The columns that a batch must have."""
        return (self.answer_column,)

    def __call__(
        self, prompts: Sequence[Any], completions: Sequence[Any], completion_ids: Sequence[Any], **columns: Any
    ) -> list[float | None]:
        """Score a batch: 1 for an answer equal to its reference, else 0; ``None`` if the reference is unreadable."""
        entries = column(self, columns, self.answer_column, len(completions))
        references = ["" if entry is None else reference_answer(str(entry)) for entry in entries]
        pairs = list(zip(completions, references, strict=True))
        grades = [self._grade(completion_text(completion), reference) for completion, reference in pairs]
        unreadable = {reference for reference, grade in zip(references, grades, strict=True) if grade is None}
        return [None if r in unreadable else grade for r, grade in zip(references, grades, strict=True)]

    def close(self) -> None:
        """End the worker process; the next call that needs one starts another."""
        self._worker.close()

    def _grade(self, completion: str, reference: str) -> float | None:
        wanted = normalize(reference[: self.longest + 1])
        if not wanted or len(reference) > self.longest:
            return None
        found, marked = self._final(completion)
        if found is None or len(found) > self.longest:
            return 0.0
        given = normalize(found)
        if given == wanted:
            return 1.0
        if not given:
            return 0.0
        if marked and given.isdigit() and wanted.isdigit():
            return float(given.lstrip("0") == wanted.lstrip("0"))
        words = _TEXT_COMMAND.sub(r"\1", wanted)
        if _WORDS.fullmatch(words):
            given_words = _TEXT_COMMAND.sub(r"\1", given).strip(" .").casefold()
            return float(given_words == words.casefold())
        if find_spec("math_verify") is None:
            raise ModuleNotFoundError("math_verify is missing: install the extra, pip install 'iapo[train]'")
        equal = self._worker.apply([wanted, given, marked])
        if isinstance(equal, Failure):
            return 0.0
        return None if equal is None else float(equal)

    def _final(self, completion: str) -> tuple[str | None, bool]:
        """The final answer and whether it was marked as one."""
        tagged = last_answer(completion)
        boxed = tagged if tagged is not None else last_boxed(completion)
        if boxed is not None:
            return boxed, True
        if self.tagged_only:
            return None, False
        return completion.rpartition("</think>")[2][-self.longest :], False
