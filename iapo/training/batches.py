"""A step's completions in micro-batches, as many on every rank that calls the model together with others."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Int
from torch import Tensor, nn

from iapo.policy.ranks import all_reduce_max
from iapo.training.distributed.processes import SINGLE, Processes
from iapo.types import Rollout


@dataclass(frozen=True, eq=False)
class MicroBatch:
    """Completions of one forward.

    Args:
        rows: their places in the step's rollout.
        counts: ``False`` for a row that stands in where a rank has fewer micro-batches than another: the model is
            called on it, and nothing of that is kept.
        learns: whether there is a backward.
    """

    rows: Int[Tensor, " rows"]
    counts: bool = True
    learns: bool = True


def batches_of_update(
    model: nn.Module,
    rollout: Rollout,
    micro_batch: int,
    learns: Bool[Tensor, " batch"],
    processes: Processes = SINGLE,
) -> Sequence[MicroBatch]:
    """All completions: first those that nothing is learned from, in micro-batches without a backward, then the others.

    Where nothing is learned from any, all have one: the optimizer refuses a gradient of 0, and says so.

    Args:
        model: the policy.
        rollout: the completions.
        micro_batch: rows of a micro-batch.
        learns: of `iapo.training.learning.learned_from`; the same on every rank.
        processes: rows are dealt to them in turn.
    """
    learns = learns if bool(learns.any()) else torch.ones_like(learns)
    return [
        MicroBatch(each.rows, each.counts, has)
        for has in (False, True)
        for each in batches_on_ranks(model, rollout, micro_batch, learns == has, processes)
    ]


def batches_on_ranks(
    model: nn.Module,
    rollout: Rollout,
    micro_batch: int,
    among: Bool[Tensor, " batch"] | None = None,
    processes: Processes = SINGLE,
) -> Sequence[MicroBatch]:
    """As `by_length`, and as many micro-batches on every rank that calls the model together with this one."""
    batches = by_length(rollout, micro_batch, among, processes)
    stands_in = torch.zeros(1, dtype=torch.long, device=rollout.group_ids.device)
    missing = all_reduce_max(len(batches), model) - len(batches)
    return [MicroBatch(rows) for rows in batches] + [MicroBatch(stands_in, counts=False)] * missing


def by_length(
    rollout: Rollout,
    micro_batch: int,
    among: Bool[Tensor, " batch"] | None = None,
    processes: Processes = SINGLE,
) -> Sequence[Int[Tensor, " rows"]]:
    """Rows in micro-batches, longest completions first, so that little of a micro-batch is padding.

    Args:
        rollout: the completions.
        micro_batch: rows of a micro-batch.
        among: the rows that are wanted; ``None``: all.
        processes: rows are dealt to them in turn, so that each gets long ones and short ones.
    """
    order = rollout.completion_lengths.argsort(descending=True, stable=True)
    if among is not None:
        order = order[among[order]]
    return [batch for batch in order[processes.index :: processes.size].split(micro_batch) if len(batch)]
