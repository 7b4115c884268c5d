"""The check that the packed forward of the model at hand equals the naive forward."""

import copy
import math
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any
from weakref import WeakKeyDictionary

import torch
from jaxtyping import Int
from torch import Tensor, nn
from transformers import DynamicCache

from iapo.estimators.packed.attention import packable_attention
from iapo.estimators.packed.blocks import Block
from iapo.estimators.packed.packing import check_positions, probe_prefixes
from iapo.estimators.packed.prefix_cache import filling_tokens
from iapo.estimators.packed.prefixes import needed_probes
from iapo.policy.forward import UnsupportedModelError, cache_argument, inference_mode, several_ranks, unwrap
from iapo.policy.ranks import all_reduce_max, is_collective
from iapo.types import Rollout

_TOLERANCE = {torch.float64: 1e-6, torch.float32: 1e-3, torch.float16: 2e-2, torch.bfloat16: 1.5e-1}
"""Total variation between the next token's distributions that rounding explains, by dtype of compute."""
_MOST_COPIED = 2**28
"""Weights of the largest model that is copied to be compared in fp32 as well: the copy takes 1 GiB."""

_GROWTH = 2
"""How many times longer than the longest text that was checked a text may be before the model is checked again."""


class CheckedModels(WeakKeyDictionary[nn.Module, int]):
    """The models that an estimator has checked, each with the number of tokens of the longest text that it checked.

    A model may keep a mask in short texts and not in long ones, so it is checked again when texts have grown. A copy,
    also a pickled one, starts empty.
    """

    def __reduce__(self) -> tuple[type["CheckedModels"], tuple[()]]:
        return CheckedModels, ()

    def check(self, model: nn.Module, rollout: Rollout, ids: Int[Tensor, "batch block"]) -> None:
        """`check_packed`, unless it has passed on this model for texts at least half as long."""
        longest = int(text_lengths(rollout, ids).max()) if len(rollout) else 0
        checked = self.get(model, 0)
        # One rank's texts decide for all, which check together.
        due = all_reduce_max(int(longest > _GROWTH * checked), model)
        if due and check_packed(model, rollout, ids):
            self[model] = max(checked, longest)


def text_lengths(rollout: Rollout, ids: Int[Tensor, "batch block"]) -> Int[Tensor, " batch"]:
    """Tokens of each row's prompt, longest needed prefix and appended ``ids``; 0 for a row with nothing to probe."""
    needed = needed_probes(rollout)
    prefixes = (needed * torch.arange(needed.shape[1], device=needed.device)).amax(1)
    return (rollout.prompt_mask.sum(1) + prefixes + ids.shape[1]).masked_fill(~needed.any(1), 0)


def check_packed(model: nn.Module, rollout: Rollout, ids: Int[Tensor, "batch block"]) -> bool:
    """Compare the packed with the naive forward at three prefixes of the row with the longest text.

    A back end that ignores masks or positions fails silently: probes look plausible and are wrong. Three short
    forwards find it.

    In reduced precision rounding explains so much that a window that is off by one may pass. So they are compared in
    fp32 as well wherever that is possible: without autocast where that was switched on around the call, and by a
    temporary copy of reduced weights in a process of its own, up to 2**28 of them (1 GiB). Larger models with reduced
    weights, and models that switch on autocast inside their forward, are compared in their own precision only: load
    such a model in fp32 once to be sure.

    Args:
        model: a causal language model, possibly wrapped.
        rollout: any rollout of it; one with nothing to probe is not checked.
        ids: tokens appended to each prefix of a row, one after the other.

    Returns:
        Whether there was anything to compare; the same on all ranks.

    Raises:
        UnsupportedModelError: next-token distributions differ by more than rounding explains; the message gives their
            total variation, which is also large where no token has much probability.
    """
    needed = needed_probes(rollout)
    if not all_reduce_max(int(needed.any()), model):
        return False
    _compare(model, rollout, ids)
    with _in_fp32(model) as wide:
        if wide is not None:
            _compare(wide, rollout, ids)
    return True


