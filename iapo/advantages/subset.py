"""Assign advantages to some completions of a batch as if the others had not been sampled."""

import dataclasses

import torch
from jaxtyping import Bool, Shaped
from torch import Tensor

from iapo.interfaces import AdvantageAssigner
from iapo.types import AdvantageInputs, AdvantageOutput


def assign_subset(
    assigner: AdvantageAssigner, inputs: AdvantageInputs, kept: Bool[Tensor, " batch"]
) -> AdvantageOutput:
    """``assigner``'s output on the rows in ``kept``; the others get advantage 0 and leave the loss mask.

    Args:
        assigner: called with the kept rows only, so that they alone enter baselines and statistics.
        inputs: the whole batch.
        kept: the completions that count.

    Returns:
        Advantages, their terms and loss mask of the whole batch; ``assigner``'s metrics and ``iapo/frac_kept``.
    """
    rows = kept.nonzero().flatten()
    some = inputs.select(rows)
    part = assigner(**vars(some))

    def whole(values: Shaped[Tensor, "kept token"]) -> Shaped[Tensor, "batch token"]:
        return torch.zeros_like(inputs.completion_mask, dtype=values.dtype).index_copy(0, rows, values)

    metrics = dict(part.metrics)
    if len(kept):
        metrics["iapo/frac_kept"] = float(kept.float().mean())
    return dataclasses.replace(part.changed(whole, whole(part.loss_mask)), metrics=metrics)
