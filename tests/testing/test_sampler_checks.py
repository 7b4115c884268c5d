"""Each check of a sampler fails on a sampler that breaks its property, and the others pass."""

import dataclasses
import re
from functools import cache

import pytest
import torch
from broken import failures

from iapo import Sampler
from iapo.rollout import ScriptedSampler, TransformersSampler
from iapo.testing import check_sampler, sampler_checks, tiny_llama, tiny_tokenizer

pytestmark = pytest.mark.usefixtures("first_failure")

EOS = [2, 5, 9, 12, 20]


@cache
def good() -> TransformersSampler:
    model = tiny_llama()
    model.generation_config.eos_token_id = EOS
    return TransformersSampler(model, tiny_tokenizer(), max_new_tokens=6, temperature=0.8)


class Sound(Sampler):
    """The sampler of `good`, with a place for one mistake."""

    temperature, max_new_tokens = 0.8, 6

    def __init__(self):
        self.model, self.tokenizer = good().model, good().tokenizer

    def sample(self, prompts, group_size):
        return self.change(good()(prompts, group_size))

    def change(self, rollout):
        return rollout


class AllOneGroup(Sound):
    def __call__(self, prompts, group_size):
        return self.sample(prompts, group_size)

    def change(self, rollout):
        return dataclasses.replace(rollout, group_ids=torch.zeros_like(rollout.group_ids))


class OtherGroups(Sound):
    def change(self, rollout):
        return dataclasses.replace(rollout, group_ids=rollout.group_ids.flip(0))


class LogprobsInPadding(Sound):
    def change(self, rollout):
        filled = rollout.sampler_logprobs.masked_fill(~rollout.completion_mask, -1)
        return dataclasses.replace(rollout, sampler_logprobs=filled)


class MaskFromIds(Sound):
    """Takes the end-of-sequence token for padding."""

    def change(self, rollout):
        mask = rollout.completion_mask & ~torch.isin(rollout.completion_ids, torch.tensor(EOS))
        return dataclasses.replace(
            rollout, completion_mask=mask, reasoning_mask=mask, sampler_logprobs=rollout.sampler_logprobs * mask
        )


class GoesOn(Sound):
    """Pads with the end-of-sequence token, and counts it."""

    def change(self, rollout):
        ids = rollout.completion_ids.masked_fill(~rollout.completion_mask, EOS[0])
        return dataclasses.replace(
            rollout, completion_ids=ids, completion_mask=torch.ones_like(rollout.completion_mask)
        )


class OwnSeed(Sound):
    calls = 0

    def sample(self, prompts, group_size):
        self.calls += 1
        torch.manual_seed(self.calls)
        return super().sample(prompts, group_size)


class WrongTemperature(Sound):
    temperature = 1.0


class NoLogprobs(Sound):
    def change(self, rollout):
        return dataclasses.replace(rollout, sampler_logprobs=None)


class LeftInEvaluation(Sound):
    def change(self, rollout):
        self.model.eval()
        return rollout


class OtherGeneration(Sound):
    def change(self, rollout):
        self.model.generation_config.max_length = 17 + (self.model.generation_config.max_length or 0)
        return rollout


BROKEN = [
    (
        AllOneGroup,
        {"groups", "prompts"},
        r"want 1 completions for each of 3 prompts, group_ids count \[3, |prompt",
    ),
    (OtherGroups, {"prompts"}, r"row 0 of 3, group 2: want prompt \[7, 6, 8, 3, 9\], got \[4, 8, 9\]"),
    (LogprobsInPadding, {"padding", "logprobs"}, r"sampler_logprobs.*: differs by [\d.]+ at \(\d, \d\) of \(\d, \d\)"),
    (
        MaskFromIds,
        {"end_of_sequence"},
        r"row \d of \d has \d tokens, max_new_tokens is 6, and no end-of-sequence",
    ),
    (GoesOn, {"end_of_sequence", "logprobs"}, r"row \d of \d has \d tokens and goes on after its end at \d|differs by"),
    (OwnSeed, {"repeatable"}, r"second call, group size \d: "),
    (WrongTemperature, {"logprobs"}, r"against the policy, group size \d, temperature 1.0: differs by [\d.]+ at"),
    (NoLogprobs, {"logprobs"}, r"sampler_logprobs: got None for 3 rows, want log-probabilities"),
    (LeftInEvaluation, {"model_untouched"}, r"training mode: \d+ of \d+ modules changed"),
    (OtherGeneration, {"model_untouched"}, r"settings: were .*'max_length'"),
]


@pytest.mark.parametrize(("sampler", "names", "message"), BROKEN, ids=lambda value: getattr(value, "__name__", None))
def test_each_broken_sampler_fails_its_check(sampler, names, message):
    found = failures(sampler(), sampler_checks, names, {"group_sizes": (2,)}, seeds=1)
    good.cache_clear()  # some of them change the model
    assert set(found) == names
    for name in names:
        assert re.match(f"{sampler.__name__}: {name}: ", found[name])
        assert re.search(message, found[name]), found[name]


def test_a_sound_sampler_passes_everything():
    assert all(check_sampler(Sound()).values())
    assert not check_sampler(NoLogprobs(), records_logprobs=False, seeds=1)["logprobs"]


def test_a_stop_text_ends_a_completion_too():
    tokenizer, rows = tiny_tokenizer(), []

    class Stopped(ScriptedSampler):
        max_new_tokens = 9

        def sample(self, prompts, group_size):
            rollout = super().sample(prompts, group_size)
            rows.extend(rollout.completion_mask.sum(1).tolist())
            return rollout

    stopped = Stopped(lambda prompt, index: "3+4=7", tokenizer=tokenizer, stop="=")
    assert check_sampler(stopped, prompts=("3+4=", "a"), seeds=1)["end_of_sequence"]
    assert 0 < max(rows) < Stopped.max_new_tokens
    with pytest.raises(AssertionError, match=r"no end-of-sequence token \(\d+\) counts"):
        check_sampler(dataclasses.replace(stopped, stop=()), prompts=("3+4=", "a"), seeds=1)


def test_prompts_may_be_texts_if_there_is_a_tokenizer():
    assert check_sampler(Sound(), prompts=("3+4=", "a"), seeds=1)["prompts"]
    scripted = ScriptedSampler(lambda prompt, index: "7", tokenizer=tiny_tokenizer())
    assert check_sampler(scripted, prompts=("3+4=", "a"))["prompts"]


def test_without_a_tokenizer_the_end_of_sequence_must_be_named():
    completions = ScriptedSampler(lambda prompt, index: [5, 2, 6])
    assert not check_sampler(completions)["end_of_sequence"]
    with pytest.raises(AssertionError, match=r"row 0 of 3 has 3 tokens and goes on after its end at 1"):
        check_sampler(completions, eos_ids=(2,))
