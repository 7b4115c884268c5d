"""How many weights a model has, and how many of them are trained, from its configuration alone."""

from dataclasses import dataclass

import torch
from torch import nn
from transformers import AutoModelForCausalLM

from iapo.policy.loading import load_config
from iapo.policy.lora import LoRA


@dataclass(frozen=True)
class ModelSize:
    """The size of a policy.

    Args:
        weights: the number of all weights.
        trained: the number of those that training changes: all, or the adapters' alone.
    """

    weights: int
    trained: int


def model_size(source: str, lora: LoRA | None = None, trust_remote_code: bool = False) -> ModelSize:
    """The size of a model that is not loaded.

    Args:
        source: as in `iapo.policy.loading.load_model`.
        lora: the adapters that are trained; ``None`` or rank 0: all weights are.
        trust_remote_code: run code that comes with the model.
    """
    config = load_config(source, trust_remote_code)
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(
            config, trust_remote_code=trust_remote_code, attn_implementation="eager"
        )
    weights = sum(parameter.numel() for parameter in model.parameters())
    if lora is None or not lora.r:
        return ModelSize(weights, weights)
    names = lora.target_modules
    layers = [
        module
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear) and module is not model.get_output_embeddings()
        if names is None or name.rpartition(".")[2] in names
    ]
    return ModelSize(weights, sum(lora.r * (layer.in_features + layer.out_features) for layer in layers))
