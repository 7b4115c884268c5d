"""Long completions: caches that are filled part by part, and no tensor that grows with the square of the length."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from models import FAMILIES, VOCAB, model_shapes, tiny_model
from tolerances import rounding
from torch.utils._python_dispatch import TorchDispatchMode

from iapo import Rollout
from iapo.estimators import AnswerLikelihood, EarlyExitEntropy, EveryTokens, LeaveOut, Refined
from iapo.estimators.packed import fill_cache, fill_cache_and_score, memory, packable_attention, prefix_cache
from iapo.policy.forward import inference_mode
from iapo.policy.logprobs import completion_logprobs
from iapo.testing import rollouts
from iapo.testing.models import Wrapped

POSTFIX = (4, 5)
LINES = EveryTokens(24)
LONG = {
    "entropy": lambda: EarlyExitEntropy(POSTFIX),
    "entropy at lines": lambda: Refined(EarlyExitEntropy(POSTFIX), stride=2, boundaries=LINES),
    "likelihood at lines": lambda: Refined(AnswerLikelihood(POSTFIX), stride=1, boundaries=LINES),
    "left out lines": lambda: LeaveOut(LINES),
    "left out lines, few tokens": lambda: LeaveOut(LINES, runs=1, tokens=8),
}


@pytest.mark.parametrize("family", [*FAMILIES, "gemma3_text"])
@given(shape=model_shapes(), rollout=rollouts(vocab=VOCAB), tokens=st.integers(1, 6), wrapped=st.booleans())
@settings(max_examples=10, deadline=None)
def test_a_cache_filled_part_by_part_is_the_whole(family, shape, rollout, tokens, wrapped):
    model = tiny_model(family, **shape, **({} if family in FAMILIES else {"sliding_window": 4}))
    policy = Wrapped(model) if wrapped else model
    longest, real = rollout.completion_ids.shape[1], torch.cat([rollout.prompt_mask, rollout.completion_mask], 1)
    with packable_attention(policy), inference_mode(policy), pytest.MonkeyPatch.context() as patch:
        whole, expected = fill_cache(policy, rollout, longest), completion_logprobs(policy, rollout)[0]
        patch.setattr(prefix_cache, "_FILLING_TOKENS", {"cpu": tokens})
        (scored, logprobs), filled = fill_cache_and_score(policy, rollout), fill_cache(policy, rollout, longest)
    torch.testing.assert_close(logprobs, expected, atol=rounding(model, expected), rtol=0)
    for found in (scored, filled):
        for name in ("_keys", "_values"):
            for there, wanted in zip(getattr(found, name), getattr(whole, name), strict=True):
                seen = real[:, None, :, None]
                there, wanted = there.masked_fill(~seen, 0), wanted.masked_fill(~seen, 0)
                torch.testing.assert_close(there, wanted, atol=rounding(model, wanted), rtol=0)


class Largest(TorchDispatchMode):
    """The bytes of the largest memory that an operation returned, and its shape."""

    def __init__(self):
        super().__init__()
        self.bytes, self.shape = 0, ()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        for each in result if isinstance(result, tuple | list) else (result,):
            if isinstance(each, torch.Tensor) and each.untyped_storage().nbytes() > self.bytes:
                self.bytes, self.shape = each.untyped_storage().nbytes(), tuple(each.shape)
        return result


def long_rollout(length: int, padding: int) -> Rollout:
    """Two completions, one of them shorter by a quarter, prompts of 8 tokens, one of them padded."""
    ids = torch.randint(8, VOCAB, (2, length), generator=torch.Generator().manual_seed(length))
    mask = torch.arange(length) < torch.tensor([[length], [length - length // 4]])
    answers = torch.full((2, 3), 9)
    return Rollout(
        prompt_ids=torch.full((2, 8), 3),
        prompt_mask=torch.arange(8) >= torch.tensor([[0], [padding]]),
        completion_ids=ids.masked_fill(~mask, 0),
        completion_mask=mask,
        reasoning_mask=mask,
        group_ids=torch.zeros(2, dtype=torch.long),
        answer_ids=answers,
        answer_mask=torch.ones_like(answers, dtype=torch.bool),
    )


@pytest.mark.parametrize(
    ("family", "padding", "length", "name"),
    [
        *(("llama", 5, 2048, name) for name in ("likelihood at lines", "left out lines, few tokens")),
        *((family, padding, 512, name) for family, padding in (("llama", 0), ("gemma3_text", 5)) for name in LONG),
    ],
)
def test_no_tensor_grows_faster_than_the_length(family, padding, length, name, monkeypatch):
    """Twice the length at most doubles the largest tensor; parts are small, so that they do not hide it."""
    for module, constant, size in (
        (prefix_cache, "_FILLING_TOKENS", length // 16),
        (memory, "_PACKED_TOKENS", length // 32),
        (memory, "_MASK", length**2 // 4),
    ):
        monkeypatch.setattr(module, constant, {"cpu": size})
    model = tiny_model(family, layers=1, **({} if family in FAMILIES else {"sliding_window": 64, "head_dim": 8}))
    model.config.max_position_embeddings = 8192
    found = []
    for tokens in (length, 2 * length):
        with Largest() as largest:
            LONG[name]().probe(model, long_rollout(tokens, padding))
        found.append(largest)
    assert found[1].bytes <= 2.1 * found[0].bytes, [each.shape for each in found]
