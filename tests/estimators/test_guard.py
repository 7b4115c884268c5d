"""The guard: once per model, cheap, and it finds what a model does with the mask and the positions it is given."""

import contextlib

import pytest
import torch
from models import VOCAB, tiny_model
from torch import nn

from iapo import Rollout
from iapo.estimators import AnswerEntropy, AnswerLikelihood, EarlyExitEntropy, UnsupportedModelError

POSTFIX, CLOSING = (4, 5), (6,)
ESTIMATORS = [
    EarlyExitEntropy,
    lambda *a, **k: AnswerLikelihood(*a, CLOSING, **k),
    lambda *a, **k: AnswerEntropy(*a, **k),
]


def rollout(token: int = 8) -> Rollout:
    generator = torch.Generator().manual_seed(1)
    mask = torch.arange(token) < torch.tensor([token, 3])[:, None]
    return Rollout(
        prompt_ids=torch.randint(3, VOCAB, (2, 5), generator=generator),
        prompt_mask=torch.arange(5) >= torch.tensor([2, 0])[:, None],
        completion_ids=torch.randint(3, VOCAB, (2, token), generator=generator),
        completion_mask=mask,
        reasoning_mask=mask,
        group_ids=torch.zeros(2, dtype=torch.long),
        answer_ids=torch.tensor([[9], [10]]),
        answer_mask=torch.ones(2, 1, dtype=torch.bool),
    )


class Bent(nn.Module):
    """A model that makes something else of what it is called with."""

    def __init__(self, module: nn.Module, bend) -> None:
        super().__init__()
        self.module, self.bend = module, bend

    def forward(self, **inputs):
        return self.module(**self.bend(dict(inputs)))


def packed(inputs) -> bool:
    return inputs["attention_mask"].ndim == 4


def without_mask(inputs):
    """Every packed token sees everything."""
    if packed(inputs):
        inputs["attention_mask"] = torch.zeros_like(inputs["attention_mask"])
    return inputs


def one_more_visible(inputs):
    """Every packed token sees the whole cache, and of the block what it should."""
    if packed(inputs):
        queries = inputs["input_ids"].shape[1]
        mask = inputs["attention_mask"].clone()
        mask[..., queries:] = 0
        inputs["attention_mask"] = mask
    return inputs


def behind_the_cache(inputs):
    """Positions count on from the end of the cache, as they do without ``position_ids``."""
    if packed(inputs):
        queries = inputs["input_ids"].shape[1]
        start = inputs["past_key_values"].get_seq_length()
        inputs["position_ids"] = torch.arange(start, start + queries).expand_as(inputs["input_ids"])
    return inputs


@pytest.mark.parametrize("make", ESTIMATORS)
def test_it_runs_once_for_a_model_and_costs_five_short_forwards(make):
    model, sample, calls = tiny_model("llama"), rollout(), []
    model.register_forward_pre_hook(
        lambda module, args, inputs: calls.append(inputs["input_ids"].shape), with_kwargs=True
    )
    make(POSTFIX, guard=False)(model, sample)
    plain = len(calls)
    calls.clear()
    estimator = make(POSTFIX)
    estimator(model, sample)
    # Three prefixes alone; their cache; the three of them packed.
    assert len(calls) == plain + 5
    assert all(rows == 1 for rows, _ in calls[:5])
    assert sum(width for _, width in calls[:5]) <= 5 * (3 + 8 + 4)
    calls.clear()
    estimator(model, sample)
    assert len(calls) == plain
    estimator(tiny_model("llama", seed=1), sample)
    assert len(calls) == plain, "another model has its own check"


@pytest.mark.parametrize("make", ESTIMATORS)
@pytest.mark.parametrize("bend", [without_mask, one_more_visible, behind_the_cache], ids=lambda bend: bend.__name__)
def test_a_model_that_does_something_else_is_refused(make, bend):
    with pytest.raises(UnsupportedModelError, match=r"differs from the naive one by .* in probability"):
        make(POSTFIX)(Bent(tiny_model("llama"), bend), rollout())


@pytest.mark.parametrize("token", [1, 2, 8])
def test_a_sound_model_passes_whatever_the_length(token):
    EarlyExitEntropy(POSTFIX)(Bent(tiny_model("llama"), lambda inputs: inputs), rollout(token))


@pytest.mark.parametrize("kind", ["bfloat16", "autocast"])
def test_reduced_precision_passes(kind):
    model = tiny_model("llama")
    cast = contextlib.nullcontext()
    if kind == "bfloat16":
        model = model.bfloat16()
    else:
        cast = torch.autocast("cpu", torch.bfloat16)
    with cast:
        EarlyExitEntropy(POSTFIX)(model, rollout())


def test_nothing_to_probe_needs_no_check():
    sample, model = rollout(), Bent(tiny_model("llama"), without_mask)
    empty = Rollout(
        **{
            **{name: getattr(sample, name) for name in sample.__dataclass_fields__},
            "reasoning_mask": torch.zeros_like(sample.reasoning_mask),
        }
    )
    EarlyExitEntropy(POSTFIX)(model, empty)
