"""The guard: once per model, cheap, and it finds what a model does with the mask and the positions it is given."""

import contextlib
import dataclasses

import pytest
import torch
from models import VOCAB, Bent, tiny_model
from torch import nn

from iapo import Rollout
from iapo.estimators import AnswerEntropy, AnswerLikelihood, EarlyExitEntropy, UnsupportedModelError
from iapo.estimators.packed import guard, masks
from iapo.estimators.packed.attention import mask_windows

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


def packed(inputs) -> bool:
    return inputs["attention_mask"].ndim == 4


def cache_of(inputs):
    return inputs["cache" if "cache" in inputs else "past_key_values"]


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
        start = cache_of(inputs).get_seq_length()
        inputs["position_ids"] = torch.arange(start, start + queries).expand_as(inputs["input_ids"])
    return inputs


def behind_the_padding(inputs):
    """Positions count the padding in front of the prompt."""
    if packed(inputs):
        padding = (~cache_of(inputs).real).sum(1, keepdim=True)
        inputs["position_ids"] = inputs["position_ids"] + padding
    return inputs


BENDS = [
    without_mask,
    one_more_visible,
    behind_the_cache,
    behind_the_padding,
]


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
    # A prompt of 3, a completion of 8, a postfix of 2 and perhaps a token of the answer: behind 8, 4 and 0; what is
    # cached, with a column of padding; all three packed.
    *alone, cached, together = [width for _, width in calls[:5]]
    asked = min(alone) - 3
    assert sorted(alone) == [3 + seen + asked for seen in (0, 4, 8)]
    assert asked in (2, 3)
    assert cached == 1 + 3 + 8
    assert together == 3 * asked
    calls.clear()
    estimator(model, sample)
    assert len(calls) == plain
    estimator(tiny_model("llama", seed=1), sample)
    assert len(calls) == plain, "another model has its own check"


@pytest.mark.parametrize("make", ESTIMATORS)
@pytest.mark.parametrize("bend", BENDS, ids=lambda bend: bend.__name__)
@pytest.mark.parametrize("implementation", ["sdpa", "eager"])
def test_a_model_that_does_something_else_is_refused(make, bend, implementation):
    inner = tiny_model("gpt2")  # relative positions would forgive what shifts all of them
    inner.set_attn_implementation(implementation)
    estimator = make(POSTFIX)
    for _ in range(2):
        with pytest.raises(UnsupportedModelError, match=r"differs from the naive one by 0\.\d+ in total variation"):
            estimator(Bent(inner, bend), rollout())
    assert inner.config._attn_implementation == implementation


@pytest.mark.parametrize("bend", BENDS, ids=lambda bend: bend.__name__)
def test_reduced_precision_hides_nothing(bend):
    model = tiny_model("gpt2")
    with torch.autocast("cpu", torch.bfloat16), pytest.raises(UnsupportedModelError, match=r"explains 0\.15"):
        EarlyExitEntropy(POSTFIX)(Bent(model, bend), rollout())
    with pytest.raises(UnsupportedModelError, match=r"explains 0\.15"):
        EarlyExitEntropy(POSTFIX)(Bent(model.bfloat16(), bend), rollout())


@pytest.mark.parametrize("bend", BENDS, ids=lambda bend: bend.__name__)
def test_in_reduced_precision_a_flat_distribution_hides_nothing(bend):
    """No probability is above 0.13 there, and none is off by more than rounding explains."""
    largest = []

    def flatten(logits, inputs):
        logits = logits / 4
        largest.append(float(logits.float().softmax(-1).max()))
        return logits

    with pytest.raises(UnsupportedModelError, match=r"explains 0\.(15|001)"):
        EarlyExitEntropy(POSTFIX)(Bent(tiny_model("gpt2").bfloat16(), bend, flatten), rollout())
    assert max(largest) < 0.13


def test_a_window_that_the_mask_forgets_is_caught(monkeypatch):
    model = tiny_model("mistral", sliding_window=3)
    EarlyExitEntropy(POSTFIX)(model, rollout())
    monkeypatch.setattr(masks, "mask_windows", lambda config: dict.fromkeys(mask_windows(config)))
    with pytest.raises(UnsupportedModelError, match="differs"):
        EarlyExitEntropy(POSTFIX)(model, rollout())


