"""What the sampler returns: the contract, the distribution, ends, seeds, and what it leaves as it was."""

import dataclasses
import os
import random
import signal

import numpy as np
import pytest
import torch
from engines import BOUND, PROMPTS, gap, needs_vllm, sampler_of, tokenizer, wide

from iapo.policy.forward import inference_mode
from iapo.testing.samplers import sampler_checks

pytestmark = needs_vllm

CHECKS = sampler_checks(prompts=PROMPTS, group_sizes=(1, 3), seeds=1, tolerance=BOUND)


@pytest.mark.parametrize("temperature", [0.7, 0.0])
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.name)
def test_contract(shared, check, temperature):
    check(dataclasses.replace(shared, temperature=temperature))


def naive_logits(model, prompt, completion):
    with inference_mode(model):
        logits = model(input_ids=torch.tensor([prompt + completion]), use_cache=False).logits[0]
    return logits[len(prompt) - 1 : -1]


@pytest.mark.parametrize(("temperature", "top_p"), [(1.0, 1.0), (2.0, 1.0), (2.0, 0.6)])
def test_tokens_come_from_the_stated_distribution(shared, temperature, top_p):
    sampler = dataclasses.replace(shared, max_new_tokens=1, temperature=temperature, top_p=top_p)
    prompt, draws = tokenizer().encode("3+8=<think>3+", add_special_tokens=False), 1000
    rollout = sampler([prompt], draws)
    p = (naive_logits(shared.model, prompt, [0])[0] / temperature).softmax(-1)
    order = p.argsort(descending=True)
    kept = order[: int((p[order].cumsum(0) < top_p).sum()) + 1] if top_p < 1 else order
    expected = torch.zeros_like(p).index_copy(0, kept, p[kept] / p[kept].sum())
    found = torch.bincount(rollout.completion_ids[:, 0], minlength=len(p)) / draws
    assert (found[expected == 0] == 0).all()
    assert ((found - expected).abs() <= 4.5 * (expected * (1 - expected) / draws).sqrt() + 1e-6).all()


def test_greedy_completions_are_the_argmax_and_all_alike(shared):
    rollout = dataclasses.replace(shared, temperature=0.0)(PROMPTS, 3)
    for row in range(len(rollout)):
        prompt = rollout.prompt_ids[row, rollout.prompt_mask[row]].tolist()
        completion = rollout.completion_ids[row, rollout.completion_mask[row]].tolist()
        assert naive_logits(shared.model, prompt, completion).argmax(-1).tolist() == completion
        assert torch.equal(rollout.completion_ids[row], rollout.completion_ids[row // 3 * 3])


def test_every_end_of_sequence_id_ends_a_completion(shared):
    """With ends in the middle of texts, and with none at all."""
    model, own = shared.model, shared.model.generation_config.eos_token_id
    plus = tokenizer().encode("+", add_special_tokens=False)[0]
    try:
        model.generation_config.eos_token_id = [own, plus]
        rollout = shared(PROMPTS, 8)
        rows = [ids[mask].tolist() for ids, mask in zip(rollout.completion_ids, rollout.completion_mask, strict=True)]
        assert {own, plus} == set(shared.eos_ids)
        assert any(row[-1] == plus for row in rows)
        assert not any({own, plus} & set(row[:-1]) for row in rows)
        endless = tokenizer()
        endless.eos_token = model.generation_config.eos_token_id = None
        assert dataclasses.replace(shared, tokenizer=endless)(PROMPTS, 2).completion_mask.all()
    finally:
        model.generation_config.eos_token_id = own


def test_seeds_repeat_and_completions_differ(shared):
    torch.manual_seed(3)
    first, second = shared(["1+2=", "1+2="], 8), shared(["1+2=", "1+2="], 8)
    torch.manual_seed(3)
    again = shared(["1+2=", "1+2="], 8)
    assert torch.equal(first.completion_ids, again.completion_ids)
    assert torch.equal(first.sampler_logprobs, again.sampler_logprobs)
    rows = [tuple(row) for rollout in (first, second) for row in rollout.completion_ids.tolist()]
    assert len(set(rows)) > 16


@pytest.mark.parametrize(("temperature", "known"), [(1.0, True), (0.7, False), (0.0, True)])
def test_log_probabilities_under_top_p_are_those_before_the_cut_or_none(temperature, known):
    sampler = sampler_of(wide(), temperature=temperature, top_p=0.8)
    rollout = sampler(PROMPTS, 4)
    assert (rollout.sampler_logprobs is not None) == known
    if known:
        assert gap(sampler.model, rollout) < BOUND


def test_starting_and_sampling_leave_the_process_as_it_was():
    sampler = sampler_of(wide())
    threads = torch.get_num_threads()

    def state():
        numpy = np.random.get_state()[1].tolist()
        environment = {name: value for name, value in os.environ.items() if not name.startswith("_TORCHINDUCTOR")}
        return numpy, environment, torch.get_num_threads(), torch.set_num_threads, signal.getsignal(signal.SIGINT)

    torch.manual_seed(5)
    torch.randint(2**62, (2,))
    drawn = torch.get_rng_state()
    before, python = state(), random.getstate()
    torch.manual_seed(5)
    sampler.sample(["1+2=", "3*4="], 2)  # the hook: the checks of the call draw from Python's random numbers
    assert state() == before
    assert random.getstate() == python
    assert torch.equal(torch.get_rng_state(), drawn)
    torch.set_num_threads(threads)
    assert torch.get_num_threads() == threads


def test_an_interrupted_call_leaves_nothing_behind(shared):
    """The requests of the call that was interrupted are not answered in the next one."""

    class Stopped(BaseException):
        pass

    def stop(*_):
        raise Stopped

    sampler = sampler_of(wide())
    torch.manual_seed(1)
    expected = sampler(PROMPTS, 2)
    handler = signal.signal(signal.SIGALRM, stop)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        with pytest.raises(Stopped):
            sampler(PROMPTS * 16, 8)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, handler)
    torch.manual_seed(1)
    assert torch.equal(sampler(PROMPTS, 2).completion_ids, expected.completion_ids)


def test_engines_of_one_process_do_not_depend_on_each_other(shared):
    other = sampler_of(wide())
    other(PROMPTS, 1)
    other.engine.close()
    assert gap(shared.model, shared(PROMPTS, 2)) < BOUND
    assert gap(other.model, other(PROMPTS, 2)) < BOUND
    del other
    assert gap(shared.model, shared(PROMPTS, 2)) < BOUND
