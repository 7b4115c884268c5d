"""What a sampler knows of its completions: the tokens that end them, and how they reason and answer."""

from collections.abc import Collection, Sequence
from typing import Any

import torch
from jaxtyping import Bool
from torch import Tensor

from iapo.interfaces import Sampler
from iapo.ops.arguments import arguments_named
from iapo.styles import USUAL_STYLE, CompletionStyle
from iapo.types import Rollout


@arguments_named
def eos_ids_of(sampler: Sampler, tokenizer: Any) -> Collection[int]:
    """The tokens that end a sampler's completions: its own ``eos_ids`` if it says them, else the tokenizer's."""
    known: Sequence[int | None] = getattr(sampler, "eos_ids", (tokenizer.eos_token_id,))
    return {token for token in known if token is not None}


@arguments_named
def style_of(sampler: Sampler) -> CompletionStyle:
    """How a sampler's completions reason and answer: its own ``style`` if it has one, else the usual."""
    return getattr(sampler, "style", None) or USUAL_STYLE


def ended(rollout: Rollout, eos_ids: Collection[int]) -> Bool[Tensor, " batch"]:
    """Whether each completion came to its end: as the rollout says, else whether its last token is of ``eos_ids``."""
    if rollout.finished is not None:
        return rollout.finished
    last = (rollout.completion_lengths - 1).clamp(min=0)
    ids = rollout.completion_ids.gather(1, last[:, None])[:, 0]
    ends = torch.tensor(sorted(eos_ids), dtype=ids.dtype, device=ids.device)
    return torch.isin(ids, ends) & (rollout.completion_lengths > 0)


def ended_if_known(rollout: Rollout, eos_ids: Collection[int] | None) -> Bool[Tensor, " batch"] | None:
    """`ended`, or ``None`` where neither the rollout nor any end-of-sequence token says it."""
    return ended(rollout, eos_ids or ()) if eos_ids or rollout.finished is not None else None
