"""Sampling with a server: the contract, weights that arrive, seeds that repeat, and what it leaves as it was."""

import dataclasses
import signal
from pathlib import Path

import pytest
import torch
from engines import BOUND, PROMPTS, gap, moved, needs_vllm, tokenizer, wide
from servers import between

from iapo.testing.samplers import sampler_checks

pytestmark = needs_vllm

CHECKS = sampler_checks(prompts=PROMPTS, group_sizes=(1, 3), seeds=1, tolerance=BOUND)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.name)
def test_contract(served, check):
    check(dataclasses.replace(served, temperature=0.7))


@pytest.mark.parametrize("temperature", [1.0, 0.7, 0.0])
def test_completions_are_those_of_an_engine_in_the_process_bit_for_bit(served, shared, temperature):
    rollouts = []
    for sampler in (served, shared, served):
        torch.manual_seed(3)
        rollouts.append(dataclasses.replace(sampler, temperature=temperature)([*PROMPTS, PROMPTS[0]], 4))
    for rollout in rollouts[1:]:
        assert torch.equal(rollout.completion_ids, rollouts[0].completion_ids)
        assert torch.equal(rollout.sampler_logprobs, rollouts[0].sampler_logprobs)


def test_weights_arrive_after_every_change_and_only_then(server, served):
    """Also those of a model whose head is tied, which a server on a CPU keeps as it was if nobody prepares it again."""
    paths = []

    def seen(path, payload, ask):
        paths.append((path, (payload or {}).get("method")))
        return ask()

    with between(server, seen) as url:
        sampler = dataclasses.replace(served, url=url, engine=None)
        model = sampler.model
        before = sampler(PROMPTS, 2)
        paths.clear()
        sampler(PROMPTS, 2)
        assert ("/collective_rpc", "load_policy") not in paths
        model.load_state_dict(moved(model, 0.5).state_dict())
        assert gap(model, before) > 100 * BOUND
        assert gap(model, sampler(PROMPTS, 4)) < BOUND
        assert paths.count(("/collective_rpc", "load_policy")) == 1
        model.model.layers[0].mlp.up_proj.weight.data.mul_(1.1)
        assert gap(model, sampler(PROMPTS, 4)) < BOUND
    assert not [path for path in Path(served.weights_folder).iterdir() if path.suffix != ".lock"]


def test_two_policies_that_take_turns_never_get_completions_of_another(served):
    other = dataclasses.replace(served, model=moved(served.model, 0.5), engine=None)
    for sampler in (served, other, served, other):
        assert gap(sampler.model, sampler(PROMPTS, 2)) < BOUND


def test_adapters_are_merged_into_what_is_handed_over(served):
    peft = pytest.importorskip("peft", reason="peft is not installed")
    model = peft.get_peft_model(wide(), peft.LoraConfig(r=4, target_modules="all-linear"))
    for name, parameter in model.named_parameters():
        if "lora" in name:
            parameter.data.add_(0.1 * torch.randn_like(parameter))
    rollout = dataclasses.replace(served, model=model)(PROMPTS, 4)
    assert gap(model, rollout) < BOUND < gap(wide(), rollout)


def test_few_completions_at_once_are_the_same(served):
    """Also fewer than a group has."""
    rollouts = []
    for most in (None, 4, 3, 1):
        torch.manual_seed(1)
        rollouts.append(dataclasses.replace(served, max_batch=most, engine=None)(PROMPTS, 4))
    for rollout in rollouts[1:]:
        assert torch.equal(rollouts[0].completion_ids, rollout.completion_ids)
        assert torch.equal(rollouts[0].sampler_logprobs, rollout.sampler_logprobs)


def test_log_probabilities_under_top_p_and_temperature_are_none(served):
    assert dataclasses.replace(served, temperature=0.7, top_p=0.8)(PROMPTS, 2).sampler_logprobs is None


def test_an_interrupted_call_ends_at_once_and_the_next_is_as_ever(served):
    class Stopped(BaseException):
        pass

    def stop(*_):
        raise Stopped

    torch.manual_seed(1)
    expected = served(PROMPTS, 2)
    longer = dataclasses.replace(served, tokenizer=tokenizer(), max_new_tokens=200)
    handler = signal.signal(signal.SIGALRM, stop)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.3)
        with pytest.raises(Stopped):
            longer(PROMPTS * 16, 8)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, handler)
    torch.manual_seed(1)
    assert torch.equal(served(PROMPTS, 2).completion_ids, expected.completion_ids)
