"""Small additions to a model's linear layers, switched on for a while, that leave its weights alone."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from iapo.ops.checks import check_integer
from iapo.policy.forward import unwrap


class LowRankAdapter(nn.Module):
    """A low-rank addition to every linear layer but the output's: ``y = W x + B A x``, while `active`.

    ``B`` starts at 0, so that an adapter that was not fitted changes nothing. The model is not changed and does not
    know the adapter; the additions are hooks that come and go. A model compiled as a whole would not run them: pass
    what was compiled, before compilation.

    Args:
        model: a causal language model, possibly wrapped; its linear layers are looked up, it is not kept.
        rank: rows of ``A`` and columns of ``B``.

    Raises:
        ValueError: ``rank`` below 1, or a model without linear layers.

    References:
        LoRA, arXiv 2106.09685 (the parametrization).
    """

    def __init__(self, model: nn.Module, rank: int) -> None:
        super().__init__()
        check_integer("rank", rank)
        down, up = {}, {}
        for name, layer in _layers(model).items():
            weight = layer.weight
            into, out = weight.shape if isinstance(layer, Conv1D) else (layer.in_features, layer.out_features)
            dtype = torch.promote_types(weight.dtype, torch.float32)
            down[_key(name)] = nn.Parameter(torch.randn(rank, into, device=weight.device, dtype=dtype) / into**0.5)
            up[_key(name)] = nn.Parameter(torch.zeros(out, rank, device=weight.device, dtype=dtype))
        if not down:
            raise ValueError(f"model: {type(model).__name__} has no linear layers to adapt")
        self.down, self.up = nn.ParameterDict(down), nn.ParameterDict(up)

    @contextmanager
    def active(self, model: nn.Module) -> Iterator[None]:
        """The model's forwards have the additions inside this context.

        Raises:
            ValueError: a model whose linear layers are others than those of the model that the adapter was made for.
        """
        layers = _layers(model)
        if {_key(name) for name in layers} != set(self.down):
            raise ValueError(f"model: the linear layers of {type(model).__name__} are not those this adapter is for")
        hooks = []
        try:
            for name, layer in layers.items():
                hooks.append(layer.register_forward_hook(partial(self._add, _key(name))))
            yield
        finally:
            for hook in hooks:
                hook.remove()

    def _add(self, key: str, layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        down, up = self.down[key], self.up[key]
        return output + (inputs[0].to(down.dtype) @ down.T @ up.T).to(output.dtype)


def _layers(model: nn.Module) -> dict[str, Any]:
    inner = unwrap(model)
    head = inner.get_output_embeddings()
    linear = (nn.Linear, Conv1D)
    return {name: layer for name, layer in inner.named_modules() if isinstance(layer, linear) and layer is not head}


def _key(name: str) -> str:
    return name.replace(".", "/")
