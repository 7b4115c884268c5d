"""Which models can honor a packed mask, and the attention back end under which they do."""

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn
from transformers import PreTrainedModel

from iapo.estimators.packed.block_attention import NAME as BLOCK_ATTENTION
from iapo.policy.forward import UnsupportedModelError, cache_argument, unwrap
from iapo.policy.support import check_causal, layer_types

FLEX = "flex_attention"
"""FlexAttention's name in transformers; it takes a block mask."""
_EXACT = ("sdpa", "eager", BLOCK_ATTENTION)
"""Attention implementations that take an additive 4-D mask as it stands."""
_FLEX_DEVICES = ("cuda",)
"""Where FlexAttention stays in force for a model that was loaded with it: where it is a fused kernel that pays."""


@contextmanager
def packable_attention(model: nn.Module) -> Iterator[Any]:
    """Switch to an attention implementation that honors the mask, yield the model's text config, and switch back.

    Raises:
        UnsupportedModelError: recurrent, convolutional, linear or chunked attention layers, positions that cannot be
            given, or a model that is not causal (`check_causal`).
    """
    inner = unwrap(model)
    config = inner.config.get_text_config()
    check_causal(inner)
    _refuse_unmaskable(inner, config)
    before = config._attn_implementation
    wanted = _wanted(inner, before)
    if wanted == before:
        yield config
        return
    inner.set_attn_implementation(wanted)
    try:
        yield config
    finally:
        inner.set_attn_implementation(before)


def _wanted(model: Any, before: str) -> str:
    """What is in force if it is exact; sdpa on a CPU is replaced by the same in query blocks."""
    if before == FLEX and model.device.type in _FLEX_DEVICES:
        return FLEX
    implementation = before
    if before not in _EXACT:
        implementation = "sdpa" if getattr(model, "_supports_sdpa", False) else "eager"
    # The model inside is asked: FSDP2 gives the outer one a new class, whose source module has no attention to find.
    settable = getattr(model, "base_model", model)._can_set_attn_implementation
    in_blocks = implementation == "sdpa" and model.device.type == "cpu" and settable()
    return BLOCK_ATTENTION if in_blocks else implementation


def mask_windows(config: Any) -> dict[str, int | None]:
    """The attention window of each mask that the model takes: ``{"": window}`` for one mask, else by layer type.

    A window of ``None`` is full attention.
    """
    kinds = layer_types(config)
    window = getattr(config, "sliding_window", None)
    if "sliding_attention" in kinds:
        return {"full_attention": None, "sliding_attention": window}
    if kinds or not getattr(config, "use_sliding_window", True):
        return {"": None}
    return {"": window}


def _refuse_unmaskable(model: Any, config: Any) -> None:
    why = _why_not(model, config)
    if why:
        raise UnsupportedModelError(
            f"model: {type(model).__name__} ({config.model_type}) {why}, so a packed forward would be silently wrong. "
            "Use a model with full or sliding-window attention in every layer and positions that can be given, or an "
            "estimator without a packed forward (NextTokenEntropy, NoInformation)."
        )


def _why_not(model: Any, config: Any) -> str:
    """What keeps a model from honoring a packed mask, as far as its class and its config say; empty: nothing."""
    kinds = layer_types(config)
    odd = sorted(kinds - {"full_attention", "sliding_attention"})
    if odd:
        return f"has layers of type {', '.join(odd)}: their state cannot be cut back to a prefix"
    # A hybrid that says that all its layers are attention has no state (granitemoehybrid).
    if getattr(model, "_is_stateful", False) and not kinds:
        return "has recurrent layers: their state cannot be cut back to a prefix"
    if getattr(config, "alibi", False):
        return "biases attention by the distance in the cache (ALiBi), whatever positions it is given"
    if getattr(config, "attn_temperature_tuning", False) and not all(getattr(config, "no_rope_layers", None) or [0]):
        return "scales queries by their index in the cache (attn_temperature_tuning), whatever positions it is given"
    if getattr(config, "keep_window_size", None) is not None:
        return f"leaves out keys of texts longer than {config.keep_window_size} tokens, whatever mask it is given"
    if config.model_type == "gpt_neo":
        return "masks keys by their index in the cache, whatever mask it is given"
    if not isinstance(model, PreTrainedModel):
        return ""  # The signature of a wrapper such as PEFT's does not say what it takes.
    takes = inspect.signature(model.forward).parameters
    if "position_ids" not in takes:
        return "takes no position_ids: tokens behind a prefix would stand at the end of the cache"
    if cache_argument(model) not in takes:
        return "takes no key-value cache (`past_key_values` or `cache`): it cannot go on from a cached prefix"
    return ""
