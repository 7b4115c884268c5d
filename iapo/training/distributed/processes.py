"""The processes of a run: all of them hold all completions, and divide sampling, scoring and forwards between them.

What is small (tokens, scores, information, advantages) is the same on every process, so that group statistics,
denominators, resampling and metrics are computed as in a run of one process. What is expensive is divided.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor

from iapo.ops.checks import check_integer
from iapo.ops.random_state import capture_rng, restore_rng, seed_rng

T = TypeVar("T")


class OtherProcessError(RuntimeError):
    """Another process of the run failed; the message says which, and with what."""


@dataclass(frozen=True)
class Processes:
    """One of the processes of a run, which all call the same methods in the same order.

    More than one need an initialised process group of torch, see `iapo.training.distributed.launch.joined`. All hold
    all completions; where each has completions of its own, as in the trainers of TRL and verl, there are
    `iapo.training.distributed.ranks.Ranks` in their place.

    *Random numbers.* The global generators are in the same state on every process, so that a component that draws from
    them draws the same everywhere. What a process does alone runs inside `own_random`, in a stream of its own.

    Args:
        index: of this process, from 0.
        size: number of processes.

    Raises:
        ValueError: a size below 1, or an index that is not below the size.
    """

    index: int = 0
    size: int = 1

    def __post_init__(self) -> None:
        check_integer("size", self.size)
        check_integer("index", self.index, least=0)
        if self.index >= self.size:
            raise ValueError(f"index: got {self.index}, want 0 to {self.size - 1}, as there are {self.size} processes")

    @property
    def first(self) -> bool:
        """Whether this process writes the run folder, the log and the report."""
        return self.index == 0

    def share(self, count: int) -> range:
        """Of ``count`` things in a row those of this process; shares differ by one at most, and may be empty.

        Example:
            >>> [list(Processes(index, 3).share(4)) for index in range(3)]
            [[0], [1], [2, 3]]
        """
        return range(self.index * count // self.size, (self.index + 1) * count // self.size)

    def gather(self, value: T) -> list[T]:
        """The values of all processes, in their order; they travel by pickle, between processes that trust another."""
        if self.size == 1:
            return [value]
        found: list[Any] = [None] * self.size
        torch.distributed.all_gather_object(found, value)
        return found

    def any(self, flag: bool) -> bool:
        """Whether the flag is set on any process."""
        return any(self.gather(flag))

    def join(self, values: Tensor) -> Tensor:
        """The sum over processes of ``values``, in which each has filled its own places and left 0 in the others."""
        if self.size > 1:
            torch.distributed.all_reduce(values)
        return values

    def add(self, totals: Mapping[str, float]) -> dict[str, float]:
        """The sums over processes of numbers by name, in the order of the first process that has any."""
        parts = self.gather(dict(totals))
        names = dict.fromkeys(name for part in parts for name in part)
        return {name: math.fsum(part.get(name, 0.0) for part in parts) for name in names} if self.size > 1 else parts[0]

    @contextmanager
    def together(self) -> Iterator[None]:
        """A block that fails on all processes if it fails on one.

        No other collective may be inside, such as a forward of sharded weights: those that did not fail would wait.

        Raises:
            OtherProcessError: it failed elsewhere. Where it failed, the error itself is raised.
        """
        if self.size == 1:
            yield
            return
        failure: Exception | None = None
        try:
            yield
        except Exception as error:
            failure = error
        told = self.gather(None if failure is None else f"{type(failure).__name__}: {failure}")
        if failure is not None:
            raise failure
        for index, text in enumerate(told):
            if text is not None:
                raise OtherProcessError(f"process {index} of {self.size} failed: {text}")

    def from_first(self, work: Callable[[], T]) -> T:
        """What ``work`` returns on the first process, which alone calls it; an error there is one of all."""
        value: Any = None
        with self.together():
            if self.first:
                value = work()
        return self.gather(value)[0]

    @contextmanager
    def own_random(self) -> Iterator[None]:
        """A block in a random stream of this process, after which the generators are alike again on all of them.

        The streams follow from the common state, so that a run of the same number of processes repeats them. One
        process alone goes on in the common stream.
        """
        if self.size == 1:
            yield
            return
        seed = int(torch.randint(2**62, ())) + self.index
        common = capture_rng()
        seed_rng(seed)
        try:
            yield
        finally:
            restore_rng(common)


SINGLE = Processes()
"""A run of one process."""
