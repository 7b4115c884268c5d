"""The packed forward against the naive one: every prefix run through the model alone, unpadded, in a Python loop."""

import dataclasses

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from models import FAMILIES, model_shapes, tiny_model
from transformers import DynamicCache

from iapo import Rollout
from iapo.estimators import AnswerLikelihood, EarlyExitEntropy
from iapo.estimators.packed import fill_cache
from iapo.policy.forward import cache_argument
from iapo.testing import rollouts

POSTFIX = (4, 5, 6)
LIMIT = 2e-5
"""Nats, fp32."""


def naive_probes(model, rollout: Rollout, value) -> torch.Tensor:
    """``value(logits, row)`` for every needed prefix; ``value`` gets the logits of prompt + prefix + block."""
    batch, token = rollout.completion_ids.shape
    probes = torch.zeros(batch, token + 1, dtype=torch.float64)
    for row in range(batch):
        prompt = rollout.prompt_ids[row][rollout.prompt_mask[row]].tolist()
        for t in range(token + 1):
            beside = [s for s in (t - 1, t) if 0 <= s < token and rollout.reasoning_mask[row, s]]
            if beside:
                probes[row, t] = value(model, prompt + rollout.completion_ids[row, :t].tolist(), row)
    return probes


def naive_entropy(model, prefix: list[int], row: int) -> float:
    with torch.no_grad():
        logp = model(torch.tensor([prefix + list(POSTFIX)])).logits[0, -1].double().log_softmax(-1)
    return float(-(logp.exp() * logp).sum())


def naive_likelihood(rollout: Rollout, closing: tuple[int, ...] = ()):
    def value(model, prefix: list[int], row: int) -> float:
        answer = rollout.answer_ids[row][rollout.answer_mask[row]].tolist()
        if not answer:
            return 0.0
        answer = answer + list(closing)
        with torch.no_grad():
            logits = model(torch.tensor([prefix + list(POSTFIX) + answer])).logits[0].double().log_softmax(-1)
        start = len(prefix) + len(POSTFIX)
        return sum(float(logits[start + i - 1, token]) for i, token in enumerate(answer))

    return value


@pytest.mark.parametrize("family", FAMILIES)
@given(shape=model_shapes(), rollout=rollouts(), chunk=st.one_of(st.none(), st.integers(1, 12)))
@settings(max_examples=12, deadline=None)
def test_entropy_is_exact(family, shape, rollout, chunk):
    model = tiny_model(family, **shape)
    probes = EarlyExitEntropy(POSTFIX, chunk=chunk).probe(model, rollout)
    torch.testing.assert_close(probes.double(), naive_probes(model, rollout, naive_entropy), atol=LIMIT, rtol=0)


@pytest.mark.parametrize("family", FAMILIES)
@given(
    shape=model_shapes(),
    rollout=rollouts(),
    chunk=st.one_of(st.none(), st.integers(1, 12)),
    closing=st.sampled_from([(), (7,), (7, 8)]),
)
@settings(max_examples=12, deadline=None)
def test_likelihood_is_exact(family, shape, rollout, chunk, closing):
    model = tiny_model(family, **shape)
    probes = AnswerLikelihood(POSTFIX, closing_ids=closing, chunk=chunk).probe(model, rollout)
    expected = naive_probes(model, rollout, naive_likelihood(rollout, closing))
    torch.testing.assert_close(probes.double(), expected, atol=LIMIT, rtol=LIMIT)


