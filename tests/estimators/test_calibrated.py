"""The calibrated estimator: the adapter acts where it should, learns what it should, and the policy never notices."""

import copy
import dataclasses
import gc
from unittest.mock import patch

import pytest
import safetensors.torch
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from models import tiny_model
from tolerances import rounding
from transformers import AutoModelForCausalLM, DynamicCache

from iapo.embedded import generate_problems, model_path
from iapo.estimators import AnswerLikelihood, Calibrated, EarlyExitEntropy, Refined, UnsupportedModelError, calibrated
from iapo.estimators.calibrated import sample_prefixes
from iapo.estimators.packed import needed_probes
from iapo.policy.forward import cache_argument
from iapo.rollout import TransformersSampler
from iapo.testing import rollouts

POSTFIX, CLOSING = (4, 5, 6), (7,)
LIKELIHOOD = AnswerLikelihood(POSTFIX, CLOSING)


def disturbed(likelihood, model, **arguments) -> Calibrated:
    """With an adapter that does something."""
    torch.manual_seed(1)
    estimator = Calibrated(likelihood, model, **arguments)
    for parameter in estimator.adapter.up.values():
        torch.nn.init.normal_(parameter, std=0.3)
    return estimator


def optimizer_of(estimator, lr=1e-2):
    return torch.optim.AdamW(estimator.parameters(), lr=lr, weight_decay=0.0)


def naive_likelihood(estimator, model, rollout, row, t) -> torch.Tensor:
    """Prompt and prefix read by the plain model, postfix and answer by the adapted one, no packing."""
    prompt = rollout.prompt_ids[row][rollout.prompt_mask[row]]
    prefix = torch.cat([prompt, rollout.completion_ids[row, :t]])
    answer = [*rollout.answer_ids[row][rollout.answer_mask[row]].tolist(), *CLOSING]
    cache = DynamicCache()
    with torch.no_grad():
        model(prefix[None], use_cache=True, **{cache_argument(model): cache})
    with estimator.adapter.active(model):
        logits = model(torch.tensor([[*POSTFIX, *answer]]), use_cache=True, **{cache_argument(model): cache}).logits[0]
    logp = logits.log_softmax(-1)[len(POSTFIX) - 1 : -1]
    return logp[torch.arange(len(answer)), answer].sum()


@given(rollout=rollouts(max_token=7), family=st.sampled_from(["llama", "gpt2", "qwen2"]))
@settings(max_examples=20)
def test_the_adapter_acts_in_postfix_and_answer_only(rollout, family):
    model = tiny_model(family).double()
    estimator = disturbed(LIKELIHOOD, model, rank=3)
    found, plain = estimator.probe(model, rollout), LIKELIHOOD.probe(model, rollout)
    asked = needed_probes(rollout) & rollout.answer_mask.any(1)[:, None]
    for row, t in asked.nonzero().tolist():
        expected = naive_likelihood(estimator, model, rollout, row, t)
        torch.testing.assert_close(found[row, t], expected.detach(), atol=1e-8, rtol=0)
        assert abs(found[row, t] - plain[row, t]) > 1e-6, "the adapter must do something"
    assert not found[~asked].any()


@given(rollout=rollouts(max_token=6), family=st.sampled_from(["llama", "gpt2"]), most=st.sampled_from([1, 600, 2**26]))
@settings(max_examples=20)
def test_loss_and_gradient_are_those_of_the_naive_forward(rollout, family, most):
    """However few logits are to be there at once."""
    model = tiny_model(family).double()
    rows = (rollout.answer_mask.any(1) & rollout.reasoning_mask.any(1)).nonzero().flatten()
    if len(rows) == 0:
        return
    rollout = rollout.select(rows)
    estimator = disturbed(LIKELIHOOD, model, rank=2)
    at = needed_probes(rollout).nonzero().tolist()
    expected = -torch.stack([naive_likelihood(estimator, model, rollout, row, t) for row, t in at]).mean()
    parameters = list(estimator.parameters())
    wanted = torch.autograd.grad(expected, parameters)
    with patch.object(calibrated, "MAX_LOGITS", most):
        loss = estimator._backward(model, rollout, prefixes=100)
    assert not loss.requires_grad
    torch.testing.assert_close(loss, expected.detach(), atol=1e-8, rtol=0, check_dtype=False)
    for parameter, gradient in zip(parameters, wanted, strict=True):
        torch.testing.assert_close(parameter.grad, gradient, atol=1e-8, rtol=1e-6)
    assert all(parameter.grad is None for parameter in model.parameters())