def _compare(model: nn.Module, rollout: Rollout, ids: Int[Tensor, "batch block"]) -> None:
    """Raise `UnsupportedModelError` unless packed and naive forward agree in the precision in force."""
    needed = needed_probes(rollout)
    row = int(text_lengths(rollout, ids).argmax())
    seen = needed[row].nonzero().flatten() if bool(needed.any()) else needed.new_zeros(1, dtype=torch.long)
    # Always three, so that ranks run as many.
    prefixes = seen[[-1, len(seen) // 2, 0]]
    # A column of padding, which positions must not count.
    one = rollout.select(slice(row, row + 1)).pad(prompt=1)
    at = torch.zeros(1, one.completion_ids.shape[1] + 1, dtype=torch.bool, device=needed.device)
    at[0, prefixes] = True
    block = Block.chain(ids[row : row + 1], kept=1)
    with packable_attention(model) as config, inference_mode(model), _dtypes_of_logits(model) as dtypes:
        check_positions(config, one, prefixes[None], block)
        alone = {int(prefix): _naive_probabilities(model, one, block.ids, int(prefix)) for prefix in prefixes}
        naive = torch.cat(list(alone.values()))

    def distance(logits: Tensor) -> Tensor:
        # The first, not the last: a model that ignores `logits_to_keep` returns more than the one asked for.
        return (logits[:, :, 0].float().softmax(-1) - naive).abs().sum(-1) / 2

    worst = float(probe_prefixes(model, one, block, distance, at, chunk=len(alone)).max())
    tolerance = max(_TOLERANCE.get(dtype, 1.5e-1) for dtype in dtypes)
    if all_reduce_max(int(not worst <= tolerance), model):
        # In fp64 the additive mask of eager attention overflows in fp32 softmax, and padding becomes NaN.
        other = "sdpa" if math.isnan(worst) else "eager"
        raise UnsupportedModelError(
            f"{type(model).__name__}: the packed forward differs from the naive one by {worst:.2g} in total variation "
            f"(rounding explains {tolerance:g}), so this model or its attention back end does not honor the mask or "
            f"the positions it is given. Load it with attn_implementation='{other}', or use an estimator without a "
            "packed forward (NextTokenEntropy, NoInformation)."
        )


@contextmanager
def _in_fp32(model: nn.Module) -> Iterator[nn.Module | None]:
    """The model with computations in fp32, or ``None`` where it computes in fp32 anyway or cannot be made to."""
    weights = list(model.parameters())
    reduced = [weight for weight in weights if weight.dtype in (torch.float16, torch.bfloat16)]
    kind = weights[0].device.type
    if not reduced:
        autocast = torch.is_autocast_enabled(kind)
        with torch.autocast(kind, enabled=False) if autocast else nullcontext():
            yield model if autocast else None
        return
    plain = all(weight.is_floating_point() for weight in weights)
    if several_ranks() or not plain or sum(weight.numel() for weight in weights) > _MOST_COPIED:
        yield None
        return
    with torch.autocast(kind, enabled=False):
        yield copy.deepcopy(model).float()


@contextmanager
def _dtypes_of_logits(model: nn.Module) -> Iterator[set[torch.dtype]]:
    """In what precision the model computes: the weights', and that of the logits where its last layer hands them on.

    There, and not at the end of the forward: autocast inside it (accelerate) and FSDP's mixed precision leave weights
    and outputs in fp32.
    """
    found = {next(model.parameters()).dtype}
    head = getattr(unwrap(model), "get_output_embeddings", lambda: None)()
    if head is None:
        kind = next(model.parameters()).device.type
        yield found | ({torch.get_autocast_dtype(kind)} if torch.is_autocast_enabled(kind) else set())
        return
    hook = head.register_forward_hook(lambda module, inputs, logits: found.add(logits.dtype))
    try:
        yield found
    finally:
        hook.remove()


def _naive_probabilities(model: nn.Module, one: Rollout, ids: Tensor, prefix: int) -> Tensor:
    prompt = one.prompt_ids[:, one.prompt_mask[0]]
    whole = torch.cat([prompt, one.completion_ids[:, :prefix], ids], 1)
    # A long text goes in parts, by a cache of transformers' own: whole, its mask may take the square of its length.
    # Ranks that wait for each other run one forward each.
    width = whole.shape[1]
    tokens = width if is_collective(model) else min(width, filling_tokens(model, width))
    options: dict[str, Any] = {"use_cache": False}
    if tokens < width:
        options = {"use_cache": True, cache_argument(model): DynamicCache(config=unwrap(model).config)}
    for start in range(0, width, tokens):
        seen = torch.ones_like(whole[:, : start + tokens])
        part = whole[:, start : start + tokens]
        logits = model(input_ids=part, attention_mask=seen, logits_to_keep=1, **options).logits
    return logits[:, -1].float().softmax(-1)
