"""`CompactingSampler` beyond what all samplers do (`test_samplers`): which forwards it runs, and what it refuses."""

import math
from collections.abc import Iterator
from itertools import product

import pytest
import torch
import torch.distributed as dist
from hypothesis import given, settings
from hypothesis import strategies as st
from models import FAMILIES, VOCAB, model_shapes, tiny_model
from sampled_models import Adapter, completions, model_of, naive_logits, watching, words
from tolerances import rounding
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.nn.parallel import DistributedDataParallel
from torch.testing._internal.distributed.fake_pg import FakeStore
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel

from iapo import Rollout
from iapo.policy.forward import UnsupportedModelError
from iapo.rollout import CompactingSampler, TransformersSampler, growing
from iapo.testing.models import Wrapped


@pytest.fixture
def two_ranks() -> Iterator[None]:
    """Rank 0 of 2, the other one a fake: its collectives return at once."""
    dist.init_process_group("fake", store=FakeStore(), rank=0, world_size=2)
    yield
    dist.destroy_process_group()


def assert_logprobs_are_those_of_full_forwards(model: nn.Module, rollout: Rollout, prompts: list[list[int]]) -> None:
    assert rollout.sampler_logprobs is not None
    for index, row in enumerate(completions(rollout)):
        logits = naive_logits(model, prompts[int(rollout.group_ids[index])], row)
        logprobs = logits.log_softmax(-1)
        expected = logprobs.gather(1, torch.tensor(row)[:, None])[:, 0]
        found = rollout.sampler_logprobs[index, : len(row)]
        torch.testing.assert_close(found, expected.to(found.dtype), atol=rounding(model, logprobs), rtol=0)


def test_nothing_is_sampled_once_all_completions_have_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    batches: list[int] = []
    sample = CompactingSampler._sample_tokens

    def noting(self: CompactingSampler, logits: torch.Tensor) -> tuple[torch.Tensor, ...]:
        batches.append(len(logits))
        return sample(self, logits)

    monkeypatch.setattr(CompactingSampler, "_sample_tokens", noting)
    rollout = CompactingSampler(model_of("llama", tuple(range(VOCAB))), words(), 5)([[5, 9], [8]], 2)
    assert rollout.completion_lengths.tolist() == [1] * 4
    assert batches == [4]


RAGGED = st.lists(st.lists(st.integers(0, VOCAB - 1), min_size=1, max_size=9), min_size=1, max_size=4)


@settings(max_examples=25)
@given(
    st.sampled_from(["llama", "qwen2", "gpt2"]),
    model_shapes(),
    RAGGED,
    st.integers(2, 9),
    st.sampled_from([(2,), (2, 5, 9), tuple(range(0, VOCAB, 2))]),
)
def test_logprobs_stay_exact_while_rows_leave(
    family: str, shape: dict[str, int], prompts: list[list[int]], group: int, eos: tuple[int, ...]
) -> None:
    model = model_of(family, eos, **shape)
    torch.manual_seed(shape["seed"])
    rollout = CompactingSampler(model, words(), 20)(prompts, group)
    assert_logprobs_are_those_of_full_forwards(model, rollout, prompts)


@settings(max_examples=25)
@given(
    st.sampled_from(sorted(FAMILIES)),
    model_shapes(),
    RAGGED,
    st.integers(1, 3),
    st.sampled_from([None, 1, 2, 4, 7]),
)
def test_greedy_tokens_are_those_of_generate(
    family: str, shape: dict[str, int], prompts: list[list[int]], group: int, max_batch: int | None
) -> None:
    model = model_of(family, (2, 5, 9, 14), **shape).double()  # no near ties for rounding to decide
    ours = CompactingSampler(model, words(), 15, temperature=0, max_batch=max_batch)(prompts, group)
    theirs = TransformersSampler(model, words(), 15, temperature=0)(prompts, group)
    assert completions(ours) == completions(theirs)
    assert torch.equal(ours.prompt_ids, theirs.prompt_ids)
    assert torch.equal(ours.completion_mask, theirs.completion_mask)
    assert ours.sampler_logprobs is not None
    assert theirs.sampler_logprobs is not None
    torch.testing.assert_close(ours.sampler_logprobs, theirs.sampler_logprobs, atol=1e-6, rtol=0)


