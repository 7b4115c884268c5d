"""Tests on the stand-in for a device, which `test_second_device.py` runs in a process of their own."""

import json
import sys
from pathlib import Path

import pytest
import ragged_rollouts
import torch
from models import tiny_model

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests/training")]

import test_contracts as listed  # noqa: E402
from stand_in import DEVICE, NAME, READS, StandIn  # noqa: E402
from updates import TOKENIZER, components_of, embedded_model, run  # noqa: E402

from benchmarks.gpu import contracts  # noqa: E402
from iapo import AdvantageAssigner, AdvantageInputs, Sampler, TokenSignals  # noqa: E402
from iapo.advantages import InformationAware, LeaveOutPriced  # noqa: E402
from iapo.cli import main  # noqa: E402
from iapo.embedded import generate_problems, rows  # noqa: E402
from iapo.estimators import (  # noqa: E402
    AnswerLikelihood,
    Calibrated,
    EarlyExitEntropy,
    EveryTokens,
    LeaveOut,
    NextTokenEntropy,
    TextBoundaries,
)
from iapo.interfaces import information_between  # noqa: E402
from iapo.losses import ClippedPolicyLoss  # noqa: E402
from iapo.ops.masked import beside  # noqa: E402
from iapo.policy.logprobs import completion_logprobs  # noqa: E402
from iapo.rollout import CompactingSampler, ScriptedSampler, TransformersSampler  # noqa: E402
from iapo.styles import CompletionStyle  # noqa: E402
from iapo.testing import tiny_llama  # noqa: E402
from iapo.testing.checks import seeded  # noqa: E402
from iapo.training.components import UpdateSettings  # noqa: E402
from iapo.training.loop import optimise, prepare  # noqa: E402
from iapo.training.resample import Resampling  # noqa: E402

CLOSE = 1e-4
"""Attention has another kernel there than on the CPU."""


def components(table):
    """Each of a table of `test_contracts` with its options, a test each."""
    return [pytest.param(each, options, id=name) for name, each, options in contracts.named(table, toy=False)]


@pytest.fixture(autouse=True)
def inside():
    with StandIn():
        yield


def test_what_cuda_refuses_is_refused():
    here, there = torch.ones(3), torch.ones(3, device=NAME)
    with pytest.raises(RuntimeError, match="expected all tensors to be on the same device"):
        there + here
    with pytest.raises(RuntimeError, match="expected all tensors to be on the same device"):
        torch.cat([there, here])
    with pytest.raises(RuntimeError, match="numpy"):
        there.numpy()
    with pytest.raises(RuntimeError, match="expected all tensors to be on the same device"):
        here[there > 0]
    with pytest.raises(RuntimeError, match="expected all tensors to be on the same device"):
        there.index_put((torch.arange(2),), here[:2])
    assert (there + 1)[[0, 2]].tolist() == [2, 2]
    assert (there * torch.tensor(3.0)).device == DEVICE
    assert there[torch.tensor([True, False, True])].cpu().device.type == "cpu"


def test_waits_are_counted():
    there = torch.ones(3, device=NAME)
    READS.clear()
    there.sum() + there
    assert not READS
    there.tolist(), float(there[0]), there.nonzero(), there[there > 0], there.cpu()
    assert sum(READS.values()) == 5


@pytest.mark.parametrize(("estimator", "options"), components(listed.ESTIMATORS))
def test_estimators(estimator, options):
    if "model" in options:
        pytest.skip("has a model of its own")
    contracts.values(estimator, DEVICE, torch.float32, CLOSE)


@pytest.mark.parametrize("estimator", [LeaveOut(EveryTokens(2), window=2), AnswerLikelihood((5, 6))])
def test_estimators_with_sliding_windows(estimator):
    model, rollout = tiny_model("gemma3_text", sliding_window=4, head_dim=8), ragged_rollouts.rollout()
    expected = estimator(model, rollout)
    found = estimator(model.to(NAME), rollout.to(NAME))
    torch.testing.assert_close(found.cpu(), expected, atol=CLOSE, rtol=0)


def test_fitted_estimators():
    model, rollout = tiny_llama().to(NAME), contracts.example().to(NAME)
    estimator = Calibrated(AnswerLikelihood((4, 5)), model)
    before = [parameter.cpu().clone() for parameter in estimator.parameters()]
    optimizer = torch.optim.AdamW(estimator.parameters(), lr=0.01)
    assert estimator.fit(model, rollout, optimizer, steps=2, rows=2, prefixes=3)
    assert any(not torch.equal(old, new.cpu()) for old, new in zip(before, estimator.parameters(), strict=True))


