"""The model inside wrappers, and the name under which it takes its key-value cache."""

import sys
from types import SimpleNamespace

import pytest
import torch
from models import tiny_model
from torch import nn
from transformers import Cache, DynamicCache

from iapo.policy.forward import cache_argument, unwrap
from iapo.testing.models import Wrapped


class OwnModel(nn.Module):
    config = None

    def forward(self, input_ids, past_key_values=None): ...


class OwnModelOfToday(nn.Module):
    config = None

    def forward(self, input_ids, cache: Cache | None = None): ...


class OwnDictionary(nn.Module):
    config = None

    def forward(self, input_ids, cache: dict[str, torch.Tensor] | None = None, past_key_values=None): ...


def adapted(model: nn.Module) -> nn.Module:
    """As PEFT's: a configuration of its own, and a signature that names no argument."""
    wrapped = Wrapped(model)
    wrapped.config = model.config
    return wrapped


def compiled(model: nn.Module) -> nn.Module:
    return torch.compile(model, backend="eager")


@pytest.mark.parametrize("wrap", [lambda model: model, adapted, compiled], ids=["alone", "wrapped", "compiled"])
@pytest.mark.parametrize("family", ["llama", "gpt2", "mistral"])
def test_a_cache_under_its_name_is_filled_without_a_warning(family, wrap):
    model = tiny_model(family)
    cache = DynamicCache(config=model.config)
    model(input_ids=torch.tensor([[3, 4, 5]]), use_cache=True, **{cache_argument(wrap(model)): cache})
    assert cache.get_seq_length() == 3


@pytest.mark.parametrize(
    ("model", "name"),
    [(OwnModel(), "past_key_values"), (OwnModelOfToday(), "cache"), (OwnDictionary(), "past_key_values")],
)
def test_the_cache_has_the_name_in_the_signature(model, name):
    assert cache_argument(model) == name


@pytest.mark.parametrize("config", ["ds.json", {"train_micro_batch_size_per_gpu": 1}, SimpleNamespace()])
def test_an_engine_of_deepspeed_is_unwrapped_whatever_it_was_configured_by(monkeypatch, config):
    class Engine(nn.Module):
        def __init__(self, module):
            super().__init__()
            self.module, self.config = module, config

    monkeypatch.setitem(sys.modules, "deepspeed", SimpleNamespace(DeepSpeedEngine=Engine))
    model = tiny_model("llama")
    assert unwrap(Engine(model)) is unwrap(Wrapped(Engine(model))) is model
