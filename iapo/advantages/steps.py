"""Steps of the reasoning for assigners: up to a token that ends one, or of a given length."""

import torch
from jaxtyping import Bool
from torch import Tensor

from iapo.ops.steps import Steps, steps_of
from iapo.types import AdvantageInputs

Ids = tuple[int, ...]


def steps_by(inputs: AdvantageInputs, mask: Bool[Tensor, "batch token"], size: int | None, after_ids: Ids) -> Steps:
    """Steps of the masked tokens that end behind a token of ``after_ids``, and after ``size`` tokens at the latest.

    Args:
        inputs: with ``signals.completion_ids`` if there are any ``after_ids``.
        mask: as in `iapo.ops.steps.steps_of`.
        size: as in `iapo.ops.steps.steps_of`.
        after_ids: ids of the tokens that end a step, such as a newline; may be empty.
    """
    if not after_ids:
        return steps_of(mask, size)
    ids = inputs.signals.completion_ids
    assert ids is not None
    return steps_of(mask, size, torch.isin(ids, torch.tensor(after_ids, device=ids.device)))


def read_by(after_ids: Ids) -> frozenset[str]:
    """The signals that `steps_by` reads."""
    return frozenset({"completion_ids"}) if after_ids else frozenset()
