"""Model families: packed against naive with both exact back ends, and refusals before any forward."""

import pytest
import torch
from left_out import naive_leave_out
from models import VOCAB
from tolerances import rounding
from transformers import AutoConfig, AutoModelForCausalLM
from transformers.models.auto.configuration_auto import CONFIG_MAPPING_NAMES

from iapo import Rollout
from iapo.estimators import (
    AnswerLikelihood,
    EarlyExitEntropy,
    EveryTokens,
    LeaveOut,
    NextTokenEntropy,
    UnsupportedModelError,
)
from iapo.estimators.packed import masks, needed_probes
from iapo.estimators.packed.attention import mask_windows

POSTFIX, ANSWER, CLOSING = (4, 5, 6), (9, 12), (7,)

SHAPE = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 256,
}
SMALL_GPT2 = {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 256}
EXPERTS = {"n_routed_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16}
EXPERTS |= {"first_k_dense_replace": 1, "n_group": 1, "topk_group": 1}
LATENT = {"kv_lora_rank": 8, "q_lora_rank": 8, "qk_rope_head_dim": 8, "qk_nope_head_dim": 8, "v_head_dim": 8}
TURNS = ["sliding_attention", "full_attention"] * 2
WINDOW = 4
SHARED = {"num_kv_shared_layers": 2, "hidden_size_per_layer_input": 8, "vocab_size_per_layer_input": VOCAB}
"""Layers that read the keys of an earlier layer."""

FULL: dict[str, dict[str, object]] = {
    "llama": {},
    "qwen2": {},
    "qwen3": {},
    "qwen3_moe": {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16},
    "phi": {},
    "phi3": {"pad_token_id": 0},
    "olmo2": {},
    "granite": {},
    "smollm3": {},
    "stablelm": {},
    "starcoder2": {},
    "falcon": {"head_dim": None},
    "gemma": {},
    "mixtral": {"num_local_experts": 4},
    "deepseek_v3": {**EXPERTS, **LATENT, "num_key_value_heads": 4, "head_dim": None},
    "glm4_moe": EXPERTS,
    "gpt_neox": {},
    "opt": {"ffn_dim": 48, "word_embed_proj_dim": 32},
    "gpt2": SMALL_GPT2,
    "gptj": {**SMALL_GPT2, "rotary_dim": 4},
    "llama4_text": {
        "num_local_experts": 2,
        "intermediate_size_mlp": 48,
        "layer_types": ["full_attention"] * 4,
        "attn_temperature_tuning": False,
    },
    "granitemoehybrid": {
        "layer_types": ["full_attention"] * 4,
        "mamba_n_heads": 4,
        "mamba_d_head": 16,
        "num_local_experts": 2,
        "num_experts_per_tok": 1,
        "shared_intermediate_size": 32,
    },
}
SLIDING: dict[str, dict[str, object]] = {
    "mistral": {},
    "qwen2": {"use_sliding_window": True, "max_window_layers": 2},
    "qwen3": {"use_sliding_window": True, "max_window_layers": 2},
    "phi3": {},
    "mixtral": {"num_local_experts": 4},
    "qwen3_moe": {
        "num_experts": 4,
        "num_experts_per_tok": 2,
        "moe_intermediate_size": 16,
        "use_sliding_window": True,
    },
    "starcoder2": {},
    "gemma2": {"layer_types": TURNS, "query_pre_attn_scalar": 8, "attn_logit_softcapping": 2.0},
    "gemma3_text": {"layer_types": TURNS, "query_pre_attn_scalar": 8},
    "gpt_oss": {"layer_types": TURNS, "num_local_experts": 4, "num_experts_per_tok": 2},
    "cohere2": {"layer_types": TURNS, "logit_scale": 1.0},
    "olmo3": {"layer_types": TURNS},
    "exaone4": {"layer_types": TURNS},
    "gemma3n_text": {
        **SHARED,
        "layer_types": TURNS,
        "laurel_rank": 4,
        "activation_sparsity_pattern": [0.0] * 4,
        "intermediate_size": [48] * 4,
    },
    "gemma4_text": {**SHARED, "layer_types": TURNS, "global_head_dim": 16},
}
REFUSED: dict[str, tuple[dict[str, object], str]] = {
    "mamba": ({"state_size": 4}, "linear_attention|recurrent|mamba"),
    "mamba2": ({"state_size": 4, "num_heads": 4, "head_dim": 16, "n_groups": 1}, "linear_attention|recurrent|mamba"),
    "rwkv": ({"attention_hidden_size": 32}, "recurrent"),
    "recurrent_gemma": ({"lru_width": 32, "attention_window_size": 4}, "linear_attention|recurrent"),
    "jamba": ({"mamba_d_state": 4}, "linear_attention|recurrent|mamba"),
    "minimax": ({"num_local_experts": 2}, "linear_attention"),
    "lfm2": ({"layer_types": ["conv", "full_attention"] * 2}, "conv"),
    "falcon_h1": ({"mamba_d_ssm": 32, "mamba_n_heads": 4, "mamba_d_head": 8}, "hybrid|recurrent"),
    "qwen3_next": ({"num_experts": 4, "moe_intermediate_size": 16}, "linear_attention|recurrent"),
    "qwen3_5_text": (
        {
            "linear_num_key_heads": 2,
            "linear_num_value_heads": 4,
            "linear_key_head_dim": 8,
            "linear_value_head_dim": 8,
        },
        "linear_attention",
    ),
    "llama4_text": ({"num_local_experts": 2, "intermediate_size_mlp": 48}, "chunked_attention"),
    "llama4_text-full": (
        {"num_local_experts": 2, "intermediate_size_mlp": 48, "layer_types": ["full_attention"] * 4},
        "attn_temperature_tuning",
    ),
    "doge": ({}, "longer than 2048 tokens"),
    "bloom": ({"n_layer": 2, "n_head": 4}, "position_ids"),
    "mpt": ({"d_model": 32, "n_heads": 4, "n_layers": 2}, "position_ids"),
    "falcon": ({"alibi": True, "head_dim": None}, "ALiBi"),
    "bart": ({"d_model": 32, "decoder_layers": 2, "decoder_ffn_dim": 48, "decoder_attention_heads": 4}, "position_ids"),
    "gpt_neo": (
        {"attention_types": [[["global", "local"], 2]], "num_heads": 4, "head_dim": None},
        "index in the cache",
    ),
    "openai-gpt": ({"n_embd": 32, "n_layer": 2, "n_head": 4}, "past_key_values"),
    "xlm": ({"emb_dim": 32, "n_layers": 2, "n_heads": 4, "causal": True}, "past_key_values"),
}


def build(family: str, **extra: object):
    family = family.split("-full")[0]
    if family not in CONFIG_MAPPING_NAMES:
        pytest.skip(f"this version of transformers has no {family}")
    settings = {**SHAPE, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0, **extra}
    settings = {name: value for name, value in settings.items() if value is not None}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        config = AutoConfig.for_model(family, vocab_size=VOCAB, **settings)
        model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
        for parameter in model.parameters():
            if parameter.ndim > 1:
                torch.nn.init.normal_(parameter, std=0.3)
            else:
                parameter.data += 0.1 * torch.randn_like(parameter)  # biases, and what draws attention away (sinks)
    return model.eval()


def ragged() -> Rollout:
    """Prompts of 7, 4 and 2 tokens, left-padded; completions of 11, 6 and 0: longer than the windows."""
    generator = torch.Generator().manual_seed(3)
    mask = torch.arange(11) < torch.tensor([11, 6, 0])[:, None]
    return Rollout(
        prompt_ids=torch.randint(3, VOCAB, (3, 7), generator=generator),
        prompt_mask=torch.arange(7) >= torch.tensor([0, 3, 5])[:, None],
        completion_ids=torch.randint(3, VOCAB, (3, 11), generator=generator),
        completion_mask=mask,
        reasoning_mask=mask,
        group_ids=torch.zeros(3, dtype=torch.long),
        answer_ids=torch.tensor([ANSWER] * 3),
        answer_mask=torch.ones(3, 2, dtype=torch.bool),
    )


@torch.no_grad()
def naive(model, rollout: Rollout, asked: tuple[int, ...] = (*ANSWER, *CLOSING)) -> tuple[torch.Tensor, torch.Tensor]:
    """Entropy after the postfix and log-likelihood of the closed answer, every prefix run alone, unpadded."""
    entropies = torch.zeros(rollout.completion_ids.shape[0], rollout.completion_ids.shape[1] + 1, dtype=torch.float64)
    likelihoods = torch.zeros_like(entropies)
    for row, t in needed_probes(rollout).nonzero().tolist():
        prefix = rollout.prompt_ids[row][rollout.prompt_mask[row]].tolist() + rollout.completion_ids[row, :t].tolist()
        logits = model(input_ids=torch.tensor([[*prefix, *POSTFIX, *asked]]), use_cache=False).logits[0]
        logp = logits[len(prefix) + len(POSTFIX) - 1 :].double().log_softmax(-1)
        entropies[row, t] = -(logp[0].exp() * logp[0]).sum()
        likelihoods[row, t] = sum(logp[i, token] for i, token in enumerate(asked))
    return entropies, likelihoods


def packed(model, rollout: Rollout, **options: object) -> tuple[torch.Tensor, torch.Tensor]:
    return (
        EarlyExitEntropy(POSTFIX, **options).probe(model, rollout).double(),
        AnswerLikelihood(POSTFIX, CLOSING, **options).probe(model, rollout).double(),
    )


def back_ends(model) -> list[str]:
    """The exact ones that the family supports, or the one that it has if it cannot change."""
    if not model._can_set_attn_implementation():
        return [model.config._attn_implementation]
    return ["eager", "sdpa"] if getattr(model, "_supports_sdpa", False) else ["eager"]


@pytest.mark.parametrize(
    ("family", "extra"),
    [*((f, e) for f, e in FULL.items()), *((f, {**e, "sliding_window": WINDOW}) for f, e in SLIDING.items())],
    ids=[*FULL, *(f"{family}-sliding" for family in SLIDING)],
)
def test_packed_is_naive(family, extra):
    model, rollout = build(family, **extra), ragged()
    for implementation in back_ends(model):
        if model.config._attn_implementation != implementation:
            model.set_attn_implementation(implementation)
        expected = naive(model, rollout)
        for chunk in (None, 3):
            for found, wanted in zip(packed(model, rollout, chunk=chunk), expected, strict=True):
                torch.testing.assert_close(found, wanted, atol=rounding(model, wanted), rtol=0)
        left_out = LeaveOut(EveryTokens(3), window=None, chunk=2)
        wanted, largest = naive_leave_out(model, rollout, left_out)
        found = left_out(model, rollout).double()
        torch.testing.assert_close(found, wanted, atol=rounding(model, torch.tensor(largest)), rtol=0)
        assert expected[0][:2].std() > 0.1, "a model that says the same after every prefix tests nothing"
        assert model.config._attn_implementation == implementation


@pytest.mark.parametrize(("family", "extra"), SLIDING.items(), ids=SLIDING)
def test_the_windows_matter(family, extra, monkeypatch):
    """Without them probes are wrong, so that the test above would see it."""
    model, rollout = build(family, **extra, sliding_window=WINDOW), ragged()
    expected = packed(model, rollout)[0]
    assert WINDOW in mask_windows(model.config.get_text_config()).values()
    monkeypatch.setattr(masks, "mask_windows", lambda config: dict.fromkeys(mask_windows(config)))
    assert (packed(model, rollout, guard=False)[0] - expected).abs().max() > 1e-2


@pytest.mark.parametrize(("family", "extra", "why"), [(f, e, why) for f, (e, why) in REFUSED.items()], ids=REFUSED)
def test_what_cannot_work_is_refused_before_any_forward(family, extra, why):
    model, forwards = build(family, **extra), []
    model.register_forward_pre_hook(lambda *_: forwards.append(1))
    for estimator in (EarlyExitEntropy(POSTFIX), AnswerLikelihood(POSTFIX, CLOSING, guard=False)):
        with pytest.raises(UnsupportedModelError, match=f"(?s)({why}).*NextTokenEntropy"):
            estimator.probe(model, ragged())
    assert not forwards


def test_rotations_that_change_with_length_are_refused():
    """Beyond a length, longrope turns all keys by other angles: prefixes on both sides of it cannot share a cache."""
    rope = {"rope_type": "longrope", "rope_theta": 1e4, "short_factor": [1.0] * 4, "long_factor": [4.0, 3.0, 2.0, 5.0]}
    limit = 7 + 6 + len(POSTFIX)
    original = {"original_max_position_embeddings": limit}
    model = build("phi3", rope_parameters={**rope, **original}, **original)
    estimator, rollout = EarlyExitEntropy(POSTFIX), ragged()
    short = rollout.select(torch.tensor([1, 2]))
    expected = naive(model, short, ())[0]
    torch.testing.assert_close(estimator.probe(model, short).double(), expected, atol=rounding(model, expected), rtol=0)
    with pytest.raises(ValueError, match=f"beyond {limit}"):
        estimator.probe(model, rollout)


@pytest.mark.parametrize("family", ["mamba", "mamba2", "rwkv", "recurrent_gemma", "jamba", "lfm2", "bloom", "falcon"])
def test_next_token_entropy_works_where_a_packed_forward_cannot(family):
    """Padding comes behind a text, where no state has it in front."""
    model, rollout = build(family, **REFUSED[family][0]), ragged()
    probes = NextTokenEntropy().probe(model, rollout)
    for row, t in needed_probes(rollout).nonzero().tolist():
        ids = torch.cat([rollout.prompt_ids[row][rollout.prompt_mask[row]], rollout.completion_ids[row, :t]])
        logp = model(ids[None], use_cache=False).logits[0, -1].double().log_softmax(-1)
        expected = -(logp.exp() * logp).sum().detach()
        torch.testing.assert_close(probes[row, t].double(), expected, atol=rounding(model, expected), rtol=0)
