"""Each check of an estimator fails on an estimator that breaks its property, and the others pass."""

import dataclasses
import re
from dataclasses import dataclass

import pytest
import torch
from broken import failures
from torch.distributions import Categorical
from torch.nn.functional import pad

from iapo import MIEstimator
from iapo.estimators import EarlyExitEntropy
from iapo.estimators.packed import Block, probe_prefixes
from iapo.policy.forward import inference_mode
from iapo.testing import check_estimator, estimator_checks

pytestmark = pytest.mark.usefixtures("first_failure")

CREDIT = torch.randint(-4, 5, (31,), generator=torch.Generator().manual_seed(0)) / 4
"""The information of each token of the vocabulary in every context, exact in half precision."""


class Table(MIEstimator):
    """Has every property but that of asking the model."""

    def probe(self, model, rollout):
        return pad(CREDIT[rollout.completion_ids].cumsum(1), (1, 0))


class HalfPrecision(Table):
    def probe(self, model, rollout):
        return super().probe(model, rollout).half()


class Spilling(Table):
    """The token behind the reasoning is credited too."""

    def __call__(self, model, rollout):
        behind = pad(rollout.reasoning_mask, (1, 0))[:, :-1] & rollout.completion_mask & ~rollout.reasoning_mask
        return super().__call__(model, rollout) + 0.5 * behind


class Smoothed(Table):
    """Averages with the neighbor in front."""

    def __call__(self, model, rollout):
        information = super().__call__(model, rollout)
        return (information + pad(information, (1, 0))[:, :-1]) / 2 * rollout.reasoning_mask


class NeverNothing(Table):
    def __call__(self, model, rollout):
        information = super().__call__(model, rollout)
        return information if rollout.reasoning_mask.any() else information + 0.25


class Drifting(Table):
    calls = 0

    def probe(self, model, rollout):
        self.calls += 1
        return super().probe(model, rollout) * (1 + 1e-6 * self.calls)


class Training(Table):
    def probe(self, model, rollout):
        with torch.no_grad():
            model(input_ids=rollout.prompt_ids)
        return super().probe(model, rollout)


class LeftInEvaluation(Table):
    def probe(self, model, rollout):
        model.eval()
        return super().probe(model, rollout)


class NudgesWeights(Table):
    def probe(self, model, rollout):
        with torch.no_grad():
            next(model.parameters()).mul_(1.01)
        return super().probe(model, rollout)


class LeavesGradients(Table):
    def probe(self, model, rollout):
        with inference_mode(model), torch.enable_grad():
            model(input_ids=rollout.prompt_ids).logits.sum().backward()
        return super().probe(model, rollout)


class LeavesHooks(Table):
    def probe(self, model, rollout):
        list(model.modules())[-1].register_forward_hook(lambda module, inputs, output: output + 1)
        return super().probe(model, rollout)


class Drawing(Table):
    def probe(self, model, rollout):
        torch.rand(1)
        return super().probe(model, rollout)


class ReadsConfig(Table):
    def probe(self, model, rollout):
        assert model.config.vocab_size == len(CREDIT)
        return super().probe(model, rollout)


class PerLength(Table):
    """Divides by the completion's length, which is known only at its end."""

    def probe(self, model, rollout):
        return super().probe(model, rollout) / (1 + rollout.completion_lengths[:, None])


class FromTheEnd(Table):
    """Credits a token with what the next one tells."""

    def probe(self, model, rollout):
        return pad(CREDIT[rollout.completion_ids] * rollout.completion_mask, (0, 1)).cumsum(1)


class ByWidth(Table):
    """Counts padding as a part of the prompt."""

    def probe(self, model, rollout):
        return super().probe(model, rollout) * rollout.prompt_ids.shape[1]


class ReadsPaddedIds(Table):
    def probe(self, model, rollout):
        padded = rollout.completion_ids.masked_fill(rollout.completion_mask, 0).sum(1, keepdim=True)
        return super().probe(model, rollout) * (1 + padded)


class ReadsPaddedLogprobs(Table):
    def probe(self, model, rollout):
        padded = rollout.sampler_logprobs.masked_fill(rollout.completion_mask, 0).sum(1, keepdim=True)
        return super().probe(model, rollout) * (1 + padded)


class ByPlace(Table):
    def probe(self, model, rollout):
        return super().probe(model, rollout) * (1 + torch.arange(len(rollout)))[:, None]


class ByBatch(Table):
    def probe(self, model, rollout):
        return super().probe(model, rollout) / len(rollout)


