"""Models whose texts one forward does not give: refused from the config, before any forward; others as before."""

from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from models import VOCAB, Bent, tiny_model
from tolerances import rounding
from transformers import AutoConfig, AutoModelForCausalLM, PaliGemmaConfig, PaliGemmaForConditionalGeneration
from transformers.models.auto.configuration_auto import CONFIG_MAPPING_NAMES
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from iapo import Rollout
from iapo.estimators import EarlyExitEntropy, NextTokenEntropy, UnsupportedModelError
from iapo.policy import completion_logprobs, support
from iapo.policy.limits import turning_length

SHAPE = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
SPECIAL = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0, "vocab_size": VOCAB}
ROPE = {"rope_type": "longrope", "rope_theta": 1e4, "short_factor": [1.0] * 4, "long_factor": [4.0, 3.0, 2.0, 5.0]}
OFFSET = ["roberta", "camembert", "xlm-roberta", "xlm-roberta-xl", "data2vec-text", "roberta-prelayernorm"]


def build(family: str, **extra: object):
    if family not in CONFIG_MAPPING_NAMES:
        pytest.skip(f"this version of transformers has no {family}")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return AutoModelForCausalLM.from_config(AutoConfig.for_model(family, **{**SHAPE, **SPECIAL, **extra})).eval()


def paligemma():
    shape = {**SHAPE, "num_key_value_heads": 2, "head_dim": 8, "vocab_size": VOCAB, "model_type": "gemma"}
    vision = {**SHAPE, "image_size": 8, "patch_size": 4, "projection_dim": 32}
    config = PaliGemmaConfig(
        text_config=shape, vision_config={**vision, "model_type": "siglip_vision_model"}, image_token_index=VOCAB - 1
    )
    return PaliGemmaForConditionalGeneration(config).eval()


def rollout(lengths: tuple[int, ...] = (5, 3), token: int = 6) -> Rollout:
    """Left-padded prompts of ``lengths`` and completions of ``token`` tokens."""
    generator = torch.Generator().manual_seed(1)
    rows, prompt = len(lengths), max(lengths)
    mask = torch.ones(rows, token, dtype=torch.bool)
    return Rollout(
        prompt_ids=torch.randint(3, VOCAB - 1, (rows, prompt), generator=generator),
        prompt_mask=torch.arange(prompt) >= prompt - torch.tensor(lengths)[:, None],
        completion_ids=torch.randint(3, VOCAB - 1, (rows, token), generator=generator),
        completion_mask=mask,
        reasoning_mask=mask,
        group_ids=torch.zeros(rows, dtype=torch.long),
    )


USES = {
    "logprobs": completion_logprobs,
    "next token": NextTokenEntropy().probe,
    "packed": EarlyExitEntropy((4, 5), guard=False).probe,
}


def refuses(model, why: str, sample: Rollout, uses=tuple(USES)) -> None:
    forwards = []
    model.register_forward_pre_hook(lambda *_: forwards.append(1))
    for name in uses:
        with pytest.raises(UnsupportedModelError, match=why) as caught:
            USES[name](Bent(model, dict), sample)
        assert "NextTokenEntropy" not in str(caught.value), "it is refused as well"
    assert not forwards


@pytest.mark.parametrize("family", OFFSET)
def test_positions_at_an_offset_are_refused(family):
    refuses(build(family, is_decoder=True), "numbers positions from behind its padding token", rollout())


@pytest.mark.parametrize("family", ["bert", "roberta", "electra"])
def test_encoders_are_refused_unless_decoders(family):
    refuses(build(family), "is_decoder=True", rollout())
    if family != "roberta":
        completion_logprobs(build(family, is_decoder=True), rollout())


def test_paligemma_is_refused():
    refuses(paligemma(), "paligemma", rollout())


def test_a_bidirectional_gemma_is_refused():
    extra = {"num_key_value_heads": 2, "head_dim": 8}
    refuses(build("gemma3_text", use_bidirectional_attention=True, **extra), "see later ones", rollout())
    completion_logprobs(build("gemma3_text", **extra), rollout())


@pytest.mark.filterwarnings("ignore::FutureWarning")  # PEFT's own use of transformers
@pytest.mark.parametrize("kind", ["PromptTuningConfig", "PrefixTuningConfig"])
def test_learned_prompts_are_refused(kind):
    """PEFT drops the explicit positions, so that left padding moved log-probabilities by nats."""
    peft = pytest.importorskip("peft")
    adapted = peft.get_peft_model(tiny_model("llama"), getattr(peft, kind)(task_type="CAUSAL_LM", num_virtual_tokens=3))
    refuses(adapted, kind, rollout())
    lora = peft.get_peft_model(tiny_model("llama"), peft.LoraConfig(task_type="CAUSAL_LM", target_modules="all-linear"))
    completion_logprobs(lora, rollout())