@pytest.mark.parametrize("kind", ["bfloat16", "float16", "autocast"])
def test_in_reduced_precision_a_window_off_by_one_is_caught(kind, monkeypatch):
    """Rounding in bf16 could explain it; the comparison in fp32 says that it does not."""
    monkeypatch.setattr(
        masks, "mask_windows", lambda config: {name: size and size + 1 for name, size in mask_windows(config).items()}
    )
    inner = tiny_model("mistral", seed=1, sliding_window=12)
    inner = inner if kind == "autocast" else inner.to(getattr(torch, kind))
    model = Bent(inner, dict, lambda logits, inputs: logits / 16)
    before = [weight.dtype for weight in model.parameters()]
    size = sum(weight.numel() for weight in model.parameters())
    monkeypatch.setattr(guard, "_MOST_COPIED", size)
    with torch.autocast("cpu", torch.bfloat16, enabled=kind == "autocast"):
        with pytest.raises(UnsupportedModelError, match=r"explains 0\.001"):
            EarlyExitEntropy(POSTFIX)(model, rollout(24))
        assert torch.is_autocast_enabled("cpu") == (kind == "autocast")
    assert [weight.dtype for weight in model.parameters()] == before
    if kind == "bfloat16":
        monkeypatch.setattr(guard, "_MOST_COPIED", size - 1)
        EarlyExitEntropy(POSTFIX)(model, rollout(24))


@pytest.mark.parametrize("make", ESTIMATORS)
def test_logits_that_nobody_asked_for_are_caught(make):
    """A model that ignores ``logits_to_keep`` hands back the logits of all tokens."""
    model = Bent(tiny_model("llama"), lambda inputs: {**inputs, "logits_to_keep": 0})
    with pytest.raises(UnsupportedModelError):
        make(POSTFIX)(model, rollout())


def test_the_naive_forward_is_read_at_its_end_whatever_logits_it_returns():
    model, one, ids = tiny_model("llama"), rollout().select(slice(0, 1)), torch.tensor([[4, 5]])
    every = Bent(model, lambda inputs: {**inputs, "logits_to_keep": 0})
    text = torch.cat([one.prompt_ids[:, one.prompt_mask[0]], one.completion_ids[:, :3], ids], 1)
    with torch.no_grad():
        expected = model(text).logits[:, -1].softmax(-1)
        for each in (model, every):
            torch.testing.assert_close(guard._naive_probabilities(each, one, ids, 3), expected, atol=1e-6, rtol=0)


def test_nan_is_caught():
    def spoil(logits, inputs):
        return logits * torch.nan if packed(inputs) else logits

    model = Bent(tiny_model("llama"), lambda inputs: inputs, spoil)
    with pytest.raises(UnsupportedModelError, match="by nan"):
        EarlyExitEntropy(POSTFIX)(model, rollout())


def test_nan_of_padding_in_float64_is_refused_with_a_way_out():
    model = tiny_model("llama").double()
    model.set_attn_implementation("eager")
    with pytest.raises(UnsupportedModelError, match=r"by nan .*attn_implementation='sdpa'"):
        EarlyExitEntropy(POSTFIX)(model, rollout())
    model.set_attn_implementation("sdpa")
    assert EarlyExitEntropy(POSTFIX)(model, rollout()).isfinite().all()


@pytest.mark.parametrize("make", ESTIMATORS)
def test_it_looks_again_when_texts_have_doubled(make):
    """A model whose mask holds in short texts only, as where a window that no mask expresses begins to matter."""

    def forgetful(inputs):
        return without_mask(inputs) if packed(inputs) and cache_of(inputs).real.shape[1] > 12 else inputs

    model, estimator = Bent(tiny_model("gpt2"), forgetful), make(POSTFIX)
    estimator(model, rollout(4))
    with pytest.raises(UnsupportedModelError, match="differs from the naive one"):
        estimator(model, rollout(24))


