"""The packed forward against the naive one: every prefix run through the model alone, unpadded, in a Python loop."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from models import FAMILIES, model_shapes, tiny_model
from ragged_rollouts import rollout as ragged_rollout
from tolerances import rounding
from transformers import DynamicCache

from iapo import Rollout
from iapo.estimators import AnswerLikelihood, EarlyExitEntropy
from iapo.estimators.packed import check_chunk, fill_cache
from iapo.policy.forward import cache_argument
from iapo.testing import rollouts
from iapo.testing.models import Wrapped

POSTFIX = (4, 5, 6)


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
    expected = naive_probes(model, rollout, naive_entropy)
    torch.testing.assert_close(probes.double(), expected, atol=rounding(model, expected), rtol=0)


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
    torch.testing.assert_close(probes.double(), expected, atol=rounding(model, expected), rtol=0)


@pytest.mark.parametrize("family", FAMILIES)
@given(shape=model_shapes(), rollout=rollouts(), chunk=st.one_of(st.none(), st.integers(1, 12)))
@settings(max_examples=6, deadline=None)
def test_float64_is_exact_to_far_less_than_fp32(family, shape, rollout, chunk):
    """Not to fp64's own: norms and rotations of transformers are computed in fp32 whatever the weights."""
    model = tiny_model(family, **shape).double()
    values = naive_entropy, naive_likelihood(rollout)
    for estimator, value in zip((EarlyExitEntropy, AnswerLikelihood), values, strict=True):
        probes, expected = estimator(POSTFIX, chunk=chunk).probe(model, rollout), naive_probes(model, rollout, value)
        torch.testing.assert_close(probes.double(), expected, atol=1e-6, rtol=0)
        assert probes.dtype == torch.float64 or not probes.any()


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("wrapped", [False, True])
def test_filling_the_cache_ends_at_the_last_keys(family, wrapped):
    """A wrapped model runs to its end, because its wrapper may wait for that."""
    model, ends = tiny_model(family), []
    model.register_forward_hook(lambda *_: ends.append("model"))
    ids, mask = torch.randint(3, 30, (2, 7)), torch.ones(2, 7, dtype=torch.bool)
    rollout = Rollout(ids[:, :3], mask[:, :3], ids[:, 3:], mask[:, 3:], mask[:, 3:], torch.zeros(2, dtype=torch.long))
    with torch.no_grad():
        cache = fill_cache(Wrapped(model) if wrapped else model, rollout, 4)
        whole = DynamicCache(config=model.config)
        model(input_ids=ids, use_cache=True, **{cache_argument(model): whole})
    assert ends == ["model"] * (1 + wrapped)
    assert cache.get_seq_length() == 7
    for layer, (keys, values) in enumerate(zip(cache._keys, cache._values, strict=True)):
        torch.testing.assert_close(keys, whole.layers[layer].keys)
        torch.testing.assert_close(values, whole.layers[layer].values)


def test_least_chunks():
    check_chunk(1)
    check_chunk(None)
    with pytest.raises(ValueError, match="chunk: got 0"):
        check_chunk(0)


def test_room_that_is_there_is_not_made_again():
    model = tiny_model("llama")
    with torch.no_grad():
        cache = fill_cache(model, ragged_rollout(), 4)
    cache.reserve(3)
    before = cache._keys[0]
    for room in (3, 2):
        cache.reserve(room)
        assert cache._keys[0] is before
    cache.reserve(4)
    assert cache._keys[0].shape[2] == before.shape[2] + 1
