"""Token log-probabilities and entropies against float64 loops, and where infinities stand."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from models import tiny_model
from tolerances import rounding

import iapo.policy.logprobs
from iapo import Rollout
from iapo.estimators import NextTokenEntropy
from iapo.policy.logprobs import completion_logprobs, entropy, token_logprobs
from iapo.rollout import collate
from iapo.testing import rollouts


@given(
    rows=st.integers(0, 5),
    vocab=st.integers(1, 9),
    scale=st.sampled_from([0.1, 3.0, 200.0]),
    ruled_out=st.booleans(),
    seed=st.integers(0, 10_000),
)
def test_against_a_float64_loop(rows, vocab, scale, ruled_out, seed):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(rows, 2, vocab, generator=generator) * scale
    ids = torch.randint(0, vocab, (rows, 2), generator=generator)
    if ruled_out and vocab > 1:
        logits.scatter_(-1, ((ids + 1) % vocab)[..., None], -torch.inf)
    logp, spread = token_logprobs(logits, ids), entropy(logits)
    for row in range(rows):
        for column in range(2):
            values = logits[row, column].double().tolist()
            top = max(values)
            total = sum(math.exp(v - top) for v in values)
            p = [math.exp(v - top) / total for v in values]
            expected = values[ids[row, column]] - top - math.log(total)
            assert float(logp[row, column]) == pytest.approx(expected, abs=1e-4, rel=1e-5)
            assert float(spread[row, column]) == pytest.approx(-sum(x * math.log(x) for x in p if x > 0), abs=1e-5)


def test_gradient_stays_finite_where_logits_are_minus_infinity():
    logits = torch.tensor([[0.3, -torch.inf, 1.2], [0.0, -torch.inf, -torch.inf]], requires_grad=True)
    (entropy(logits).sum() + token_logprobs(logits, torch.tensor([0, 0])).sum()).backward()
    assert logits.grad.isfinite().all()
    assert (logits.grad[:, 1] == 0).all()


def test_entropy_gradient_matches_the_closed_form():
    logits = torch.randn(4, 7, dtype=torch.float64, requires_grad=True)
    entropy(logits).sum().backward()
    logp = logits.detach().log_softmax(-1)
    p = logp.exp()
    torch.testing.assert_close(logits.grad, -p * (logp - (p * logp).sum(-1, keepdim=True)), atol=1e-12, rtol=0)


def test_slices_change_nothing(monkeypatch):
    logits, ids = torch.randn(3, 5, 11, requires_grad=True), torch.randint(0, 11, (3, 5))

    def values_and_gradients():
        values = token_logprobs(logits, ids), entropy(logits)
        gradients = (torch.autograd.grad(value.square().sum(), logits)[0] for value in values)
        return *values, *gradients

    whole = values_and_gradients()
    monkeypatch.setattr(iapo.policy.logprobs, "_SLICE", 25)
    torch.testing.assert_close(values_and_gradients(), whole)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize("temperature", [0.5, 1, 2.0])
def test_logprobs_have_the_gradient_of_log_softmax(dtype, temperature):
    logits, ids, weights = (4 * torch.randn(3, 5, 11)).to(dtype), torch.randint(0, 11, (3, 5)), torch.randn(3, 5)
    logits[1, 2, (ids[1, 2] + 1) % 11] = -torch.inf
    given, plain = logits.clone().requires_grad_(), logits.double().requires_grad_()
    (token_logprobs(given, ids, temperature) * weights).sum().backward()
    ((plain / temperature).log_softmax(-1).gather(-1, ids[..., None])[..., 0] * weights.double()).sum().backward()
    tolerance = {torch.float64: 1e-6, torch.float32: 1e-6, torch.bfloat16: 2**-7}[dtype]  # the weights are of fp32
    assert given.grad.dtype == dtype
    torch.testing.assert_close(given.grad.double(), plain.grad, atol=tolerance, rtol=tolerance)


def test_the_backward_keeps_no_second_tensor_of_the_size_of_the_logits():
    logits, ids, kept = torch.randn(6, 40).bfloat16().requires_grad_(), torch.randint(0, 40, (6,)), []
    with torch.autograd.graph.saved_tensors_hooks(lambda tensor: kept.append(tensor) or tensor, lambda tensor: tensor):
        token_logprobs(logits, ids)
    assert [tensor.shape for tensor in kept if tensor.numel() >= logits.numel()] == [logits.shape]
    assert kept[0].data_ptr() == logits.data_ptr()


def test_a_gradient_of_the_gradient_is_refused():
    logits = torch.randn(2, 7, requires_grad=True)
    values = token_logprobs(logits, torch.tensor([1, 3]))
    (gradient,) = torch.autograd.grad(values.square().sum(), logits, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        gradient.sum().backward()


def test_reduced_precision_is_reduced_in_fp32():
    logits = torch.randn(2, 50).bfloat16()
    assert entropy(logits).dtype == token_logprobs(logits, torch.zeros(2, dtype=torch.long)).dtype == torch.float32
    torch.testing.assert_close(entropy(logits), entropy(logits.float()))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
@pytest.mark.parametrize("temperature", [0.3, 0.7, 2])
def test_the_temperature_divides_in_fp32(dtype, temperature):
    logits, ids = (8 * torch.randn(5, 50)).to(dtype), torch.randint(0, 50, (5,))
    exact = (logits.double() / temperature).log_softmax(-1)
    chosen = exact.gather(1, ids[:, None])[:, 0].float()
    torch.testing.assert_close(token_logprobs(logits, ids, temperature), chosen, atol=1e-5, rtol=1e-5)
    expected = -(exact.exp() * exact).sum(-1).float()
    torch.testing.assert_close(entropy(logits, temperature), expected, atol=1e-5, rtol=1e-5)


@given(rollout=rollouts(), family=st.sampled_from(["llama", "gpt2"]), temperature=st.sampled_from([0.7, 1.0, 2.0]))
@settings(max_examples=15, deadline=None)
def test_completion_logprobs_against_single_unpadded_forwards(rollout, family, temperature):
    model = tiny_model(family)
    with torch.no_grad():
        logprobs, entropies = completion_logprobs(model, rollout, temperature, with_entropy=True)
    for row in range(len(rollout)):
        prompt = rollout.prompt_ids[row][rollout.prompt_mask[row]].tolist()
        completion = rollout.completion_ids[row][rollout.completion_mask[row]].tolist()
        with torch.no_grad():
            logits = model(torch.tensor([prompt + completion])).logits[0].double() / temperature
        logp = logits.log_softmax(-1)
        for t, token in enumerate(completion):
            at = logp[len(prompt) + t - 1]
            assert float(logprobs[row, t]) == pytest.approx(float(at[token]), abs=rounding(model, at))
            assert float(entropies[row, t]) == pytest.approx(float(-(at.exp() * at).sum()), abs=rounding(model, at))
        assert not logprobs[row, len(completion) :].any()


def test_temperature_must_be_positive():
    ones = torch.ones(1, 2, dtype=torch.long)
    rollout = Rollout(ones, ones.bool(), ones, ones.bool(), ones.bool(), torch.zeros(1, dtype=torch.long))
    with pytest.raises(ValueError, match=r"temperature: got 0\.0"):
        completion_logprobs(tiny_model("llama"), rollout, temperature=0.0)


def test_a_first_token_with_nothing_before_it_is_refused():
    rollout = collate([[3], []], [[4, 5], [4, 5]], [0, 0], pad_id=0, tokenizer=None)
    for measure in (completion_logprobs, NextTokenEntropy()):
        with pytest.raises(ValueError, match=r"rollout.prompt_mask: row 1 has no prompt token, want at least one"):
            measure(tiny_model("llama"), rollout)


def test_no_rows_have_no_logprobs():
    rollout = collate([[3]], [[4, 5]], [0], pad_id=0, tokenizer=None).select(slice(0))
    logprobs, spread = completion_logprobs(tiny_model("llama"), rollout, with_entropy=True)
    assert logprobs.shape == spread.shape == (0, 1)
