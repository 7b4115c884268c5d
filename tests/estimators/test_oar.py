"""Influence of a reasoning token on the answer: against whole forwards with the token replaced, and differences."""

import dataclasses

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from models import FAMILIES, VOCAB, tiny_model
from transformers import GPT2Config, GPT2LMHeadModel

from iapo import Rollout
from iapo.estimators import OARGradient, OARPerturbation, UnsupportedModelError
from iapo.testing import rollouts, tiny_llama

POSTFIX = (5, 6)
REPLACEMENT = 1


def text_of(rollout, row):
    """Token ids of prompt, reasoning, postfix and answer, the answer, and where each reasoning token stands."""
    prompt = rollout.prompt_ids[row][rollout.prompt_mask[row]].tolist()
    answer = rollout.answer_ids[row][rollout.answer_mask[row]].tolist()
    tokens = [t for t, reasons in enumerate(rollout.reasoning_mask[row].tolist()) if reasons]
    if not tokens or not answer:
        return None
    reasoning = rollout.completion_ids[row, : tokens[-1] + 1].tolist()
    return prompt + reasoning + list(POSTFIX) + answer, answer, {t: len(prompt) + t for t in tokens}


def moved(before, after, answer, measure):
    """The change of the answer's distribution between the logits of two whole texts."""
    old, new = (logits[-len(answer) - 1 : -1].double().log_softmax(-1) for logits in (before, after))
    if measure == "likelihood":
        return sum(old[j, y] - new[j, y] for j, y in enumerate(answer))
    return sum((old[j].exp() * (old[j] - new[j])).sum() for j in range(len(answer))) / len(answer)


@torch.no_grad()
def naive_perturbation(model, rollout, measure):
    """One whole forward for each replaced token."""
    values = torch.zeros(rollout.completion_ids.shape, dtype=torch.float64)
    for row in range(len(rollout)):
        if (found := text_of(rollout, row)) is None:
            continue
        ids, answer, places = found
        before = model(input_ids=torch.tensor([ids])).logits[0]
        for token, place in places.items():
            changed = [*ids[:place], REPLACEMENT, *ids[place + 1 :]]
            values[row, token] = moved(before, model(input_ids=torch.tensor([changed])).logits[0], answer, measure)
    return values


def naive_gradient(model, rollout, measure, noise, seed, slope):
    """The absolute slope of the change where a token's embedding is scaled, with noise on all of the reasoning."""
    values = torch.zeros(rollout.completion_ids.shape, dtype=torch.float64)
    for row in range(len(rollout)):
        if (found := text_of(rollout, row)) is None:
            continue
        ids, answer, places = found
        before = model(input_ids=torch.tensor([ids])).logits[0].detach()
        clean = model.get_input_embeddings()(torch.tensor([ids])).detach()
        drawn = torch.randn(len(places), clean.shape[-1], generator=torch.Generator().manual_seed(seed))
        noisy = clean.clone()
        for place, each in zip(places.values(), drawn, strict=True):
            noisy[0, place] += noise * each

        def at(place, scale, clean=clean, noisy=noisy, before=before, answer=answer):
            here = (torch.arange(noisy.shape[1]) == place)[:, None]
            return moved(before, model(inputs_embeds=noisy + scale * clean * here).logits[0], answer, measure)

        for token, place in places.items():
            values[row, token] = abs(slope(at, place))
    return values


def by_differences(at, place, step=1e-5):
    """Central difference."""
    with torch.no_grad():
        return float(at(place, step) - at(place, -step)) / (2 * step)


def by_autograd(at, place):
    """The derivative by the scale itself, for models that compute partly in fp32."""
    scale = torch.zeros((), dtype=torch.float64, requires_grad=True)
    return float(torch.autograd.grad(at(place, scale), scale)[0])


def double_gpt2():
    """A model that computes in float64 throughout."""
    config = GPT2Config(
        vocab_size=VOCAB, n_positions=64, n_embd=32, n_layer=2, n_head=4, bos_token_id=1, eos_token_id=2
    )
    torch.manual_seed(0)
    model = GPT2LMHeadModel(config).double().eval()
    for parameter in model.parameters():
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=0.3)
    return model


@pytest.mark.parametrize("family", FAMILIES)
@given(
    rollout=rollouts(vocab=VOCAB), measure=st.sampled_from(["kl", "likelihood"]), chunk=st.sampled_from([None, 1, 3])
)
@settings(max_examples=4, deadline=None)
def test_perturbation_against_whole_forwards(family, rollout, measure, chunk):
    model = tiny_model(family).double()
    found = OARPerturbation(POSTFIX, REPLACEMENT, measure, chunk)(model, rollout)
    torch.testing.assert_close(found, naive_perturbation(model, rollout, measure), atol=1e-9, rtol=1e-9)