@given(rollout=rollouts(), width=st.integers(1, 4), seed=st.integers(0, 1000))
@settings(max_examples=20, deadline=None)
def test_padding_width_and_garbage_change_nothing(rollout, width, seed):
    model = tiny_model("llama")
    generator = torch.Generator().manual_seed(seed)

    def pad(ids: torch.Tensor, mask: torch.Tensor, left: bool) -> tuple[torch.Tensor, torch.Tensor]:
        ids = torch.where(mask, ids, torch.randint(0, 31, ids.shape, generator=generator))
        extra = torch.randint(0, 31, (len(ids), width), generator=generator)
        none = torch.zeros(len(ids), width, dtype=torch.bool)
        order = (extra, ids), (none, mask)
        return tuple(torch.cat(parts if left else parts[::-1], 1) for parts in order)

    prompt_ids, prompt_mask = pad(rollout.prompt_ids, rollout.prompt_mask, left=True)
    completion_ids, completion_mask = pad(rollout.completion_ids, rollout.completion_mask, left=False)
    wider = dataclasses.replace(
        rollout,
        prompt_ids=prompt_ids,
        prompt_mask=prompt_mask,
        completion_ids=completion_ids,
        completion_mask=completion_mask,
        reasoning_mask=torch.nn.functional.pad(rollout.reasoning_mask, (0, width)),
        sampler_logprobs=torch.nn.functional.pad(rollout.sampler_logprobs, (0, width)),
    )
    for estimator in (EarlyExitEntropy(POSTFIX), AnswerLikelihood(POSTFIX)):
        narrow_information, wide_information = estimator(model, rollout), estimator(model, wider)
        torch.testing.assert_close(wide_information[:, :-width], narrow_information, atol=LIMIT, rtol=0)
        assert not wide_information[:, -width:].any()


@given(rollout=rollouts(holes=False), seed=st.integers(0, 1000))
@settings(max_examples=20, deadline=None)
def test_information_telescopes_and_rows_are_independent(rollout, seed):
    model = tiny_model("qwen2")
    order = torch.randperm(len(rollout), generator=torch.Generator().manual_seed(seed))
    for estimator in (EarlyExitEntropy(POSTFIX), AnswerLikelihood(POSTFIX)):
        information, probes = estimator(model, rollout), estimator.probe(model, rollout)
        for row in range(len(rollout)):
            span = rollout.reasoning_mask[row].nonzero().flatten()
            if len(span):
                total = estimator.information_sign * (probes[row, span[-1] + 1] - probes[row, span[0]])
                torch.testing.assert_close(information[row].sum(), total, atol=LIMIT, rtol=0)
        permuted = estimator(model, rollout.select(order))
        torch.testing.assert_close(permuted, information[order][:, : permuted.shape[1]], atol=LIMIT, rtol=0)


@given(rollout=rollouts(holes=False), cut=st.integers(1, 8))
@settings(max_examples=20, deadline=None)
def test_information_ignores_later_tokens(rollout, cut):
    model = tiny_model("llama")
    changed = dataclasses.replace(
        rollout, completion_ids=torch.cat([rollout.completion_ids[:, :cut], rollout.completion_ids[:, cut:].flip(1)], 1)
    )
    for estimator in (EarlyExitEntropy(POSTFIX), AnswerLikelihood(POSTFIX)):
        before, after = estimator(model, rollout), estimator(model, changed)
        torch.testing.assert_close(after[:, :cut], before[:, :cut], atol=LIMIT, rtol=0)


class Wrapper(torch.nn.Module):
    def __init__(self, module: torch.nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, **arguments):
        return self.module(**arguments)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("wrapped", [False, True])
def test_filling_the_cache_ends_at_the_last_keys_unless_the_model_is_wrapped(family, wrapped):
    model, ends = tiny_model(family), []
    model.register_forward_hook(lambda *_: ends.append("model"))
    ids, mask = torch.randint(3, 30, (2, 7)), torch.ones(2, 7, dtype=torch.bool)
    rollout = Rollout(ids[:, :3], mask[:, :3], ids[:, 3:], mask[:, 3:], mask[:, 3:], torch.zeros(2, dtype=torch.long))
    with torch.no_grad():
        cache = fill_cache(Wrapper(model) if wrapped else model, rollout, 4)
        whole = DynamicCache(config=model.config)
        model(input_ids=ids, use_cache=True, **{cache_argument(model): whole})
    assert ends == ["model"] * (1 + wrapped)
    assert cache.get_seq_length() == 7
    for layer, (keys, values) in enumerate(zip(cache._keys, cache._values, strict=True)):
        torch.testing.assert_close(keys, whole.layers[layer].keys)
        torch.testing.assert_close(values, whole.layers[layer].values)