@pytest.mark.parametrize(("assigner", "options"), components(listed.ASSIGNERS))
def test_assigners(assigner, options):
    contracts.assigner_values(assigner, options, DEVICE)


def assigned(groups: int) -> AdvantageInputs:
    """Groups that are all alike but for their ids: of three completions, one of them empty, all of other rewards."""
    generator = torch.Generator().manual_seed(0)
    mask = torch.arange(6) < torch.tensor([[6], [0], [4]])
    values = -3 * torch.rand(3, 7, generator=generator) * beside(mask)
    rows = {
        "information": information_between(values, mask),
        "information_mask": mask,
        "prefix_values": values,
        "completion_ids": torch.randint(0, 12, mask.shape, generator=generator) * mask,
        "reasoning_mask": mask,
        "reward_columns": torch.rand(3, 2, generator=generator),
        "reference_length": torch.tensor([4.0, 5.0, 3.0]),
        "reference_accuracy": torch.tensor([0.25, 0.75, 0.5]),
    }
    for name in ("policy_entropy", "policy_logprobs", "outcome_advantages"):
        rows[name] = torch.rand(mask.shape, generator=generator) * mask * (-1 if name == "policy_logprobs" else 1)
    signals = TokenSignals(**{name: torch.cat([each] * groups) for name, each in rows.items()})
    ids = torch.arange(groups).repeat_interleave(3)
    rewards = torch.tensor([1.0, 0.0, 0.6] * groups)
    return AdvantageInputs(rewards, rewards > 0.5, ids, torch.cat([mask] * groups), signals)


@pytest.mark.parametrize(("assigner", "options"), components(listed.ASSIGNERS))
def test_assigners_do_not_wait_for_each_group_or_completion(assigner, options):
    reads = []
    for groups in (2, 6):
        there = contracts.moved(assigned(groups), DEVICE)
        READS.clear()
        with seeded(device=DEVICE):
            assigner(**vars(there))
        reads.append(dict(READS))
    assert reads[0] == reads[1]


@pytest.mark.parametrize(("loss", "options"), components(listed.LOSSES))
def test_losses(loss, options):
    contracts.loss_values(loss, DEVICE)


@pytest.mark.parametrize("sampler", [CompactingSampler, TransformersSampler])
@pytest.mark.parametrize("settings", [{}, {"top_p": 0.9, "temperature": 0.7, "max_batch": 4}, {"temperature": 0.0}])
def test_samplers(sampler, settings):
    found = []
    for place in ("cpu", NAME):
        torch.manual_seed(0)
        sample = sampler(listed.sampled_model().to(place), listed.TOKENIZER, max_new_tokens=8, **settings)
        found.append(sample([[9, 12, 13], [20]], 3))
    assert found[1].completion_ids.device == found[1].sampler_logprobs.device == DEVICE
    assert found[1].completion_ids.tolist() == found[0].completion_ids.tolist()
    torch.testing.assert_close(found[1].sampler_logprobs.cpu(), found[0].sampler_logprobs, atol=CLOSE, rtol=0)


@pytest.mark.parametrize("sampler", [CompactingSampler, TransformersSampler])
def test_samplers_that_stop_at_a_text(sampler):
    found = []
    for place in ("cpu", NAME):
        torch.manual_seed(0)
        found.append(sampler(embedded_model().to(place), TOKENIZER, max_new_tokens=20, stop="=")(["4-7-2="], 4))
    assert found[1].completion_ids.device == DEVICE
    assert found[1].completion_ids.tolist() == found[0].completion_ids.tolist()
    assert found[1].unread.any()


@pytest.mark.parametrize(
    "parts",
    [
        {"estimator": LeaveOut(TextBoundaries(TOKENIZER)), "assigner": LeaveOutPriced(beta=0.1)},
        {"reference": True, "epochs": 2, "loss": ClippedPolicyLoss(kl_coef=0.1), "gradient_checkpointing": True},
        {"assigner": InformationAware(beta=0.1, exploration="policy_entropy"), "answer": "reference"},
        {"diagnose": True},
        {"resampling": Resampling(1, lambda: rows(generate_problems(4, seed=6)))},
    ],
    ids=["left out", "a reference and epochs", "reference answers", "diagnosed", "resampled"],
)
def test_updates_have_the_metrics_and_weights_of_the_cpu(parts):
    expected, weights = run(micro_batch=8, **parts)
    found, moved = run(micro_batch=8, model=embedded_model().to(NAME), **parts)
    assert moved.device == DEVICE
    torch.testing.assert_close(moved.cpu(), weights, atol=CLOSE, rtol=0)
    for name, value in expected.items():
        if "time" not in name:
            assert found[name] == pytest.approx(value, abs=CLOSE, rel=CLOSE, nan_ok=True), name