@pytest.mark.parametrize("family", FAMILIES)
@given(rollout=rollouts(vocab=VOCAB), measure=st.sampled_from(["kl", "likelihood"]), seed=st.integers(0, 9))
@settings(max_examples=3, deadline=None)
def test_gradient_against_autograd(family, rollout, measure, seed):
    model = tiny_model(family).double()
    found = OARGradient(POSTFIX, measure, noise=0.05, seed=seed)(model, rollout)
    expected = naive_gradient(model, rollout, measure, 0.05, seed, by_autograd)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


@given(rollout=rollouts(vocab=VOCAB), measure=st.sampled_from(["kl", "likelihood"]), seed=st.integers(0, 9))
@settings(max_examples=5, deadline=None)
def test_gradient_against_differences(rollout, measure, seed):
    model = double_gpt2()
    found = OARGradient(POSTFIX, measure, noise=0.05, seed=seed)(model, rollout)
    expected = naive_gradient(model, rollout, measure, 0.05, seed, by_differences)
    torch.testing.assert_close(found, expected, atol=1e-7, rtol=1e-6)


def dense_rollout():
    """Two completions that reason in all their tokens, and an answer of two tokens."""
    ids, ones = torch.arange(7, 19).reshape(2, 6) % VOCAB, torch.ones(2, 6, dtype=torch.bool)
    return Rollout(ids[:, :2], ones[:, :2], ids, ones, ones, torch.tensor([0, 0]), None, ids[:, 1:3], ones[:, :2])


def test_a_token_that_is_the_replacement_has_no_importance():
    rollout, model = dense_rollout(), tiny_llama()
    found = OARPerturbation(POSTFIX, int(rollout.completion_ids[0, 3]))(model, rollout)[0]
    assert found[3] == 0
    assert (found[:3] > 0).all()


def test_gradients_are_made_where_they_are_switched_off_and_leave_nothing():
    rollout, model = dense_rollout(), tiny_llama().train()
    expected = OARGradient(POSTFIX)(model, rollout)
    with torch.no_grad():
        assert torch.equal(OARGradient(POSTFIX)(model, rollout), expected)
    assert (expected > 0).all()
    assert model.training
    assert all(parameter.grad is None for parameter in model.parameters())
    assert not model.get_input_embeddings()._forward_hooks


def test_the_noise_decides_about_the_divergence():
    rollout, model = dense_rollout(), double_gpt2()
    small, other = (OARGradient(POSTFIX, noise=1e-5, seed=seed)(model, rollout) for seed in (0, 1))
    assert not torch.allclose(small, other, rtol=0.1)
    large = OARGradient(POSTFIX, noise=2e-5)(model, rollout)
    torch.testing.assert_close(large, 2 * small, rtol=1e-2, atol=1e-8)
    assert OARGradient(POSTFIX, noise=0.0)(model, rollout).max() < 1e-12


def test_the_default_dtype_of_torch_changes_no_noise():
    rollout, model, found = dense_rollout(), double_gpt2(), []
    for dtype in (torch.float32, torch.float64, torch.bfloat16):
        torch.set_default_dtype(dtype)
        try:
            found.append(OARGradient(POSTFIX)(model, rollout))
        finally:
            torch.set_default_dtype(torch.float32)
    torch.testing.assert_close(found[1:], found[:1] * 2)


def test_a_model_whose_embeddings_are_elsewhere_is_refused():
    model = tiny_llama()
    model.get_input_embeddings = lambda: torch.nn.Embedding(VOCAB, 2)
    with pytest.raises(UnsupportedModelError, match="did not call the embedding layer"):
        OARGradient(POSTFIX)(model, dense_rollout())


@pytest.mark.parametrize("estimator", [OARPerturbation(POSTFIX, 0), OARGradient(POSTFIX)])
def test_answers_are_needed(estimator):
    rollout = dataclasses.replace(dense_rollout(), answer_ids=None, answer_mask=None)
    with pytest.raises(ValueError, match=r"rollout.answer_ids: want the answers"):
        estimator(tiny_llama(), rollout)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: OARPerturbation((), 0), "postfix_ids"),
        (lambda: OARPerturbation(POSTFIX, -1), "replacement_id"),
        (lambda: OARPerturbation(POSTFIX, 0, "entropy"), "measure: got 'entropy', want one of kl, likelihood"),
        (lambda: OARGradient(POSTFIX, "entropy"), "measure: got 'entropy'"),
        (lambda: OARGradient(POSTFIX, noise=-1.0), "noise: got -1.0"),
        (lambda: OARPerturbation(POSTFIX, VOCAB)(tiny_llama(), dense_rollout()), "replacement_id"),
    ],
)
def test_bad_parameters_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()
