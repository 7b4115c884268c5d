"""Every sampler of a language model against loops without padding or cache, over families, settings and prompts."""

import copy
import dataclasses
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from models import FAMILIES, VOCAB, model_shapes, tiny_model
from rollout_tokenizers import tokenizer
from sampled_models import Adapter, completions, model_of, naive_logits, words
from tolerances import rounding
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSeq2SeqLM

from iapo.policy.forward import UnsupportedModelError
from iapo.policy.logprobs import completion_logprobs
from iapo.rollout import CompactingSampler, LanguageModelSampler, TransformersSampler
from iapo.styles import AnswerTags, CompletionStyle, ReasoningTags
from iapo.testing.models import Wrapped

Class = type[LanguageModelSampler]

pytestmark = pytest.mark.parametrize("sampler_class", [TransformersSampler, CompactingSampler])

PROMPTS = st.lists(st.lists(st.integers(0, VOCAB - 1), min_size=1, max_size=6), min_size=1, max_size=3)


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from(sorted(FAMILIES)),
    model_shapes(),
    PROMPTS,
    st.integers(1, 3),
    st.sampled_from([0.0, 0.5, 1.0, 1.7]),
    st.sampled_from([0.3, 0.9, 1.0]),
    st.sampled_from([2, (2, 5, 9), tuple(range(0, VOCAB, 3))]),
    st.sampled_from(["<pad>", "<eos>"]),
    st.sampled_from([None, 1, 2, 5]),
)
def test_rollouts(
    sampler_class: Class,
    family: str,
    shape: dict[str, int],
    prompts: list[list[int]],
    group: int,
    temperature: float,
    top_p: float,
    eos: int | tuple[int, ...],
    pad: str,
    max_batch: int | None,
) -> None:
    model = model_of(family, eos, **shape)
    sampler = sampler_class(model, words(pad), 7, temperature, top_p, max_batch)
    torch.manual_seed(shape["seed"])
    rollout = sampler(prompts, group)

    assert rollout.group_ids.tolist() == [g for g in range(len(prompts)) for _ in range(group)]
    rows = completions(rollout)
    stops = {2, eos} if isinstance(eos, int) else {2, *eos}
    assert rollout.completion_ids.shape[1] == max(map(len, rows)) <= 7
    assert rollout.sampler_logprobs is not None
    assert (rollout.sampler_logprobs[~rollout.completion_mask] == 0).all()
    for index, row in enumerate(rows):
        prompt = prompts[index // group]
        assert rollout.prompt_ids[index][rollout.prompt_mask[index]].tolist() == prompt
        assert not stops & set(row[:-1])
        assert len(row) == 7 or row[-1] in stops
        logits = naive_logits(model, prompt, row)
        expected = (logits / (temperature or 1)).log_softmax(-1)
        chosen = expected.gather(1, torch.tensor(row)[:, None])[:, 0]
        atol = rounding(model, expected)
        torch.testing.assert_close(rollout.sampler_logprobs[index, : len(row)], chosen, atol=atol, rtol=0)
        if temperature == 0:
            assert (chosen >= expected.max(1).values - 1e-4).all()
        likelier = expected.exp().masked_fill(expected <= chosen[:, None] + 1e-4, 0).sum(1)
        assert temperature == 0 or (likelier < top_p + 1e-4).all()
    if temperature:
        forced = completion_logprobs(model, rollout, temperature)[0]
        torch.testing.assert_close(rollout.sampler_logprobs, forced, atol=rounding(model, forced), rtol=0)


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_greedy_is_the_argmax_loop(sampler_class: Class, family: str) -> None:
    model, prompts = model_of(family), [[4, 8, 9], [4], [7, 6, 5, 4, 3]]
    rollout = sampler_class(model, words(), 12, temperature=0)(prompts, 2)
    for index, row in enumerate(completions(rollout)):
        expected: list[int] = []
        while len(expected) < 12 and expected[-1:] != [2]:
            ids = torch.tensor([prompts[index // 2] + expected])
            with torch.no_grad():
                expected.append(int(model(input_ids=ids, use_cache=False).logits[0, -1].argmax()))
        assert row == expected


@pytest.mark.parametrize(("temperature", "top_p"), [(1.0, 1.0), (2.0, 1.0), (1.5, 0.6)])
def test_tokens_come_from_the_stated_distribution(sampler_class: Class, temperature: float, top_p: float) -> None:
    model = model_of()
    torch.manual_seed(0)
    rollout = sampler_class(model, words(), 1, temperature, top_p)([[4, 9]], 4000)
    p = (naive_logits(model, [4, 9], [0])[0] / temperature).softmax(-1)
    order = p.argsort(descending=True)
    kept = order[: int((p[order].cumsum(0) < top_p).sum()) + 1] if top_p < 1 else order
    expected = torch.zeros(VOCAB).index_copy(0, kept, p[kept] / p[kept].sum())
    found = torch.bincount(rollout.completion_ids[:, 0], minlength=VOCAB) / 4000
    assert (found[expected == 0] == 0).all()
    assert ((found - expected).abs() <= 4.5 * (expected * (1 - expected) / 4000).sqrt() + 1e-9).all()


def test_seed_repeats_and_calls_differ(sampler_class: Class) -> None:
    sampler = sampler_class(model_of(), words(), 8)
    torch.manual_seed(3)
    first, second = sampler([[4], [5, 6]], 4), sampler([[4], [5, 6]], 4)
    torch.manual_seed(3)
    again = sampler([[4], [5, 6]], 4)
    assert completions(first) == completions(again)
    assert first.sampler_logprobs is not None
    assert torch.equal(first.sampler_logprobs, again.sampler_logprobs)
    assert completions(first) != completions(second)
    assert len({tuple(row) for row in completions(first)[:4]}) > 1


def test_every_token_ends_the_sequence(sampler_class: Class) -> None:
    rollout = sampler_class(model_of(eos=range(VOCAB)), words(), 5)([[4], [5, 6]], 2)
    assert rollout.completion_ids.shape == (4, 1)
    assert rollout.completion_mask.all()
    assert not rollout.reasoning_mask.any()
    assert rollout.sampler_logprobs is not None
    assert rollout.sampler_logprobs.isfinite().all()


@pytest.mark.parametrize("pad", ["<pad>", "7"])
def test_a_sampled_pad_token_counts(sampler_class: Class, pad: str) -> None:
    tok = words(pad)
    torch.manual_seed(0)
    rollout = sampler_class(model_of(), tok, 20, temperature=3.0)([[4]], 16)
    rows = completions(rollout)
    assert any(tok.pad_token_id in row[:-1] for row in rows)
    assert all(len(row) == 20 or row[-1] == 2 for row in rows)


def test_no_end_of_sequence_and_no_pad_token(sampler_class: Class) -> None:
    tok = words()
    tok.pad_token = tok.eos_token = None
    model = model_of()
    model.generation_config.eos_token_id = None
    rollout = sampler_class(model, tok, 6)([[4, 5], [6]], 3)
    assert rollout.completion_mask.all()
    assert rollout.completion_ids.shape == (6, 6)


@pytest.mark.parametrize("fails", [False, True])
def test_the_model_is_left_as_it_was(sampler_class: Class, fails: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    model = model_of()
    model.train()
    model.model.layers[0].eval()
    modes = [module.training for module in model.modules()]
    config, before = model.generation_config, copy.deepcopy(model.generation_config.to_dict())
    sampler = sampler_class(model, words(), 4, temperature=0.7, top_p=0.9)
    if fails:
        monkeypatch.setattr(model, "forward", lambda *_, **__: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            sampler([[4]], 1)
    else:
        rollout = sampler([[4]], 1)
        assert rollout.sampler_logprobs is not None
        assert not rollout.sampler_logprobs.requires_grad
    assert model.generation_config is config
    assert config.to_dict() == before
    assert [module.training for module in model.modules()] == modes


def test_the_models_own_generation_settings_do_not_apply(sampler_class: Class) -> None:
    plain, adorned = model_of(), model_of()
    for name, value in {"repetition_penalty": 5.0, "top_k": 1, "min_p": 0.9, "no_repeat_ngram_size": 1}.items():
        setattr(adorned.generation_config, name, value)
    adorned.generation_config.max_length = 3
    rollouts = []
    for model in (plain, adorned):
        torch.manual_seed(0)
        rollouts.append(completions(sampler_class(model, words(), 8)([[4, 5, 6, 7]], 8)))
    assert rollouts[0] == rollouts[1]


def test_tokens_beyond_the_default_top_k_are_sampled(sampler_class: Class) -> None:
    model = model_of()
    model.resize_token_embeddings(80, mean_resizing=False)
    torch.manual_seed(0)
    rollout = sampler_class(model, words(), 1, temperature=50.0)([[4]], 2000)
    assert len(rollout.completion_ids.unique()) == 80


def test_a_model_in_training_is_sampled_without_dropout(sampler_class: Class) -> None:
    model = model_of("gpt2", resid_pdrop=0.5)
    torch.manual_seed(0)
    rollout = sampler_class(model.train(), words(), 6)([[4, 5], [6]], 2)
    assert rollout.sampler_logprobs is not None
    forced = completion_logprobs(model.eval(), rollout)[0]
    torch.testing.assert_close(rollout.sampler_logprobs, forced.detach(), atol=rounding(model, forced), rtol=0)


@pytest.mark.parametrize("wrapper", [Wrapped, Adapter])
def test_wrapped_models(sampler_class: Class, wrapper: type[nn.Module]) -> None:
    model = model_of()
    own = model.generation_config
    wrapped = wrapper(model)
    wrapped.train()
    rollouts = []
    for one in (model, wrapped):
        torch.manual_seed(0)
        rollouts.append(completions(sampler_class(one, words(), 6)([[4, 5]], 4)))
    assert rollouts[0] == rollouts[1]
    assert model.generation_config is own
    assert wrapped.training


def test_texts_are_encoded_as_the_tokenizer_does(sampler_class: Class) -> None:
    rollout = sampler_class(model_of(), words(), 3)(["1+2=", "3="], 2)
    assert rollout.prompt_ids[0].tolist() == words()("1+2=", add_special_tokens=False)["input_ids"]
    assert rollout.prompt_mask[3].tolist() == [False, False, True, True]


def test_spans_come_with_the_rollout(sampler_class: Class) -> None:
    model = model_of()
    sampler = sampler_class(
        model, words(), 30, 2.0, style=CompletionStyle(ReasoningTags(closing="1"), AnswerTags("2", "3"))
    )
    torch.manual_seed(0)
    rollout = sampler([[4]], 32)
    one, tok = tokenizer("words").convert_tokens_to_ids("1"), words()
    assert rollout.answer_mask is not None
    assert rollout.answer_ids is not None
    assert rollout.answer_mask.any()
    for index, row in enumerate(completions(rollout)):
        text = tok.decode(row).removeprefix("<think>")
        span = tok.decode(rollout.completion_ids[index][rollout.reasoning_mask[index]])
        whole = text.removesuffix("<eos>")
        # Where nothing closes the reasoning, an answer that is closed ends it.
        ends = whole.rfind("2", 0, whole.rfind("3") + 1) if "3" in whole else -1
        assert span == (text.split("1")[0] if one in row else whole if ends < 0 else whole[:ends])


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"max_new_tokens": 0}, "max_new_tokens: got 0, want an integer of at least 1"),
        ({"max_new_tokens": None}, "max_new_tokens: got None, want an integer"),
        ({"max_new_tokens": 1.5}, "max_new_tokens: got 1.5, want an integer"),
        ({"top_p": "0.5"}, "top_p: got '0.5', want a number"),
        ({"temperature": -1.0}, "temperature: got -1.0"),
        ({"temperature": float("nan")}, "temperature: got nan"),
        ({"top_p": 0.0}, "top_p: got 0.0"),
        ({"top_p": 1.5}, "top_p: got 1.5"),
        ({"max_batch": 0}, "max_batch: got 0"),
    ],
)
def test_wrong_settings_are_refused(sampler_class: Class, wrong: dict[str, object], message: str) -> None:
    sampler = sampler_class(model_of(), words(), 4)
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(sampler, **wrong)


def test_one_text_in_place_of_several_is_refused(sampler_class: Class) -> None:
    """Each of its characters was a prompt."""
    with pytest.raises(TypeError, match=r"prompts: got the text '1\+2=', want a list of prompts"):
        sampler_class(model_of(), words(), 4)("1+2=", 1)


def test_what_cannot_generate_is_refused(sampler_class: Class) -> None:
    class Bare(nn.Module):
        config = None

    with pytest.raises(TypeError, match="can generate, got Bare"):
        sampler_class(Bare(), words(), 4)([[1]], 1)


def test_a_model_that_computes_its_positions_runs_on(sampler_class: Class) -> None:
    model = model_of("llama")
    positions = model.config.max_position_embeddings
    assert len(sampler_class(model, words(), 6)([[5] * (positions - 5)], 1)) == 1


def test_a_prompt_that_leaves_no_room_is_named(sampler_class: Class) -> None:
    model = model_of("gpt2")
    positions = model.config.max_position_embeddings
    sampler = sampler_class(model, words(), 6)
    beyond = rf"prompts\[1\]: has {positions - 5} tokens, which with max_new_tokens \(6\) are more than {positions} pos"
    with pytest.raises(ValueError, match=f"{beyond}.*; lower max_new_tokens to 5, or"):
        sampler([[5], [5] * (positions - 5)], 1)
    with pytest.raises(ValueError, match=rf"prompts\[0\]: has {positions + 1} tokens.* give shorter prompts"):
        sampler([[5] * (positions + 1)], 1)
    assert len(sampler([[5] * (positions - 6)], 1)) == 1


@pytest.mark.parametrize("kind", ["dynamic", "longrope"])
def test_no_text_turns_the_rotations_of_another(sampler_class: Class, kind: str) -> None:
    """Beyond a length all keys are rotated by other angles, of every text of a batch; those in a cache stay."""
    rope: dict[str, object] = {"rope_type": kind, "rope_theta": 1e4}
    extra = {"max_position_embeddings": 11}
    if kind == "longrope":
        extra = {"max_position_embeddings": 64, "original_max_position_embeddings": 11}
        rope |= {"short_factor": [1.0] * 4, "long_factor": [4.0, 3.0, 2.0, 5.0], "original_max_position_embeddings": 11}
    else:
        rope["factor"] = 2.0
    model = model_of("phi3" if kind == "longrope" else "llama", rope_parameters=rope, **extra)
    prompts = [[7], [5, 4, 3, 9, 8, 6]]
    sampler = sampler_class(model, words(), 5, temperature=0)
    rollout = sampler(prompts, 1)
    for prompt, row in zip(prompts, completions(rollout), strict=True):
        assert row == naive_logits(model, prompt, row).argmax(-1).tolist()
    longer = dataclasses.replace(sampler, max_new_tokens=12)
    if sampler_class is CompactingSampler:
        with pytest.raises(
            ValueError, match=r"\[0\]: .* than 11 pos.*to 5, or use TransformersSampler, which .* alone"
        ):
            longer(prompts, 1)
        return
    beyond = completions(longer(prompts, 1))
    for prompt, row in zip(prompts, beyond, strict=True):
        assert [row] == completions(longer([prompt], 1))
        for t in range(len(row) if kind == "longrope" else 0):  # of which transformers computes the cache anew
            assert row[t] == naive_logits(model, prompt, row[: t + 1])[-1].argmax()


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_on_cuda(sampler_class: Class) -> None:
    model = model_of().cuda()
    torch.manual_seed(0)
    rollout = sampler_class(model, words(), 8, 0.8, 0.9)([[4, 5, 6], [7]], 8)
    assert rollout.completion_ids.is_cuda
    assert rollout.sampler_logprobs is not None
    forced = completion_logprobs(model, rollout, 0.8)[0]
    torch.testing.assert_close(rollout.sampler_logprobs, forced, atol=1e-4, rtol=0)


@pytest.mark.parametrize("temperature", [0.0, 1.0])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_logits_that_are_not_finite_are_named(sampler_class: Class, temperature: float, value: float) -> None:
    model = model_of("llama", 2)
    model.get_output_embeddings().weight.data.fill_(value)
    with pytest.raises(FloatingPointError, match="model: its logits are NaN or infinite"):
        sampler_class(model, words("<pad>"), 3, temperature)([[5, 6]], 2)


@pytest.mark.parametrize("ends", ["2", ["2", 5]])
def test_ends_that_are_no_ids_are_named(sampler_class: Class, ends: object) -> None:
    model = model_of("llama")
    model.generation_config.eos_token_id = ends
    with pytest.raises(
        ValueError, match=r"model: its generation_config has eos_token_id .*2.*, want the ids of tokens"
    ):
        sampler_class(model, words(), 4)([[5, 6]], 1)


def test_padding_that_the_model_has_no_embedding_of_is_named(sampler_class: Class) -> None:
    tok = words()
    tok.add_special_tokens({"pad_token": "<added>"})
    with pytest.raises(ValueError, match=rf"tokenizer: padding: the token '<added>' has the id {len(tok) - 1}.*resize"):
        sampler_class(model_of(), tok, 3)([[4, 8, 9], [4]], 1)


BART = {"d_model": 32, "decoder_layers": 2, "decoder_ffn_dim": 48, "decoder_attention_heads": 4}
RECURRENT = {"layers": 3, "attention_hidden_size": 32, "lru_width": 32, "attention_window_size": 4}


@pytest.mark.parametrize(
    ("family", "extra"), [("bart", BART), ("rwkv", RECURRENT), ("recurrent_gemma", RECURRENT), ("bloom", {})]
)
@pytest.mark.parametrize("max_batch", [None, 3])
def test_padding_is_no_text(sampler_class: Class, family: str, extra: dict[str, int], max_batch: int | None) -> None:
    """Prompts of different lengths, where a model would read the padding of the shorter ones, or would not."""
    if extra is RECURRENT and sampler_class is CompactingSampler:
        pytest.skip("refuses what has a state")
    model = tiny_model(family, **extra)
    model.generation_config.eos_token_id = [2, 5]
    prompts = [[4, 8, 9, 7, 6], [11, 12], [4, 9]]
    rollout = sampler_class(model, words(), 6, max_batch=max_batch)(prompts, 2)
    assert rollout.group_ids.tolist() == [0, 0, 1, 1, 2, 2]
    assert rollout.sampler_logprobs is not None
    for index, row in enumerate(completions(rollout)):
        expected = naive_logits(model, prompts[index // 2], row).log_softmax(-1)
        chosen = expected.gather(1, torch.tensor(row)[:, None])[:, 0]
        atol = rounding(model, expected)
        torch.testing.assert_close(rollout.sampler_logprobs[index, : len(row)], chosen, atol=atol, rtol=0)


@pytest.mark.parametrize(
    ("auto", "family", "why"),
    [
        (AutoModelForCausalLM, "camembert", "numbers positions from behind its padding token's id"),
        (AutoModelForSeq2SeqLM, "t5", "has an encoder"),
    ],
)
def test_models_that_are_not_causal_are_refused(sampler_class: Class, auto: Any, family: str, why: str) -> None:
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "d_kv": 8, "d_ff": 16}
    model = auto.from_config(AutoConfig.for_model(family, vocab_size=VOCAB, **sizes, is_decoder=family != "t5"))
    with pytest.raises(UnsupportedModelError, match=f"{family} {why}"):
        sampler_class(model, words(), 4)([[4, 5]], 2)
