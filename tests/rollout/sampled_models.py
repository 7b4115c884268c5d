"""Tiny models to sample from, their tokenizer, an adapter, and what samplers are compared with."""

import copy
import dataclasses
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from models import tiny_model
from rollout_tokenizers import tokenizer
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from iapo import Rollout


def model_of(family: str = "llama", eos: int | Sequence[int] = 2, **shape: float) -> PreTrainedModel:
    """A tiny model whose generation settings name the tokens ``eos`` as ends of a sequence."""
    model = tiny_model(family, **shape)
    model.generation_config.eos_token_id = eos if isinstance(eos, int) else list(eos)
    return model


def words(pad: str = "<pad>") -> PreTrainedTokenizerFast:
    """A copy of the tokenizer of the tiny models, with ``pad`` as its padding token."""
    tok = copy.deepcopy(tokenizer("words"))
    tok.pad_token = pad
    return tok


def completions(rollout: Rollout) -> list[list[int]]:
    """The tokens of each completion."""
    return [ids[mask].tolist() for ids, mask in zip(rollout.completion_ids, rollout.completion_mask, strict=True)]


@torch.no_grad()
def naive_logits(model: nn.Module, prompt: list[int], completion: list[int]) -> Tensor:
    """Logits of each completion token: one row, no padding, no cache."""
    logits = model(input_ids=torch.tensor([prompt + completion]), use_cache=False).logits[0]
    return logits[len(prompt) - 1 : -1]


class Adapter(nn.Module):
    """Like an adapter library's model: hands everything on, and writes its ``generation_config`` into the base."""

    def __init__(self, base: nn.Module) -> None:
        super().__init__()
        self.base = base

    def __getattr__(self, name: str) -> object:
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("base"), name)

    def forward(self, **inputs: object) -> object:
        return self.base(**inputs)

    def generate(self, **inputs: object) -> object:
        self.base.generation_config = self.generation_config
        return self.base.generate(**inputs)


@dataclasses.dataclass
class Forward:
    """The inputs of a forward."""

    ids: Tensor
    mask: Tensor
    position_ids: Tensor


@contextmanager
def watching(model: nn.Module) -> Iterator[list[Forward]]:
    """The forwards of ``model`` within the block."""
    seen: list[Forward] = []

    def note(_: nn.Module, __: tuple[()], inputs: dict[str, Tensor]) -> None:
        seen.append(Forward(inputs["input_ids"], inputs["attention_mask"], inputs["position_ids"]))

    handle = model.register_forward_pre_hook(note, with_kwargs=True)
    yield seen
    handle.remove()
