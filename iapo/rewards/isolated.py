"""A reward function in a process of its own, which may hang or die without the training."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from iapo.ops.checks import check_kinds
from iapo.rewards.worker import Failure, KillableWorker


@dataclass(frozen=True)
class IsolatedReward:
    """The scores of a reward function that is called in a worker process, one completion at a time.

    A call that takes longer than the limit, whatever it does, or that kills its process, ends that process alone; the
    next completion gets a fresh one. Use it for code that may hang in C, exit or crash. What it costs is sending each
    completion with its columns as JSON, well below a millisecond, and the start of the process, once.

    Args:
        file: the source file of the function. It is loaded alone, without a package around it.
        function: the name of a function in it with the signature of `iapo.Reward`, or of a part of it: it gets the
            arguments that it names, lists of one entry, and may be ``async``.
        time_limit: seconds per completion.
        failed: what becomes of a completion whose call fails: an ``"error"`` that names the function and the index, or
            ``"none"``, no score, so that it leaves the update and its group's baseline.

    Raises:
        ValueError: ``file`` is not there, or ``time_limit`` is not positive and finite; on a call, a column that is no
            JSON, or something else than one finite number or ``None``.
        RuntimeError: on a call, the function raised, hung, or killed its process, and ``failed`` is ``"error"``; or it
            cannot be loaded.

    Example:
        >>> import statistics
        >>> IsolatedReward(statistics.__file__, "mean", failed="none")(["q"], ["no number"], [[1]])
        [None]
    """

    file: str | Path
    function: str
    time_limit: float = 10.0
    failed: Literal["error", "none"] = "error"
    _worker: KillableWorker = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        check_kinds(self)
        path = Path(self.file).expanduser()
        if not path.is_file():
            raise ValueError(f"file: got {str(self.file)!r}, want the source file of a reward function")
        if self.failed not in ("error", "none"):
            raise ValueError(f"failed: got {self.failed!r}, want 'error' or 'none'")
        object.__setattr__(self, "_worker", KillableWorker(path, self.function, self.time_limit, by_name=True))

    def __call__(
        self,
        prompts: Sequence[Any],
        completions: Sequence[Any],
        completion_ids: Sequence[Sequence[int]],
        **columns: Any,
    ) -> list[float | None]:
        """Score a batch, one completion after the other."""
        count = len(completions)
        own = {name: values for name, values in columns.items() if isinstance(values, list | tuple)}
        given = {"prompts": prompts, "completions": completions, "completion_ids": completion_ids, **own}
        return [
            self._score(index, {name: [values[index]] for name, values in given.items() if len(values) == count})
            for index in range(count)
        ]

    def close(self) -> None:
        """End the worker process; the next call starts another."""
        self._worker.close()

    def _score(self, index: int, arguments: dict[str, list[Any]]) -> float | None:
        where = f"{self.function} of {self.file}, completion {index}"
        try:
            result = self._worker.apply(arguments)
        except TypeError as error:
            raise ValueError(f"{where}: a column cannot be sent as JSON ({error}); leave it out of the data") from error
        if isinstance(result, Failure):
            if self.failed == "none":
                return None
            raise RuntimeError(f"{where}: {result.message}")
        value = result[0] if isinstance(result, list) and len(result) == 1 else math.nan
        if value is None or (isinstance(value, int | float) and math.isfinite(value)):
            return None if value is None else float(value)
        raise ValueError(f"{where}: got {str(result)[:80]}, want a list of one finite number or None")