@dataclass(frozen=True)
class Chunked(Table):
    chunk: int | None = None

    def probe(self, model, rollout):
        return super().probe(model, rollout) * (1 + (self.chunk or 0))


class ByDtype(Table):
    dtype = torch.float64

    def probe(self, model, rollout):
        found = next(model.parameters()).dtype == self.dtype
        return super().probe(model, rollout) * (3 if found else 1)


class ByHalfDtype(ByDtype):
    dtype = torch.bfloat16


class ReadsAnswers(Table):
    reads_answer = False

    def probe(self, model, rollout):
        return super().probe(model, rollout) + rollout.answer_ids[:, :1].double().sqrt() * torch.arange(
            rollout.completion_ids.shape[1] + 1
        )


class ReadsExits(Table):
    reads_answer = False

    def probe(self, model, rollout):
        asked = 0 if rollout.exit_ids is None else rollout.exit_ids[:, :1].double()
        return super().probe(model, rollout) + asked * torch.arange(rollout.completion_ids.shape[1] + 1)


class ReducesInHalf(EarlyExitEntropy):
    """The entropy is taken in the precision of the logits."""

    def probe_at(self, model, rollout, at, cache=None):
        block = Block.chain(torch.tensor(self.postfix_ids).expand(len(rollout), -1), kept=1)
        return probe_prefixes(model, rollout, block, lambda logits: Categorical(logits=logits[:, :, 0]).entropy(), at)


BROKEN = [
    (HalfPrecision(), {"shape"}, r"want float32 or float64, got torch.float16 for sizes \(\d, \d+\)"),
    (Spilling(), {"zero_outside_reasoning"}, r"differs by 0.5 at \(\d, \d+\) of \(\d, \d+\): got 0.5, want 0 within 0"),
    (Smoothed(), {"telescoping"}, r"sum over tokens \d+ to \d+ of row \d, sizes \(\d, \d+\): differs by [\d.]+"),
    (NeverNothing(), {"nothing_to_probe"}, r"information without a reasoning token: differs by 0.25"),
    (Drifting(), {"repeatable"}, r"second call: differs by [\d.]+e-0\d at \(\d, \d+\)"),
    (Training(), {"evaluation_mode"}, r"\d+ of \d+ calls of layers ran in training mode, sizes \(\d, \d+\)"),
    (LeftInEvaluation(), {"model_untouched"}, r"training mode: \d+ of \d+ modules changed, first ''"),
    (NudgesWeights(), {"model_untouched"}, r"weight model.embed_tokens.weight: differs by"),
    (
        LeavesGradients(),
        {"model_untouched"},
        r"model.embed_tokens.weight: has a gradient of shape \(31, 32\)",
    ),
    (LeavesHooks(), {"model_untouched"}, r"logits of the same text, after the call: differs by"),
    (Drawing(), {"generator_untouched"}, r"random numbers of torch after the call: differs by"),
    (ReadsConfig(), {"wrapped_model"}, r"raised AttributeError: 'Wrapped' object has no attribute 'config'"),
    (PerLength(), {"causality"}, r"with no tokens from \d on, information before: differs by"),
    (FromTheEnd(), {"causality"}, r"with other tokens from \d on, information before: differs by"),
    (ByWidth(), {"padding"}, r"with [1-3] more slots of padding left and \d right: differs by"),
    (ReadsPaddedIds(), {"padding"}, r"with [0-3] more slots of padding left and \d right: differs by"),
    (ReadsPaddedLogprobs(), {"padding"}, r"with [0-3] more slots of padding left and \d right: differs by"),
    (ByPlace(), {"batch_order"}, r"rows in the order \[[\d, ]+\]: differs by"),
    (ByBatch(), {"micro_batches"}, r"rows \[\d\] of [2-4] alone: differs by"),
    (Chunked(), {"chunk"}, r"with chunk=\d+: differs by"),
    (ByDtype(), {"float64"}, r"torch.float32 against torch.float64: differs by"),
    (ReadsAnswers(), {"unread_answer"}, "with other answers, and reads_answer is False: differs by"),
    (ReadsExits(), {"unread_answer"}, "with other answers, and reads_answer is False: differs by"),
    (ByHalfDtype(), {"bfloat16"}, r"torch.bfloat16 against torch.float32: differs by"),
]
FEW = {"examples": 3}
ALSO = {
    # What breaks one of these properties cannot have the others.
    "NeverNothing": {"zero_outside_reasoning", "causality", "padding", "micro_batches"},
    "ByWidth": {"batch_order", "micro_batches"},
    "ReadsPaddedIds": {"causality", "batch_order", "micro_batches"},
    "ReadsPaddedLogprobs": {"causality"},
    "ByPlace": {"micro_batches"},
    "LeavesHooks": {"repeatable"},
    "ReadsAnswers": {"padding"},  # the first token is padding where there is no answer
}


