"""Estimators at the sampler's temperature, against naive float64 loops over logits divided by it."""

import pytest
import torch
from models import VOCAB, tiny_model
from tolerances import rounding

from iapo import Rollout
from iapo.estimators import AnswerEntropy, AnswerLikelihood, Calibrated, EarlyExitEntropy, NextTokenEntropy
from iapo.estimators.packed import needed_probes

POSTFIX, CLOSING, CANDIDATES = (4, 5), (6,), ((9, 12), (9, 3), (10,))
LIKELIHOOD = AnswerLikelihood(POSTFIX, CLOSING, temperature=0.6)


def rollout() -> Rollout:
    generator = torch.Generator().manual_seed(1)
    mask = torch.arange(7) < torch.tensor([7, 4])[:, None]
    return Rollout(
        prompt_ids=torch.randint(3, VOCAB, (2, 5), generator=generator),
        prompt_mask=torch.arange(5) >= torch.tensor([2, 0])[:, None],
        completion_ids=torch.randint(3, VOCAB, (2, 7), generator=generator),
        completion_mask=mask,
        reasoning_mask=mask,
        group_ids=torch.zeros(2, dtype=torch.long),
        answer_ids=torch.tensor([[9, 12], [10, 3]]),
        answer_mask=torch.ones(2, 2, dtype=torch.bool),
    )


@torch.no_grad()
def logprobs(model, ids: list[int], temperature: float) -> torch.Tensor:
    return (model(torch.tensor([ids])).logits[0].double() / temperature).log_softmax(-1)


def likelihood(model, prefix: list[int], answer: tuple[int, ...], temperature: float) -> torch.Tensor:
    found = logprobs(model, [*prefix, *answer], temperature)
    return torch.stack([found[len(prefix) + i - 1, token] for i, token in enumerate(answer)]).sum()


def spread(logp: torch.Tensor) -> torch.Tensor:
    return -(logp.exp() * logp).sum()


def early_exit(model, prefix, answer, temperature):
    return spread(logprobs(model, [*prefix, *POSTFIX], temperature)[-1])


def own_answer(model, prefix, answer, temperature):
    return likelihood(model, [*prefix, *POSTFIX], (*answer, *CLOSING), temperature)


def candidates(model, prefix, answer, temperature):
    each = [likelihood(model, [*prefix, *POSTFIX], (*one, *CLOSING), temperature) for one in CANDIDATES]
    return spread(torch.stack(each).log_softmax(0))


def next_token(model, prefix, answer, temperature):
    return spread(logprobs(model, prefix, temperature)[-1])


CASES = {
    "early exit": (lambda **k: EarlyExitEntropy(POSTFIX, **k), early_exit),
    "likelihood": (lambda **k: AnswerLikelihood(POSTFIX, CLOSING, **k), own_answer),
    "candidates": (lambda **k: AnswerEntropy(POSTFIX, CANDIDATES, CLOSING, **k), candidates),
    "next token": (lambda **k: NextTokenEntropy(**k), next_token),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("temperature", [0.6, 1.0, 1.7])
def test_against_a_loop(case, temperature):
    make, naive = CASES[case]
    model, sample = tiny_model("llama"), rollout()
    found = make(temperature=temperature).probe(model, sample).double()
    for row, t in needed_probes(sample).nonzero().tolist():
        prompt = sample.prompt_ids[row][sample.prompt_mask[row]].tolist()
        prefix, answer = [*prompt, *sample.completion_ids[row, :t].tolist()], sample.answer_ids[row].tolist()
        expected = naive(model, prefix, answer, temperature)
        # Logits of size x have the rounding of x / temperature, and more products of an answer add up.
        atol = rounding(model, expected) / min(1, temperature)
        torch.testing.assert_close(found[row, t], expected, atol=atol, rtol=0)


@pytest.mark.parametrize("case", CASES)
def test_temperature_1_is_the_default_to_the_bit(case):
    make, _ = CASES[case]
    model, sample = tiny_model("llama"), rollout()
    assert torch.equal(make().probe(model, sample), make(temperature=1.0).probe(model, sample))
    assert (make().probe(model, sample) - make(temperature=1.2).probe(model, sample)).abs().max() > 1e-2


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("temperature", [0.0, -1.0, float("inf"), float("nan")])
def test_bad_temperatures_are_named(case, temperature):
    with pytest.raises(ValueError, match=f"temperature: got {temperature}"):
        CASES[case][0](temperature=temperature)


def test_calibration_fits_at_the_temperature_of_its_likelihood():
    """Before the first step the adapter adds nothing, so the loss is that of the estimator itself."""
    model, sample = tiny_model("llama"), rollout()
    calibrated = Calibrated(LIKELIHOOD, model, rank=1)
    at = needed_probes(sample)
    expected = -LIKELIHOOD.probe(model, sample)[at].mean()
    loss = calibrated._backward(model, sample, at.shape[1])
    torch.testing.assert_close(loss, expected, atol=1e-4, rtol=0)
