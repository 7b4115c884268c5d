"""The check that a packed forward means on the model at hand what it should: against the naive forward."""

import torch
from jaxtyping import Int
from torch import Tensor, nn

from iapo.estimators.attention import UnsupportedModelError, packable_attention
from iapo.estimators.packing import needed_probes, probe_prefixes
from iapo.forward import scoring
from iapo.types import Rollout

_TOLERANCE = {torch.float64: 1e-6, torch.float32: 1e-3, torch.float16: 2e-2, torch.bfloat16: 1e-1}
"""Largest difference of a probability between packed and naive forward that rounding explains, by parameter dtype."""


def check_packed(model: nn.Module, rollout: Rollout, blocks: Int[Tensor, "batch block"]) -> None:
    """Compare the packed with the naive forward at three prefixes of the row with the longest reasoning.

    A back end that ignores masks or positions fails silently: probes are numbers of the right size, and wrong. Three
    short forwards find it.

    Args:
        model: a causal language model, possibly wrapped.
        rollout: any rollout of it; one with nothing to probe is not checked.
        blocks: the tokens appended to each prefix of a row.

    Raises:
        UnsupportedModelError: next-token probabilities differ by more than rounding explains; the message gives the
            difference.
    """
    needed = needed_probes(rollout)
    if not bool(needed.any()):
        return
    row = int(needed.sum(1).argmax())
    columns = needed[row].nonzero().flatten()
    columns = columns[[0, len(columns) // 2, -1]].unique()
    one = Rollout(
        prompt_ids=rollout.prompt_ids[row : row + 1],
        prompt_mask=rollout.prompt_mask[row : row + 1],
        completion_ids=rollout.completion_ids[row : row + 1],
        completion_mask=rollout.completion_mask[row : row + 1],
        reasoning_mask=rollout.reasoning_mask[row : row + 1],
        group_ids=rollout.group_ids[row : row + 1],
    )
    block = blocks[row : row + 1]
    with packable_attention(model), scoring(model):
        naive = torch.cat([_naive_probabilities(model, one, block, int(prefix)) for prefix in columns])

    def distance(logits: Tensor) -> Tensor:
        return (logits[:, :, -1].float().softmax(-1) - naive).abs().amax(-1)

    worst = float(probe_prefixes(model, one, block, 1, distance, chunk=len(columns), columns=columns).max())
    tolerance = _TOLERANCE.get(next(model.parameters()).dtype, 1e-1)
    if not worst <= tolerance:
        raise UnsupportedModelError(
            f"{type(model).__name__}: the packed forward differs from the naive one by {worst:.2g} in probability "
            f"(rounding explains {tolerance:.0e}), so this model or its attention back end does not honour the mask or "
            "the positions it is given. Load it with attn_implementation='eager', or use an estimator without a packed "
            "forward (NextTokenEntropy, NoInformation)."
        )


def _naive_probabilities(model: nn.Module, one: Rollout, block: Tensor, prefix: int) -> Tensor:
    prompt = one.prompt_ids[:, one.prompt_mask[0]]
    ids = torch.cat([prompt, one.completion_ids[:, :prefix], block], 1)
    return model(input_ids=ids, attention_mask=torch.ones_like(ids), use_cache=False).logits[:, -1].float().softmax(-1)
