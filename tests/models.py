"""Tiny models with random weights, of the families that the library is exact on, for tests."""

from collections.abc import Callable
from typing import Any

import torch
from hypothesis import strategies as st
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel

VOCAB = 31

FAMILIES: dict[str, dict[str, object]] = {
    "llama": {},
    "qwen2": {},
    "qwen3": {"head_dim": 8},
    "gpt2": {},
}


def tiny_model(
    family: str, seed: int = 0, layers: int = 2, heads: int = 4, kv_heads: int = 2, **extra: object
) -> PreTrainedModel:
    """A model of ``family`` with weights large enough that its distributions are far from uniform."""
    if family == "gpt2":
        shape = {"n_embd": 8 * heads, "n_layer": layers, "n_head": heads, "n_positions": 256}
    else:
        shape = {
            "hidden_size": 8 * heads,
            "intermediate_size": 48,
            "num_hidden_layers": layers,
            "num_attention_heads": heads,
            "num_key_value_heads": kv_heads,
            "max_position_embeddings": 256,
        }
    special = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
    settings = {"vocab_size": VOCAB, **shape, **special, **FAMILIES.get(family, {}), **extra}
    config = AutoConfig.for_model(family, **settings)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
        for parameter in model.parameters():
            if parameter.ndim > 1:
                torch.nn.init.normal_(parameter, std=0.3)
    return model.eval()


class Bent(nn.Module):
    """A model inside another module that changes the inputs of its forward, or its logits.

    Args:
        module: the model.
        bend: from the keyword arguments of a forward to those that the model is called with.
        bend_logits: from logits and the unchanged arguments to the logits that are returned.
    """

    def __init__(
        self,
        module: nn.Module,
        bend: Callable[[dict[str, Any]], dict[str, Any]],
        bend_logits: Callable[[Tensor, dict[str, Any]], Tensor] = lambda logits, inputs: logits,
    ) -> None:
        super().__init__()
        self.module, self.bend, self.bend_logits = module, bend, bend_logits

    def forward(self, **inputs: Any) -> Any:
        output = self.module(**self.bend(dict(inputs)))
        output.logits = self.bend_logits(output.logits, inputs)
        return output


@st.composite
def model_shapes(draw: st.DrawFn) -> dict[str, int]:
    """Layers and heads of a random small configuration."""
    kv_heads = draw(st.sampled_from([1, 2]))
    return {
        "layers": draw(st.integers(1, 3)),
        "heads": kv_heads * draw(st.sampled_from([1, 2])),
        "kv_heads": kv_heads,
        "seed": draw(st.integers(0, 100)),
    }
