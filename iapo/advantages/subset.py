"""Assign advantages to some completions of a batch as if the others had not been sampled."""

import dataclasses

import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor

from iapo.interfaces import AdvantageAssigner
from iapo.types import AdvantageOutput, TokenSignals


def assign_subset(
    assigner: AdvantageAssigner,
    kept: Bool[Tensor, " batch"],
    rewards: Float[Tensor, " batch"],
    group_ids: Int[Tensor, " batch"],
    completion_mask: Bool[Tensor, "batch token"],
    signals: TokenSignals,
) -> AdvantageOutput:
    """``assigner``'s output on the rows in ``kept``; the others get advantage 0 and leave the loss mask.

    Args:
        assigner: called with the kept rows alone, so that baselines and statistics are theirs.
        kept: the completions that count.
        rewards: and what follows: of the whole batch, as in `iapo.AdvantageAssigner`.

    Returns:
        Advantages, their terms and loss mask of the whole batch; ``assigner``'s metrics and ``iapo/frac_kept``.
    """
    rows = kept.nonzero().flatten()
    fields = {field.name: getattr(signals, field.name) for field in dataclasses.fields(signals)}
    part = assigner(
        rewards[rows],
        group_ids[rows],
        completion_mask[rows],
        TokenSignals(**{name: None if value is None else value[rows] for name, value in fields.items()}),
    )

    def whole(values: Shaped[Tensor, "kept token"]) -> Shaped[Tensor, "batch token"]:
        return torch.zeros_like(completion_mask, dtype=values.dtype).index_copy(0, rows, values)

    metrics = dict(part.metrics)
    if len(kept):
        metrics["iapo/frac_kept"] = float(kept.float().mean())
    return AdvantageOutput(
        advantages=whole(part.advantages),
        loss_mask=whole(part.loss_mask),
        metrics=metrics,
        terms=None if part.terms is None else {name: whole(term) for name, term in part.terms.items()},
    )