def enumerate_completions(
    model: nn.Module, prompt: list[int], vocab: int, longest: int, temperature: float, top_p: float
) -> dict[tuple[int, ...], float]:
    """The probability of every completion that can be sampled; token 2 ends it."""
    found: dict[tuple[int, ...], float] = {}
    for tokens in product(range(vocab), repeat=longest):
        row = tokens[: tokens.index(2) + 1] if 2 in tokens else tokens
        if row in found:
            continue
        found[row] = 1.0
        for p, token in zip((naive_logits(model, prompt, list(row)) / temperature).softmax(-1), row, strict=True):
            order = p.argsort(descending=True)
            kept = order[: int((p[order].cumsum(0) < top_p).sum()) + 1].tolist() if top_p < 1 else order.tolist()
            found[row] *= float(p[token] / p[kept].sum()) if token in kept else 0.0
    assert sum(found.values()) == pytest.approx(1, abs=1e-5)
    return found


@pytest.mark.parametrize(("temperature", "top_p"), [(1.0, 1.0), (3.0, 1.0), (4.0, 0.9)])
def test_completions_have_their_enumerated_probabilities(temperature: float, top_p: float) -> None:
    model, vocab, group = model_of(), 4, 4000
    model.resize_token_embeddings(vocab)
    torch.manual_seed(0)
    sampler = CompactingSampler(model, words(), 3, temperature, top_p)
    prompts = [[3, 1, 3], [1]]
    rows = completions(sampler(prompts, group))
    for index, prompt in enumerate(prompts):
        expected = enumerate_completions(model, prompt, vocab, 3, temperature, top_p)
        drawn = [tuple(row) for row in rows[index * group : (index + 1) * group]]
        counts = {row: drawn.count(row) for row in set(drawn)}
        assert all(expected[row] > 0 for row in counts)
        common = [row for row, p in expected.items() if p * group >= 5]
        cells = [(counts.get(row, 0), expected[row] * group) for row in common]
        rest = group - sum(count for count, _ in cells), group - sum(mean for _, mean in cells)
        cells += [rest] if rest[1] >= 5 else []
        freedom = len(cells) - 1
        assert freedom >= 5
        statistic = sum((count - mean) ** 2 / mean for count, mean in cells)
        assert statistic < freedom + 4 * math.sqrt(2 * freedom)


@pytest.mark.parametrize("max_new_tokens", [1, 40])
def test_only_what_is_needed_is_computed(max_new_tokens: int) -> None:
    model, prompts, group = model_of(eos=(2, 5, 9)), [[4, 8, 9], [4], [7, 6, 5, 4, 3]], 8
    torch.manual_seed(0)
    with watching(model) as seen:
        rollout = CompactingSampler(model, words(), max_new_tokens)(prompts, group)
    lengths = rollout.completion_lengths
    assert len(seen) == int(lengths.max())
    assert seen[0].ids.shape == (3, 5)
    size = 24
    for step, forward in enumerate(seen[1:], 1):
        alive = int((lengths > step).sum())
        size = alive if size - alive >= 0.25 * size else size
        assert forward.ids.shape == (size, 1)
        assert forward.mask.shape == (size, 5 + step)
        assert torch.equal(forward.position_ids[:, 0], forward.mask.sum(1) - 1)
    assert len(seen) == 1 or len({len(forward.ids) for forward in seen}) > 3


def test_one_forward_if_every_first_token_ends() -> None:
    model = model_of(eos=range(VOCAB))
    with watching(model) as seen:
        rollout = CompactingSampler(model, words(), 9)([[4], [5, 6]], 3)
    assert rollout.completion_ids.shape == (6, 1)
    assert len(seen) == 1


@pytest.mark.parametrize(
    ("group", "max_batch", "prefilled", "decoded"),
    [
        (3, None, [5], [15]),
        (3, 15, [5], [15]),
        (3, 14, [4, 1], [12, 3]),
        (3, 7, [2, 2, 1], [6, 6, 3]),
        (3, 3, [1] * 5, [3] * 5),
        (3, 2, [1] * 10, [2, 1] * 5),
        (1, 1, [1] * 5, [1] * 5),
    ],
)
def test_max_batch_splits(group: int, max_batch: int | None, prefilled: list[int], decoded: list[int]) -> None:
    model = model_of()
    model.generation_config.eos_token_id = None
    tok = words()
    tok.eos_token = None
    prompts = [[4, 5], [6, 7], [8, 9], [10, 11], [12, 13]]
    with watching(model) as seen:
        rollout = CompactingSampler(model, tok, 2, max_batch=max_batch)(prompts, group)
    assert [len(forward.ids) for forward in seen] == [n for pair in zip(prefilled, decoded, strict=True) for n in pair]
    assert rollout.prompt_ids.tolist() == [prompt for prompt in prompts for _ in range(group)]
    assert_logprobs_are_those_of_full_forwards(model, rollout, prompts)