@pytest.mark.parametrize("kind", ["dynamic", "longrope"])
def test_rotations_that_turn_are_refused_beyond_that(kind):
    limit = 11
    extra = {"original_max_position_embeddings": limit} if kind == "longrope" else {"max_position_embeddings": limit}
    rope = {**ROPE, **extra} if kind == "longrope" else {"rope_type": "dynamic", "rope_theta": 1e4, "factor": 2.0}
    model = build("phi3" if kind == "longrope" else "llama", rope_parameters=rope, num_key_value_heads=2, **extra)
    for use in ("logprobs", "next token"):
        USES[use](model, rollout((5, 3), 6))
    refuses(model, f"beyond {limit}", rollout((5, 3), 7), ["logprobs", "next token"])
    # Padding is no position.
    padded = rollout((5, 3), 6).pad(prompt=4)
    for use in ("logprobs", "next token"):
        USES[use](model, padded)


@pytest.mark.parametrize("use", ["logprobs", "next token"])
def test_a_text_longer_than_the_positions_is_refused(use):
    model = build("gpt2", n_positions=11)
    with pytest.raises(ValueError, match="completion and postfix take 12 positions, the model has 11 "):
        USES[use](model, rollout((5, 3), 7))
    USES[use](model, rollout((5, 3), 6).pad(prompt=4))  # padding is no position


def test_equal_factors_never_turn():
    rope = {**ROPE, "short_factor": ROPE["long_factor"], "original_max_position_embeddings": 8}
    model = build("phi3", rope_parameters=rope, num_key_value_heads=2, original_max_position_embeddings=8)
    sample = rollout((5, 3), 9)
    found = NextTokenEntropy().probe(model, sample)
    for row, length in enumerate((5, 3)):
        for t in range(10):
            ids = torch.cat([sample.prompt_ids[row, 5 - length :], sample.completion_ids[row, :t]])
            logp = model(ids[None], use_cache=False).logits[0, -1].double().log_softmax(-1).detach()
            expected = -(logp.exp() * logp).sum()
            torch.testing.assert_close(found[row, t].double(), expected, atol=rounding(model, expected), rtol=0)


def test_the_shortest_turning_length_counts():
    config = AutoConfig.for_model("llama")
    config.rope_parameters = {
        name: {**ROPE, "original_max_position_embeddings": length} for name, length in [("a", 8), ("b", 4)]
    }
    assert turning_length(config) == 4


@pytest.mark.parametrize(
    ("family", "extra"),
    [
        ("rwkv", {"attention_hidden_size": 32}),
        ("bart", {"d_model": 32, "decoder_layers": 2, "decoder_ffn_dim": 48, "decoder_attention_heads": 4}),
    ],
)
def test_models_that_read_left_padding_are_refused(family, extra):
    model = build(family, **extra)
    with pytest.raises(UnsupportedModelError, match="padding in front of a prompt"):
        completion_logprobs(model, rollout((5, 3)))
    completion_logprobs(model, rollout((5, 5)))
    NextTokenEntropy().probe(model, rollout((5, 3)))


def test_a_module_without_a_config_passes():
    support.check_text(torch.nn.Linear(1, 1), torch.ones(1, 2, dtype=torch.bool))


def test_supported_models_read_no_mask():
    """A mask on a device would have to come to the host."""
    mask = torch.ones(1, 2, dtype=torch.bool, device="meta")
    support.check_text(tiny_model("llama"), mask)
    with pytest.raises((NotImplementedError, RuntimeError)):
        bool(mask.all())


def test_the_list_of_offset_positions_is_complete():
    """All causal classes of transformers that make positions as RoBERTa does and take explicit ones are on it."""
    found = set()
    for kind in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES:
        folder = kind.replace("-", "_").replace("data2vec_text", "data2vec")
        spec = find_spec(f"transformers.models.{folder}")
        if spec is None or spec.origin is None:
            continue
        suffix = "data2vec_text" if folder == "data2vec" else folder
        source = Path(spec.origin).parent / f"modeling_{suffix}.py"
        text = source.read_text() if source.exists() else ""
        if "create_position_ids_from_input_ids" in text and "position_ids=position_ids" in text:
            found.add(kind)
    assert {"roberta", "camembert", "data2vec-text"} <= found
    assert found <= support._OFFSET_POSITIONS
