"""After every kind of change of the policy's weights, vLLM's log-probabilities are those of transformers."""

import copy
import dataclasses

import pytest
import torch
from engines import BOUND, PROMPTS, gap, moved, needs_vllm, sampler_of, tokenizer, wide
from transformers import AutoConfig, AutoModelForCausalLM

from iapo.policy.forward import UnsupportedModelError
from iapo.policy.logprobs import completion_logprobs
from iapo.rollout.vllm import local

pytestmark = needs_vllm


def step(model, sampler, optimizer):
    """One step on the log-probabilities of new completions."""
    rollout = sampler(PROMPTS, 2)
    completion_logprobs(model, rollout)[0].sum().backward()
    optimizer.step()
    optimizer.zero_grad()


CHANGES = {
    "AdamW": lambda model: torch.optim.AdamW(model.parameters(), lr=1e-2),
    "fused AdamW": lambda model: torch.optim.AdamW(model.parameters(), lr=1e-2, fused=True),
    "SGD": lambda model: torch.optim.SGD(model.parameters(), lr=1e-4),
}


@pytest.mark.parametrize("name", CHANGES)
def test_after_optimizer_steps(shared, name):
    model = wide()
    sampler, optimizer = dataclasses.replace(shared, model=model), CHANGES[name](model)
    before = sampler(PROMPTS, 1)
    for _ in range(2):
        step(model, sampler, optimizer)
    assert gap(model, before) > 100 * BOUND  # the weights moved
    assert gap(model, sampler(PROMPTS, 4)) < BOUND


def test_after_changes_that_move_no_version_counter(shared):
    model = wide()
    sampler = dataclasses.replace(shared, model=model)
    sampler(PROMPTS, 1)
    for parameter in model.parameters():
        parameter.data.mul_(1.1)
    assert gap(model, sampler(PROMPTS, 4)) < BOUND
    up = model.model.layers[0].mlp.up_proj.weight
    up.data = up.data.flip(0)
    assert gap(model, sampler(PROMPTS, 4)) < BOUND
    model.load_state_dict(moved(model).state_dict())
    assert gap(model, sampler(PROMPTS, 4)) < BOUND


def test_weights_that_did_not_change_are_not_handed_over_again(shared):
    shared(PROMPTS, 1)
    calls = []
    rpc = shared.engine._llm.collective_rpc
    shared.engine._llm.collective_rpc = lambda *args, **kwargs: calls.append(args) or rpc(*args, **kwargs)
    try:
        shared(PROMPTS, 1)
        assert not calls
        dataclasses.replace(shared, model=moved(shared.model))(PROMPTS, 1)
        assert calls
    finally:
        del shared.engine._llm.collective_rpc


@pytest.mark.parametrize(
    "settings",
    [
        {"target_modules": ["q_proj", "down_proj"]},
        {"target_modules": "all-linear", "use_dora": True},
        {"target_modules": ["q_proj"], "modules_to_save": ["norm"]},
    ],
    ids=str,
)
def test_adapters_are_merged_into_what_is_handed_over(shared, settings):
    peft = pytest.importorskip("peft", reason="peft is not installed")
    base = wide()
    model = peft.get_peft_model(copy.deepcopy(base), peft.LoraConfig(r=4, **settings))
    for name, parameter in model.named_parameters():
        if "lora" in name or "modules_to_save" in name:
            parameter.data.add_(0.1 * torch.randn_like(parameter))
    sampler = dataclasses.replace(shared, model=model)
    state = {name: value.clone() for name, value in model.state_dict().items()}
    rollout = sampler(PROMPTS, 4)
    assert gap(model, rollout) < BOUND < gap(base, rollout)
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    with model.disable_adapter():
        assert gap(base, sampler(PROMPTS, 4)) < BOUND
    assert gap(model, sampler(PROMPTS, 4)) < BOUND


def test_prompts_that_are_learned_are_refused(shared):
    peft = pytest.importorskip("peft", reason="peft is not installed")
    model = peft.get_peft_model(wide(), peft.PromptTuningConfig(num_virtual_tokens=2, task_type="CAUSAL_LM"))
    with pytest.raises(UnsupportedModelError, match="PromptTuningConfig puts virtual tokens in front of each text"):
        dataclasses.replace(shared, model=model)(PROMPTS, 1)


SIZES = {"vocab_size": 29, "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "head_dim": 32}
FAMILIES = {
    "llama, untied": ("llama", {"tie_word_embeddings": False}),
    "qwen2, tied": ("qwen2", {"tie_word_embeddings": True}),
    "qwen3, tied": ("qwen3", {"tie_word_embeddings": True}),
    "gemma": ("gemma", {}),
}


@pytest.mark.parametrize("family", FAMILIES)
def test_families(family):
    kind, more = FAMILIES[family]
    heads = {"num_attention_heads": 2, "num_key_value_heads": 2, "max_position_embeddings": 128}
    config = AutoConfig.for_model(kind, **SIZES, **heads, **more, pad_token_id=0, bos_token_id=1, eos_token_id=2)
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()
    sampler = sampler_of(model, 20)
    assert gap(model, sampler(PROMPTS, 4)) < BOUND
    model.load_state_dict(moved(model, 0.5).state_dict())
    assert gap(model, sampler(PROMPTS, 4)) < BOUND


def test_a_head_that_stays_as_it_was_is_refused(monkeypatch):
    """The silent fault of tied heads on a CPU: refused at the first call, and again at the next."""
    monkeypatch.setattr(local, "process_heads", lambda model: None)
    sampler = sampler_of(wide())
    for _ in range(2):
        with pytest.raises(UnsupportedModelError, match=r"differ from the policy's by \d"):
            sampler(PROMPTS, 1)


def test_a_head_that_stays_as_it_was_later_is_refused_too(monkeypatch):
    sampler = sampler_of(wide())
    sampler(PROMPTS, 1)
    monkeypatch.setattr(local, "process_heads", lambda model: None)
    with pytest.raises(UnsupportedModelError, match=r"differ from the policy's by \d"):
        dataclasses.replace(sampler, model=moved(sampler.model, 2.0))(PROMPTS, 1)


@pytest.mark.parametrize(("policy", "dtype"), [(torch.bfloat16, "auto"), (torch.float32, "bfloat16")])
def test_reduced_precision(policy, dtype):
    """The engine's precision is the policy's unless said; its rounding shows, and is no reason to refuse."""
    sampler = sampler_of(wide().to(policy), dtype=dtype)
    rollout = sampler(PROMPTS, 8)
    assert sampler.engine._llm.llm_engine.model_config.dtype == torch.bfloat16
    assert BOUND < gap(sampler.model, rollout) < 1.0
    assert tokenizer().decode(rollout.completion_ids[0])
