"""Estimators beyond their contract (`iapo.testing`): what they compute at once, and what they refuse."""

import dataclasses

import pytest
import torch
from models import Bent, tiny_model
from ragged_rollouts import rollout

from iapo import MIEstimator, Rollout
from iapo.estimators import (
    AnswerEntropy,
    AnswerLikelihood,
    EarlyExitEntropy,
    NextTokenEntropy,
    NoInformation,
    Refined,
    UnsupportedModelError,
    next_token,
)
from iapo.estimators.packed import memory, needed_probes

ESTIMATORS = [EarlyExitEntropy((4, 5)), AnswerLikelihood((4, 5), closing_ids=(6,)), NextTokenEntropy(), NoInformation()]


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=lambda e: type(e).__name__)
def test_gradient_checkpointing_changes_nothing(estimator):
    """In training mode, where it would empty the cache."""
    model = tiny_model("llama")
    expected = estimator(model, rollout())
    getattr(model, "activation_checkpointing_enable", model.gradient_checkpointing_enable)()
    assert torch.equal(estimator(model.train(), rollout()), expected)


@pytest.mark.parametrize("estimator", ESTIMATORS[:2], ids=lambda e: type(e).__name__)
class TestPacked:
    def test_a_model_that_ignores_positions_is_refused(self, estimator):
        def without_positions(inputs):
            return {name: value for name, value in inputs.items() if name != "position_ids"}

        with pytest.raises(UnsupportedModelError, match="differs from the naive one"):
            estimator(Bent(tiny_model("llama"), without_positions), rollout())

    def test_a_recurrent_model_is_refused_before_any_forward(self, estimator):
        model = tiny_model("llama")
        model.config.layer_types = ["full_attention", "linear_attention"]
        model.forward = None
        with pytest.raises(UnsupportedModelError, match="linear_attention"):
            estimator(model, rollout())

    def test_too_long_a_text_is_refused(self, estimator):
        model = tiny_model("gpt2")
        model.config.max_position_embeddings = 8
        with pytest.raises(ValueError, match=r"max_position_embeddings"):
            estimator(model, rollout())

    def test_out_of_memory_halves_the_chunk_and_changes_nothing(self, estimator):
        def short(inputs):
            if inputs["input_ids"].shape[1] > 14:
                raise torch.OutOfMemoryError("too much")
            return inputs

        model, sample = tiny_model("llama").double(), rollout()
        expected = estimator(model, sample)
        unguarded = dataclasses.replace(estimator, guard=False)
        found = unguarded(Bent(model, short), sample)
        torch.testing.assert_close(found, expected, atol=1e-6, rtol=0, check_dtype=False)

    @pytest.mark.parametrize("arguments", [{"postfix_ids": ()}, {"postfix_ids": (-1,)}, {"chunk": 0}])
    def test_bad_parameters_are_named(self, estimator, arguments):
        with pytest.raises(ValueError, match=next(iter(arguments))):
            dataclasses.replace(estimator, **arguments)


@pytest.mark.parametrize(("estimator", "rows"), [(ESTIMATORS[0], 3), (ESTIMATORS[1], 9), (ESTIMATORS[2], 4)])
def test_no_forward_makes_logits_of_all_tokens(estimator, rows, monkeypatch):
    sample, model, seen = rollout(), tiny_model("llama").double(), []
    model.register_forward_hook(lambda module, inputs, output: seen.append(output.logits[..., 0].numel()))
    expected = estimator(model, sample)
    for module in (memory, next_token):
        monkeypatch.setattr(module, "MAX_LOGITS", rows * model.config.vocab_size)
    seen.clear()
    torch.testing.assert_close(estimator(model, sample), expected, atol=1e-6, rtol=0, check_dtype=False)
    assert seen
    assert max(seen) <= rows < sample.completion_ids.numel()


@pytest.mark.parametrize("chunk", [None, 1, 4, 9])
def test_next_token_entropy_is_that_of_each_prefix_alone(chunk):
    sample, model = rollout(), tiny_model("gpt2").double()
    probes = NextTokenEntropy(chunk).probe(model, sample)
    for row, t in needed_probes(sample).nonzero().tolist():
        ids = torch.cat([sample.prompt_ids[row][sample.prompt_mask[row]], sample.completion_ids[row, :t]])
        logp = model(ids[None]).logits[0, -1].log_softmax(-1)
        torch.testing.assert_close(probes[row, t], -(logp.exp() * logp).sum().detach(), atol=1e-8, rtol=0)