def test_logits_that_are_there_at_once_are_bounded(monkeypatch):
    from ragged_rollouts import rollout

    model, sample, sizes = tiny_model("llama"), rollout().select(torch.tensor([0, 0, 0])), []
    model.lm_head.register_forward_hook(lambda module, inputs, logits: sizes.append(logits.numel()))
    monkeypatch.setattr(calibrated, "MAX_LOGITS", 200)
    estimator = Calibrated(LIKELIHOOD, model)
    estimator.fit(model, sample, optimizer_of(estimator), steps=1, prefixes=1)
    assert len(sizes) > 1
    assert max(sizes) <= 200


@given(rollout=rollouts())
@settings(max_examples=15)
def test_not_fitted_it_is_the_wrapped_estimator(rollout):
    model = tiny_model("llama").double()
    for wrapped in (LIKELIHOOD, EarlyExitEntropy(POSTFIX)):
        estimator = Calibrated(LIKELIHOOD, model, wrapped)
        torch.testing.assert_close(
            estimator(model, rollout), wrapped(model, rollout), atol=1e-6, rtol=0, check_dtype=False
        )


@pytest.fixture(scope="module")
def model():
    return AutoModelForCausalLM.from_pretrained(model_path())


@pytest.fixture(scope="module")
def likelihood(embedded_tokenizer):
    def ids(text):
        return tuple(embedded_tokenizer(text, add_special_tokens=False)["input_ids"])

    return AnswerLikelihood(ids("</think><answer>"), ids("</answer>"))


@pytest.fixture(scope="module")
def completions(model, embedded_tokenizer):
    torch.manual_seed(0)
    sampler = TransformersSampler(model, embedded_tokenizer, max_new_tokens=64)
    problems = generate_problems(96, seed=0, difficulty=2)
    rollout = sampler([problem.prompt for problem in problems], 1)
    return rollout.select((rollout.answer_mask.any(1)).nonzero().flatten())


class TestEmbedded:
    def test_fitting_makes_unseen_answers_likelier(self, model, likelihood, completions):
        torch.manual_seed(0)
        fitted, held_out = completions.select(slice(0, 64)), completions.select(slice(64, 96))
        estimator = Calibrated(likelihood, model)
        optimizer = optimizer_of(estimator)

        def nll(of) -> float:
            return float(-of.probe(model, held_out).sum() / needed_probes(held_out).sum())

        before = nll(estimator)
        first = estimator.fit(model, fitted, optimizer, steps=2, rows=16, prefixes=4)
        last = estimator.fit(model, fitted, optimizer, steps=25, rows=32, prefixes=4)
        assert last["nll"] < first["nll"]
        assert nll(estimator) < 0.6 * before, (before, nll(estimator))

    def test_the_policy_does_not_notice(self, model, likelihood, completions):
        model = copy.deepcopy(model).train()
        model.model.layers[0].eval()
        for index, parameter in enumerate(model.parameters()):
            parameter.grad = torch.full_like(parameter, float(index)) if index % 2 else None
        weights = {name: value.clone() for name, value in model.state_dict().items()}
        grads = [None if p.grad is None else p.grad.clone() for p in model.parameters()]
        modes = [module.training for module in model.modules()]
        attention = model.config._attn_implementation
        estimator = Calibrated(likelihood, model)
        start = {name: value.clone() for name, value in estimator.state_dict().items()}
        part = completions.select(slice(0, 8))
        estimator.fit(model, part, optimizer_of(estimator), steps=2, rows=8, prefixes=4)
        estimator(model, part)
        assert all(torch.equal(value, weights[name]) for name, value in model.state_dict().items())
        for parameter, grad in zip(model.parameters(), grads, strict=True):
            assert parameter.requires_grad
            assert (parameter.grad is None) == (grad is None)
            assert grad is None or torch.equal(parameter.grad, grad)
        assert [module.training for module in model.modules()] == modes
        assert model.config._attn_implementation == attention
        assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
        assert any(not torch.equal(value, start[name]) for name, value in estimator.state_dict().items())
        assert all(p.grad is None for p in estimator.parameters())

    def test_it_is_repeatable_and_saves_as_tensors(self, model, likelihood, completions, tmp_path):
        part = completions.select(slice(0, 8))

        def run() -> Calibrated:
            torch.manual_seed(3)
            estimator = Calibrated(likelihood, model, rank=2)
            estimator.fit(model, part, optimizer_of(estimator), steps=2, rows=5, prefixes=3)
            return estimator

        first, second = run(), run()
        assert torch.equal(first.probe(model, part), second.probe(model, part))
        safetensors.torch.save_file(first.state_dict(), tmp_path / "adapter.safetensors")
        loaded = Calibrated(likelihood, model, rank=2)
        loaded.load_state_dict(safetensors.torch.load_file(tmp_path / "adapter.safetensors"))
        assert torch.equal(first.probe(model, part), loaded.probe(model, part))

    def test_under_ddp_the_policy_still_trains(self, model, likelihood, completions, tmp_path):
        """A backward that leaves the policy out must not leave DDP waiting for it."""

        def train():
            part = completions.select(slice(0, 4))
            wrapped = torch.nn.parallel.DistributedDataParallel(copy.deepcopy(model))
            estimator = Calibrated(likelihood, wrapped)
            for _ in range(2):
                estimator.fit(wrapped, part, optimizer_of(estimator), steps=2, rows=4, prefixes=2)
                estimator(wrapped, part)
                wrapped(part.completion_ids).logits.sum().backward()
            assert all(p.grad is not None for p in wrapped.parameters())

        store = torch.distributed.FileStore(str(tmp_path / "store"), 1)
        torch.distributed.init_process_group("gloo", store=store, rank=0, world_size=1)
        try:
            train()
            # A DDP that outlives its group takes it down holding the GIL, for which gloo's thread may wait.
            gc.collect()
        finally:
            torch.distributed.destroy_process_group()

    def test_it_can_be_refined(self, model, likelihood, completions):
        part = completions.select(slice(0, 4))
        estimator = disturbed(likelihood, model)
        refined = Refined(estimator, stride=4, threshold=0.0)(model, part)
        atol = rounding(model, estimator.probe(model, part))
        torch.testing.assert_close(refined, estimator(model, part), atol=atol, rtol=0)


