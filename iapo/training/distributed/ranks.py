"""Rows that lie on several processes: what is known of all of them, and which of that is one's own."""

from abc import ABC, abstractmethod

from torch import Tensor


class Ranks(ABC):
    """The processes that share a batch, each with as many rows as the others.

    Advantages are relative to groups and to the batch. So rewards and signals of all rows are gathered, each process
    assigns advantages to all of them, alike, and takes its own.

    Unlike the `iapo.training.distributed.processes.Processes` of a run, which all hold all completions and divide the
    work, these are an engine's: it has laid rows out over them, each probes the completions that it holds, and they
    stay there. A batch of theirs may be too large for one process.
    """

    @abstractmethod
    def gather(self, values: Tensor) -> Tensor:
        """The rows of all processes, in their order, padded with 0 (``False``) to the widest."""

    @abstractmethod
    def own(self, values: Tensor, rows: int) -> Tensor:
        """Of the rows of all processes those of this one.

        Args:
            values: a row for each row of all processes.
            rows: number of rows of this process.
        """


class Alone(Ranks):
    """One process, which has all rows."""

    def gather(self, values: Tensor) -> Tensor:
        """The values themselves."""
        return values

    def own(self, values: Tensor, rows: int) -> Tensor:
        """The values themselves."""
        return values


ALONE = Alone()
"""One process, which has all rows."""