@pytest.mark.parametrize(
    ("family", "extra"),
    [
        ("mistral", {"sliding_window": 4}),
        ("gemma3_text", {"sliding_window": 4, "head_dim": 8}),
        ("bloom", {"n_layer": 2, "n_head": 4}),
        ("opt", {"ffn_dim": 48, "word_embed_proj_dim": 32}),
    ],
)
def test_sliding_windows_and_other_positions(family: str, extra: dict[str, object]) -> None:
    model = tiny_model(family, **extra)
    prompts = [[4, 8, 9, 11, 12, 13, 14], [4], [7, 6, 5]]
    torch.manual_seed(0)
    rollout = CompactingSampler(model, words(), 16)(prompts, 6)
    assert_logprobs_are_those_of_full_forwards(model, rollout, prompts)


def test_more_tokens_than_a_buffer_has_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    buffers: list[torch.Tensor] = []
    append = growing._append

    def noting(buffer: torch.Tensor, length: int, new: torch.Tensor) -> torch.Tensor:
        buffers.append(buffer)
        return append(buffer, length, new)

    monkeypatch.setattr(growing, "_append", noting)
    model, prompts = model_of(), [[4, 8, 9], [4]]
    model.generation_config.eos_token_id = None
    tok = words()
    tok.eos_token = None
    torch.manual_seed(0)
    rollout = CompactingSampler(model, tok, 150)(prompts, 6)
    assert rollout.completion_ids.shape[1] > 2 * growing._ROOM
    assert len(buffers) > 20 * len({id(buffer) for buffer in buffers}), "tokens are appended in place"
    assert_logprobs_are_those_of_full_forwards(model, rollout, prompts)


@pytest.mark.parametrize("wrapper", [Wrapped, Adapter])
def test_wrapped_models_are_called_through_the_wrapper(wrapper: type[nn.Module]) -> None:
    wrapped = wrapper(model_of())
    with watching(wrapped) as seen:
        rollout = CompactingSampler(wrapped, words(), 6)([[4, 5]], 4)
    assert len(seen) == rollout.completion_ids.shape[1]


def test_ddp_is_not_called_so_that_ranks_may_differ(two_ranks: None) -> None:
    model = model_of()
    wrapped = DistributedDataParallel(model)
    with watching(wrapped) as seen, watching(model) as inside:
        CompactingSampler(wrapped, words(), 6)([[4, 5]], 4)
    assert not seen
    assert inside


def test_weights_sharded_over_ranks_are_refused(two_ranks: None) -> None:
    model = model_of()
    fully_shard(model, mesh=init_device_mesh("cpu", (2,)))
    with pytest.raises(RuntimeError, match=r"sharded over 2 ranks.*use TransformersSampler"):
        CompactingSampler(model, words(), 6)([[4, 5]], 4)


def build(auto: type, family: str, **extra: object) -> PreTrainedModel:
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 1}
    model: PreTrainedModel = auto.from_config(AutoConfig.for_model(family, vocab_size=VOCAB, **{**sizes, **extra}))
    return model


@pytest.mark.parametrize(
    ("model", "why"),
    [
        (lambda: build(AutoModelForCausalLM, "mamba"), r"MambaForCausalLM \(mamba\) has"),
        (lambda: build(AutoModelForCausalLM, "rwkv"), r"RwkvForCausalLM \(rwkv\) has recurrent layers"),
        (
            lambda: build(AutoModelForCausalLM, "lfm2", intermediate_size=32, layer_types=["conv", "full_attention"]),
            r"Lfm2ForCausalLM \(lfm2\) has layers of type conv",
        ),
        (
            lambda: build(AutoModelForCausalLM, "openai-gpt", n_embd=16, n_layer=1, n_head=2),
            "OpenAIGPTLMHeadModel put 0 of 2 positions",
        ),
    ],
)
def test_models_whose_rows_cannot_be_dropped_are_refused(model: object, why: str) -> None:
    assert callable(model)
    with pytest.raises(UnsupportedModelError, match=f"model: {why}.*use TransformersSampler"):
        CompactingSampler(model(), words(), 4)([[4, 5]], 2)


def test_hybrids_without_a_state_are_sampled_from() -> None:
    model = tiny_model(
        "granitemoehybrid",
        layer_types=["full_attention"] * 2,
        mamba_n_heads=4,
        mamba_d_head=16,
        num_local_experts=2,
        num_experts_per_tok=1,
        shared_intermediate_size=32,
    )
    model.generation_config.eos_token_id = [2, 5, 9]
    prompts = [[4, 8, 9], [4]]
    rollout = CompactingSampler(model, words(), 12)(prompts, 4)
    assert_logprobs_are_those_of_full_forwards(model, rollout, prompts)