@given(rollout=rollouts(max_token=12), count=st.integers(1, 15))
@settings(max_examples=30)
def test_sampled_prefixes_are_needed_and_distinct(rollout, count):
    needed = needed_probes(rollout)
    at, counted = sample_prefixes(needed, count)
    for row in range(len(rollout)):
        chosen = at[row][counted[row]].tolist()
        assert len(set(chosen)) == len(chosen) == min(count, int(needed[row].sum()))
        assert all(needed[row, t] for t in chosen)


def test_the_default_dtype_of_torch_changes_no_sample():
    needed, found = torch.ones(3, 9, dtype=torch.bool), []
    for dtype in (torch.float32, torch.float64, torch.bfloat16):
        torch.manual_seed(0)
        torch.set_default_dtype(dtype)
        try:
            found.append(sample_prefixes(needed, 4)[0].tolist())
        finally:
            torch.set_default_dtype(torch.float32)
    assert found[1:] == found[:1] * 2


def test_nothing_to_fit_changes_nothing():
    from ragged_rollouts import rollout

    model, sample = tiny_model("llama"), rollout()
    estimator = Calibrated(LIKELIHOOD, model)
    before = {name: value.clone() for name, value in estimator.state_dict().items()}
    empty = dataclasses.replace(sample, answer_mask=torch.zeros_like(sample.answer_mask))
    assert estimator.fit(model, empty, optimizer_of(estimator)) == {}
    silent = dataclasses.replace(sample, reasoning_mask=torch.zeros_like(sample.reasoning_mask))
    assert estimator.fit(model, silent, optimizer_of(estimator)) == {}
    assert not estimator(model, silent).any()
    assert all(torch.equal(value, before[name]) for name, value in estimator.state_dict().items())


def test_what_cannot_work_is_refused():
    from ragged_rollouts import rollout

    model, sample = tiny_model("llama"), rollout()
    estimator = Calibrated(LIKELIHOOD, model)
    optimizer = optimizer_of(estimator)
    with pytest.raises(ValueError, match="rank"):
        Calibrated(LIKELIHOOD, model, rank=0)
    with pytest.raises(ValueError, match="answer_ids"):
        estimator.fit(model, dataclasses.replace(sample, answer_ids=None, answer_mask=None), optimizer)
    for name in ("steps", "rows", "prefixes", "max_grad_norm"):
        with pytest.raises(ValueError, match=name):
            estimator.fit(model, sample, optimizer, **{name: 0})
    longest = int((sample.prompt_mask.sum(1) + sample.completion_mask.sum(1)).max())
    short = tiny_model("llama")
    short.config.max_position_embeddings = longest
    with pytest.raises(ValueError, match=f"the model has {longest}"):
        estimator.fit(short, sample, optimizer)
    with patch.object(calibrated, "sharded", lambda model: True), pytest.raises(UnsupportedModelError, match="sharded"):
        estimator.fit(model, sample, optimizer)
    with pytest.raises(ValueError, match="linear layers"):
        estimator(tiny_model("gpt2"), sample)
    for parameter in estimator.adapter.up.values():
        torch.nn.init.constant_(parameter, torch.nan)
    with pytest.raises(FloatingPointError, match="loss nan"):
        estimator.fit(model, sample, optimizer)
    assert all(parameter.grad is None for parameter in estimator.parameters())
