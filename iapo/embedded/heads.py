"""The same language model with wider attention heads, for engines that have no kernel for its own size of heads.

The embedded model's heads have 24 dimensions; vLLM on a CPU takes 32, 64 and more. As a folder that loads like any
other model::

    python -m iapo.embedded.heads embedded32
"""

import argparse
import copy
import math
from typing import Any

import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel

from iapo.embedded import model_path


def with_head_size(model: PreTrainedModel, size: int = 32) -> PreTrainedModel:
    """A model of the same function whose attention heads have ``size`` dimensions, the new ones 0.

    Rotary pair ``i`` keeps its frequency, because the base becomes ``base ** (size / old)``, and queries grow by
    ``sqrt(size / old)``, because attention divides by the root of the size. What differs is rounding, above all of
    large angles: log-probabilities of the embedded model's completions by at most 2.5e-5 nats. Trained, the two drift
    apart, because the new dimensions learn too.

    Args:
        model: a Llama with the default rotary embedding and no biases in its attention.
        size: an even number of dimensions, not below the model's.

    Returns:
        A new model in evaluation mode, on the device and in the precision of ``model``, which is left as it is.

    Raises:
        ValueError: another kind of model, or a size that is odd or too small.
    """
    config = copy.deepcopy(model.config)
    rope = getattr(config, "rope_parameters", None) or {}
    if config.model_type != "llama" or rope.get("rope_type") != "default" or config.attention_bias:
        raise ValueError(
            f"model: got {config.model_type!r} with rotary embedding {rope.get('rope_type')!r} and attention_bias="
            f"{getattr(config, 'attention_bias', None)}, want a llama with the default one and without biases"
        )
    old = int(config.head_dim)
    if size % 2 or size < old:
        raise ValueError(f"size: got {size}, want an even number of at least {old}")
    config.head_dim = size
    config.rope_parameters = {**rope, "rope_theta": rope["rope_theta"] ** (size / old)}
    weight = next(model.parameters())
    wide = AutoModelForCausalLM.from_config(config, dtype=weight.dtype, attn_implementation="sdpa")
    wide.load_state_dict({name: _widened(name, value, old, size) for name, value in model.state_dict().items()})
    wide.generation_config = copy.deepcopy(model.generation_config)
    return wide.to(weight.device).eval()


def _widened(name: str, weight: Tensor, old: int, size: int) -> Tensor:
    """A weight with heads of ``size`` dimensions; one that has no head is returned as it is."""
    places = torch.cat([torch.arange(old // 2), size // 2 + torch.arange(old // 2)]).to(weight.device)
    if name.endswith(("q_proj.weight", "k_proj.weight", "v_proj.weight")):
        scale = math.sqrt(size / old) if name.endswith("q_proj.weight") else 1.0
        heads = weight.unflatten(0, (-1, old))
        wide = weight.new_zeros(len(heads), size, weight.shape[1])
        wide[:, places] = heads * scale
        return wide.flatten(0, 1)
    if name.endswith("o_proj.weight"):
        heads = weight.unflatten(1, (-1, old))
        wide = weight.new_zeros(len(weight), heads.shape[1], size)
        wide[:, :, places] = heads
        return wide.flatten(1)
    return weight


def main(arguments: list[str] | None = None) -> None:
    """Write the embedded model with wider heads and its tokenizer into a folder."""
    parser = argparse.ArgumentParser(description="Write the embedded model with wider attention heads into a folder.")
    parser.add_argument("folder", help="where the model and its tokenizer are written")
    parser.add_argument("--size", type=int, default=32, help="dimensions of a head")
    given = parser.parse_args(arguments)
    parts: tuple[Any, ...] = (AutoModelForCausalLM, AutoTokenizer)
    model, tokenizer = (part.from_pretrained(model_path()) for part in parts)
    with_head_size(model, given.size).save_pretrained(given.folder)
    tokenizer.save_pretrained(given.folder)


if __name__ == "__main__":
    main()