@pytest.mark.parametrize(("estimator", "names", "message"), BROKEN, ids=lambda value: type(value).__name__)
def test_each_broken_estimator_fails_its_check(estimator, names, message):
    found = failures(estimator, estimator_checks, names, FEW, zero_if_ignored=False, zero_if_unread=False)
    owner = type(estimator).__name__
    assert set(found) - ALSO.get(owner, set()) == names
    for name in names:
        assert re.match(f"{owner}: {name}: ", found[name])
        assert re.search(message, found[name]), found[name]


def test_crediting_ignored_tokens_fails_that_check():
    names = {"ignored_tokens", "unread_text"}
    found = failures(Table(), estimator_checks, names, FEW)
    assert set(found) == names
    assert "information of a text that the model does not read: differs by" in found["unread_text"]
    assert "information of tokens that the model ignores: differs by" in found["ignored_tokens"]


def test_reducing_logits_in_bf16_fails_that_check():
    """Though it is well within the bound on a forward in bf16."""
    estimator = ReducesInHalf((4, 5), guard=False)
    found = failures(estimator, estimator_checks, {"bfloat16"}, FEW)
    assert set(found) == {"bfloat16"}
    assert "torch.bfloat16 against the same logits in fp32: differs by" in found["bfloat16"]


def test_a_sound_estimator_passes_what_applies():
    applied = check_estimator(Table(), zero_if_ignored=False, zero_if_unread=False)
    assert {name for name in applied if not applied[name]} == {
        "chunk",
        "unread_answer",
        "ignored_tokens",
        "unread_text",
    }


def test_an_estimator_that_draws_is_checked_as_far_as_that_goes():
    class Noisy(Table):
        def probe(self, model, rollout):
            return super().probe(model, rollout) + torch.rand(len(rollout), rollout.completion_ids.shape[1] + 1)

    names = {"generator_untouched", "batch_order"}
    assert names <= set(failures(Noisy(), estimator_checks, names, FEW, zero_if_ignored=False, zero_if_unread=False))
    applied = check_estimator(Noisy(), deterministic=False)
    assert applied["repeatable"]
    assert applied["telescoping"]
    assert not applied["causality"]


def test_spreading_information_over_intervals_needs_causal_off():
    class Spread(Table):
        """Every completion's information, spread evenly over it."""

        def probe(self, model, rollout):
            lengths = rollout.completion_lengths[:, None].clamp(min=1)
            told = (CREDIT[rollout.completion_ids] * rollout.completion_mask).sum(1, keepdim=True)
            return told * torch.arange(rollout.completion_ids.shape[1] + 1) / lengths

    assert set(
        failures(Spread(), estimator_checks, {"causality"}, FEW, zero_if_ignored=False, zero_if_unread=False)
    ) == {"causality"}
    assert not check_estimator(Spread(), zero_if_ignored=False, zero_if_unread=False, causal=False)["causality"]


def test_rows_that_know_of_their_group_are_split_by_group():
    class ByGroup(Table):
        def probe(self, model, rollout):
            members = (rollout.group_ids[:, None] == rollout.group_ids).sum(1)
            return super().probe(model, rollout) * members[:, None]

    found = failures(ByGroup(), estimator_checks, {"micro_batches"}, FEW, zero_if_ignored=False, zero_if_unread=False)
    assert set(found) == {"micro_batches"}
    assert check_estimator(ByGroup(), zero_if_ignored=False, zero_if_unread=False, rows_independent=False)[
        "micro_batches"
    ]


def test_the_model_given_is_used_and_not_changed():
    model = torch.nn.Sequential(torch.nn.Linear(2, 2))
    seen = []

    class Asks(Table):
        def probe(self, model, rollout):
            seen.append(type(model))
            return super().probe(model, rollout)

    model.config = dataclasses.make_dataclass("Config", [])()
    before = [parameter.clone() for parameter in model.parameters()]
    checks = {check.name: check for check in estimator_checks(model=model)}
    checks["float64"](Asks())
    assert set(seen) == {torch.nn.Sequential}
    assert all(torch.equal(*pair) for pair in zip(model.parameters(), before, strict=True))
    assert not checks["ignored_tokens"].applies_to(Asks())
