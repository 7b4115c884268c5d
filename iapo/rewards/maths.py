"""Is the final answer the reference answer, as mathematics?"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from iapo.rewards.text import completion_text, last_answer, last_boxed, normalise, reference_answer
from iapo.rewards.worker import Failure, KillableWorker


@dataclass(frozen=True)
class MathAnswer:
    """1 if a completion's final answer equals the reference (math-verify), 0 if not.

    The final answer is what stands in the last ``<answer>`` tags, else in the last ``\\boxed{}``, else, unless
    ``tagged_only``, what math-verify finds behind the reasoning. Equal spelling is settled at once; everything else
    goes to a worker process that is killed at the time limit, because some short expressions (``9^{9^9}``) freeze any
    process that evaluates them. An answer that takes too long, crashes the worker, or exceeds ``longest`` is wrong.

    Args:
        answer_column: the column that holds the reference: an answer, or a GSM8K solution ending in ``#### answer``.
        tagged_only: count an answer without tags or box as wrong.
        time_limit: seconds per answer.
        longest: characters beyond which an answer is wrong without being read.

    Returns:
        One number per completion; ``None`` where the *reference* is empty or cannot be read, so that the problem
        says nothing about any completion.

    Raises:
        ValueError: ``time_limit`` or ``longest`` is not positive.
        ModuleNotFoundError: on a call, math-verify (extra ``train``) is missing.

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
        """Score a batch; see the class."""
        references = columns[self.answer_column]
        return [self._judge(completion_text(c), str(r)) for c, r in zip(completions, references, strict=True)]

    def _judge(self, completion: str, reference: str) -> float | None:
        wanted = normalise(reference_answer(reference))
        if not wanted:
            return None
        given, marked = self._final(completion)
        if given is None or len(given) > self.longest:
            return 0.0
        given = normalise(given)
        if given == wanted:
            return 1.0
        if not given:
            return 0.0
        if given.isdigit() and wanted.isdigit():
            return float(given.lstrip("0") == wanted.lstrip("0"))
        if find_spec("math_verify") is None:
            raise ModuleNotFoundError("math_verify is missing: install the extra, pip install 'iapo[train]'")
        result = self._worker.apply([wanted, given, marked])
        if isinstance(result, Failure):
            return 0.0
        return None if result is None else float(result)

    def _final(self, completion: str) -> tuple[str | None, bool]:
        """The final answer and whether it was marked as one."""
        tagged = last_answer(completion)
        boxed = tagged if tagged is not None else last_boxed(completion)
        if boxed is not None:
            return boxed, True
        if self.tagged_only:
            return None, False
        return completion.rpartition("</think>")[2][-self.longest :], False