@pytest.mark.parametrize(
    ("estimator", "name"),
    [
        (EarlyExitEntropy((4, 999)), "postfix_ids"),
        (AnswerLikelihood((999,)), "postfix_ids"),
        (AnswerLikelihood((4,), (999,)), "closing_ids"),
        (AnswerEntropy((4,), candidates=((3,), (999,))), "candidates"),
        (AnswerEntropy((4,), candidates=((3,), (7,)), closing_ids=(999,)), "candidates"),
    ],
)
def test_ids_beyond_the_vocabulary_are_named(estimator, name):
    with pytest.raises(ValueError, match=f"{name}: got token id 999, the model's vocabulary has 31 entries"):
        estimator.probe(tiny_model("llama"), rollout())


@pytest.mark.parametrize("wrapped", [EarlyExitEntropy((4, 5)), Refined(EarlyExitEntropy((4, 5)))])
def test_a_text_longer_than_the_table_of_positions_is_named(wrapped):
    """By the guard too, whose forward comes first, and where the cache is filled outside."""
    model = tiny_model("gpt2")
    model.transformer.wpe = torch.nn.Embedding(8, model.config.n_embd)
    model.config.n_positions = 8
    with pytest.raises(ValueError, match="max_position_embeddings"):
        wrapped.probe(model, rollout())


def test_forced_answers_need_not_be_consistent():
    """The mean of a token's information over the policy is no mutual information: it can be negative."""
    sample = rollout()
    prompt = sample.prompt_ids[:1][:, sample.prompt_mask[0]]
    everywhere = torch.ones(31, 1, dtype=torch.bool)
    every = Rollout(
        prompt_ids=prompt.expand(31, -1),
        prompt_mask=torch.ones(31, prompt.shape[1], dtype=torch.bool),
        completion_ids=torch.arange(31)[:, None],
        completion_mask=everywhere,
        reasoning_mask=everywhere,
        group_ids=torch.zeros(31, dtype=torch.long),
    )
    means = []
    for seed in range(6):
        model = tiny_model("llama", seed=seed)
        policy = model(prompt).logits[0, -1].detach().softmax(-1)
        means.append(float((policy * EarlyExitEntropy((4, 5))(model, every)[:, 0]).sum()))
    assert min(means) < -0.05


def test_likelihood_without_answers_is_an_error():
    sample = dataclasses.replace(rollout(), answer_ids=None, answer_mask=None)
    with pytest.raises(ValueError, match="answer_ids"):
        AnswerLikelihood((4,))(tiny_model("llama"), sample)


def test_a_row_without_an_answer_is_asked_for_nothing():
    """Not for the closing token either."""
    asked = AnswerLikelihood((4,), closing_ids=(6,)).asked(rollout())
    assert asked.counts.sum(1).tolist() == [3, 2, 0]
    assert asked.targets[0, 2] == asked.targets[1, 1] == 6


def test_small_rollouts_take_one_forward():
    model, calls = tiny_model("llama"), []
    model.register_forward_hook(lambda *_: calls.append(1))
    NextTokenEntropy()(model, rollout())
    assert len(calls) == 1


def test_a_row_without_an_answer_has_no_information():
    information = AnswerLikelihood((4,), closing_ids=(6,))(tiny_model("llama"), rollout())
    assert not information[2].any()
    assert information[0].any()


def test_a_hook_without_annotations_is_checked_all_the_same():
    class Short(MIEstimator):
        def probe(self, model, rollout):
            return torch.zeros(len(rollout), rollout.completion_ids.shape[1])

    class Broken(MIEstimator):
        def probe(self, model, rollout):
            return torch.full((len(rollout), rollout.completion_ids.shape[1] + 1), torch.nan)

    with pytest.raises(ValueError, match=r"Short.probe: want shape \(batch, token \+ 1\) = \(3, 7\), got \(3, 6\)"):
        Short()(tiny_model("llama"), rollout())
    with pytest.raises(FloatingPointError, match=r"Broken: .*rows \[0, 2\]"):
        Broken()(tiny_model("llama"), rollout())


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
@pytest.mark.parametrize("estimator", ESTIMATORS, ids=lambda e: type(e).__name__)
def test_cuda_agrees_with_cpu(estimator):
    model, sample = tiny_model("llama"), rollout()
    expected = estimator(model, sample)
    torch.testing.assert_close(estimator(model.cuda(), sample.to("cuda")).cpu(), expected, atol=1e-4, rtol=0)