def test_where_there_is_nothing_to_probe_nothing_is_compared():
    sample = dataclasses.replace(rollout(), reasoning_mask=torch.zeros(2, 8, dtype=torch.bool))
    model = tiny_model("llama")
    model.forward = lambda **_: pytest.fail("a forward ran")
    ids = torch.tensor([[4, 5], [4, 5]])
    assert guard.text_lengths(sample, ids).tolist() == [0, 0]
    assert guard.check_packed(model, sample, ids) is False
    checked = guard.CheckedModels()
    checked.check(model, sample, ids)
    assert model not in checked


def test_lengths_of_texts():
    """Prompts of 3 and 5 tokens, completions of 8 and 3, of which the first is probed up to its fourth token."""
    sample = rollout()
    part = dataclasses.replace(sample, reasoning_mask=sample.reasoning_mask & (torch.arange(8) < 4))
    ids = torch.zeros(2, 2, dtype=torch.long)
    assert guard.text_lengths(part, ids).tolist() == [3 + 4 + 2, 5 + 3 + 2]
    nothing = torch.tensor([True, False])[:, None]
    only = dataclasses.replace(sample, reasoning_mask=sample.reasoning_mask & nothing)
    assert guard.text_lengths(only, ids).tolist() == [3 + 8 + 2, 0]


def test_it_does_not_look_again_before_that():
    model, calls, estimator = tiny_model("llama"), [], EarlyExitEntropy(POSTFIX, chunk=99)
    model.register_forward_pre_hook(lambda *_: calls.append(1))
    forwards = []
    # Prompts have 3 and 5 tokens, the postfix 2: the longest texts have 10, 20, 10, 21 and 21 tokens.
    for token in (4, 15, 4, 16, 16):
        calls.clear()
        estimator(model, rollout(token))
        forwards.append(len(calls))
    assert [count - min(forwards) for count in forwards] == [5, 0, 0, 5, 0]


@pytest.mark.parametrize("token", [1, 2, 8])
def test_a_sound_model_passes_whatever_the_length(token):
    EarlyExitEntropy(POSTFIX)(Bent(tiny_model("llama"), lambda inputs: inputs), rollout(token))


class AutocastInside(nn.Module):
    """What accelerate makes of a model: autocast in its forward, fp32 weights and outputs."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, **inputs):
        with torch.autocast("cpu", torch.bfloat16):
            output = self.module(**inputs)
        output.logits = output.logits.float()
        return output


@pytest.mark.parametrize("implementation", ["sdpa", "eager"])
@pytest.mark.parametrize("family", ["llama", "gpt2", "mistral"])
@pytest.mark.parametrize("kind", ["float16", "bfloat16", "autocast"])
def test_reduced_precision_passes(kind, family, implementation):
    for seed in range(3):
        model = tiny_model(family, seed=seed, **({"sliding_window": 3} if family == "mistral" else {}))
        model.set_attn_implementation(implementation)
        cast = torch.autocast("cpu", torch.bfloat16) if kind == "autocast" else contextlib.nullcontext()
        if kind != "autocast":
            model = model.to(getattr(torch, kind))
        for make in ESTIMATORS:
            with cast:
                make(POSTFIX)(model, rollout())


@pytest.mark.parametrize("family", ["llama", "gpt2", "mistral"])
def test_autocast_inside_the_forward_passes(family):
    for seed in range(3):
        for make in ESTIMATORS:
            make(POSTFIX)(AutocastInside(tiny_model(family, seed=seed)), rollout())


def test_nothing_to_probe_needs_no_check():
    sample, model = rollout(), Bent(tiny_model("llama"), without_mask)
    empty = Rollout(
        **{
            **{name: getattr(sample, name) for name in sample.__dataclass_fields__},
            "reasoning_mask": torch.zeros_like(sample.reasoning_mask),
        }
    )
    estimator = EarlyExitEntropy(POSTFIX)
    estimator(model, empty)
    with pytest.raises(UnsupportedModelError):
        estimator(model, sample)  # Nothing was checked yet.