def test_the_commands_take_the_device(tmp_path, capsys):
    device = ["--device", NAME]
    for output, where in (("there", device), ("here", ["--device", "cpu"])):
        train = ["train", "--output", str(tmp_path / output), "--checkpoint_every", "1", "--eval_problems", "2", *where]
        train += [
            "--eval_samples",
            "1",
            "--prompts_per_step",
            "2",
            "--group_size",
            "3",
            "--sampler.max_new_tokens",
            "16",
        ]
        assert main([*train, "--steps", "1"]) == 0
        assert main([*train, "--steps", "2", "--resume"]) == 0
    there, here = (
        [json.loads(line) for line in (tmp_path / output / "metrics.jsonl").read_text().splitlines()]
        for output in ("there", "here")
    )
    for found, expected in zip(there, here, strict=True):
        for name, value in expected.items():
            if "time" not in name:
                assert found[name] == pytest.approx(value, abs=CLOSE, rel=CLOSE, nan_ok=True), name
    model, page = str(tmp_path / "there" / "checkpoint-2"), tmp_path / "page.html"
    device += ["--sampler.max_new_tokens", "16"]
    few = ["--problems", "2", "--samples", "2", "--budgets", "[8]"]
    assert main(["eval", "--models", f"[{model}]", *few, *device]) == 0
    assert main(["inspect", "--model", model, "--html", str(page), *device]) == 0
    assert page.stat().st_size


def reads_of_an_update(prompts: int, group_size: int, assigner: AdvantageAssigner) -> dict[str, int]:
    """Of an update on completions that are given."""
    model = embedded_model().to(NAME)
    written = [" ".join(map(str, range(3 + index % 4))) + "</think><answer>7</answer>" for index in range(16)]
    sampler = ScriptedSampler(lambda prompt, index: TOKENIZER.encode(written[index]), TOKENIZER)
    parts = components_of(model, sampler=sampler, estimator=LeaveOut(TextBoundaries(TOKENIZER)), assigner=assigner)
    settings = UpdateSettings(group_size=group_size, micro_batch=128)
    READS.clear()
    batch = prepare(rows(generate_problems(prompts, seed=5)), model, TOKENIZER, parts, settings)
    optimise(batch, model, parts, settings)
    return dict(READS)


def reads_of_sampling(sampler: type[Sampler], prompts: int, tokens: int, stop: str | tuple[str, ...]) -> int:
    """Where no completion ends early."""
    model = embedded_model().to(NAME)
    model.generation_config.eos_token_id = None
    READS.clear()
    sampler(model, TOKENIZER, max_new_tokens=tokens, stop=stop, style=CompletionStyle())([[4, 5, 6]] * prompts, 2)
    return sum(READS.values())


def reads_of_generate(tokens: int) -> int:
    """Of transformers' own loop."""
    model = embedded_model().to(NAME)
    model.generation_config.eos_token_id = None
    prompt = torch.tensor([[4, 5, 6]], device=NAME)
    READS.clear()
    model.generate(prompt, attention_mask=torch.ones_like(prompt), max_new_tokens=tokens, do_sample=True)
    return sum(READS.values())


def test_the_device_is_not_waited_for_by_each_group_or_completion():
    for assigner in (LeaveOutPriced(), InformationAware(beta=0.1)):
        reads = reads_of_an_update(2, 8, assigner)
        assert reads_of_an_update(2, 16, assigner) == reads_of_an_update(8, 8, assigner) == reads


@pytest.mark.parametrize(
    ("sampler", "stop", "step"),
    [
        (CompactingSampler, (), 1),
        (CompactingSampler, "never", 1),
        (TransformersSampler, (), 0),
        (TransformersSampler, "never", 1),
    ],
)
def test_the_device_is_waited_for_once_at_most_in_each_step_of_sampling(sampler, stop, step):
    # Of transformers: whether the mask hides anything; in its own loop, whether all completions have ended.
    step += 1 if sampler is CompactingSampler else (reads_of_generate(9) - reads_of_generate(5)) // 4
    reads = reads_of_sampling(sampler, 2, 5, stop)
    assert reads_of_sampling(sampler, 16, 5, stop) == reads
    assert reads_of_sampling(sampler, 2, 9, stop) == reads + 4 * step


def test_a_rollout_that_was_left_behind_is_named():
    model, rollout = tiny_llama().to(NAME), contracts.example()
    named = r"rollout: its tensors lie on cpu, the model on elsewhere:0; move it there: rollout.to\('elsewhere:0'\)"
    for use in (NextTokenEntropy(), EarlyExitEntropy((4, 5)), NextTokenEntropy().prefix_values, completion_logprobs):
        with pytest.raises(ValueError, match=named):
            use(model, rollout)
