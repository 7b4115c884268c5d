"""What the loop and engines share: what is left out, tokens that are not the policy's, and rows on several ranks."""

import dataclasses
import os
from datetime import timedelta

import pytest
import torch
import torch.multiprocessing as processes
from ports import held_port
from torch import distributed, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard

from iapo import Rollout
from iapo.advantages import GroupRelative, InformationAware, PermutedInformation
from iapo.estimators import AnswerEntropy, AnswerLikelihood
from iapo.integrations.distributed import Distributed
from iapo.testing import tiny_llama
from iapo.training.assigning import Assigned, assign
from iapo.training.distributed.ranks import ALONE, Ranks

POSTFIX, CLOSING = (5, 6), (7,)
ASSIGNER = InformationAware(GroupRelative(allow_singletons=True), beta=0.1)
ESTIMATORS = {
    "likelihood": AnswerLikelihood(POSTFIX, CLOSING),
    "answers": AnswerEntropy(POSTFIX, closing_ids=CLOSING),
}
REWARDS = torch.tensor([1.0, 0.0, torch.nan, 1.0, 0.0, 0.0, 1.0, torch.nan])
"""All that are right are in the first half of the batch, but for one; the last group has one that is scored."""


def batch() -> Rollout:
    """Eight completions of three groups, ragged, some without an answer."""
    generator = torch.Generator().manual_seed(0)
    lengths = torch.tensor([9, 4, 6, 7, 2, 5, 8, 3])
    mask = torch.arange(9) < lengths[:, None]
    answers = torch.tensor([1, 2, 1, 0, 1, 1, 2, 1])
    return Rollout(
        prompt_ids=torch.randint(8, 26, (8, 5), generator=generator),
        prompt_mask=torch.arange(5) >= torch.tensor([0, 0, 0, 2, 2, 2, 1, 1])[:, None],
        completion_ids=torch.randint(8, 26, mask.shape, generator=generator),
        completion_mask=mask,
        reasoning_mask=mask & (torch.arange(9) < lengths[:, None] - 1),
        group_ids=torch.tensor([0, 0, 0, 1, 1, 1, 2, 2]),
        answer_ids=torch.randint(8, 26, (8, 2), generator=generator),
        answer_mask=torch.arange(2) < answers[:, None],
    )


def assigned(model: nn.Module, rollout: Rollout, rewards, name: str, ranks: Ranks = ALONE, **changes) -> Assigned:
    options = {"assigner": ASSIGNER, "micro_batch": 2} | changes
    options |= {"estimator": ESTIMATORS[name], "temperature": 1.0, "ranks": ranks}
    return assign(model, rollout, rewards, rewards > 0.5, **options)


@pytest.mark.parametrize("name", ESTIMATORS)
def test_what_is_not_scored_is_as_if_it_were_not_there(name):
    model, rollout = tiny_llama(), batch()
    found = assigned(model, rollout, REWARDS, name)
    kept = torch.tensor([0, 1, 3, 4, 5])
    assert found.kept.nonzero().flatten().tolist() == kept.tolist(), "and one alone in its group"
    assert found.metrics == {"iapo/completions/unscored": 2.0, "iapo/completions/without_baseline": 1.0}
    expected = assigned(model, rollout.select(kept), REWARDS[kept], name)
    width = expected.output.advantages.shape[1]
    torch.testing.assert_close(found.output.advantages[kept, :width], expected.output.advantages, atol=1e-5, rtol=0)
    torch.testing.assert_close(found.signals.information[kept, :width], expected.signals.information, atol=1e-5, rtol=0)
    assert not found.output.loss_mask[~found.kept].any()
    assert not found.output.advantages[~found.kept].any()
    assert found.output.metrics == pytest.approx(expected.output.metrics, abs=1e-5)
    same = found.select(kept, width)
    assert torch.equal(same.output.advantages, found.output.advantages[kept, :width])
    assert same.signals.information.shape == same.output.advantages.shape


def test_where_nothing_is_scored_there_is_nothing():
    rollout = batch()
    found = assigned(tiny_llama(), rollout, torch.full((8,), torch.nan), "likelihood")
    assert not found.kept.any()
    assert not found.output.loss_mask.any()
    assert not found.signals.information.any()


def test_tokens_of_others_have_no_advantage_and_no_length():
    rollout, rewards = batch(), REWARDS.nan_to_num()
    written = rollout.completion_mask & (torch.arange(9) % 3 != 1)
    probed = dataclasses.replace(rollout, reasoning_mask=rollout.reasoning_mask & written)
    found = assigned(tiny_llama(), probed, rewards, "likelihood", written=written)
    assert torch.equal(found.output.loss_mask, written)
    assert not found.output.advantages[~written].any()
    assert found.signals.information[written].any()
    assert not found.signals.information[~written].any()


def test_what_wants_information_must_be_one_bool_for_each():
    class Wrong(PermutedInformation):
        def wants_information(self, inputs):
            return inputs.rewards

    with pytest.raises(ValueError, match=r"Wrong.wants_information: want bool of shape \(batch,\) = \(8,\)"):
        assigned(tiny_llama(), batch(), REWARDS.nan_to_num(), "likelihood", assigner=Wrong(InformationAware()))


def test_what_wants_information_must_be_a_tensor():
    class Wrong(PermutedInformation):
        def wants_information(self, inputs):
            return [True] * len(inputs.rewards)

    with pytest.raises(ValueError, match=r"Wrong.wants_information: want a tensor, got list"):
        assigned(tiny_llama(), batch(), REWARDS.nan_to_num(), "likelihood", assigner=Wrong(InformationAware()))


def test_what_with_groups_returns_must_be_a_rollout(monkeypatch):
    class Forgetful(AnswerLikelihood):
        def with_groups(self, rollout):
            return None

    monkeypatch.setitem(ESTIMATORS, "forgetful", Forgetful(POSTFIX, CLOSING))
    with pytest.raises(ValueError, match=r"Forgetful.with_groups: want a Rollout, got NoneType"):
        assigned(tiny_llama(), batch(), REWARDS.nan_to_num(), "forgetful")


def work(rank: int, port: int, folder: str) -> None:
    """One of two ranks, with half of the rows, on a model whose weights lie on both."""
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", rank=rank, world_size=2, timeout=timedelta(seconds=100))
    model = tiny_llama()
    for layer in model.model.layers:
        fully_shard(layer, mesh=init_device_mesh("cpu", (2,)))
    fully_shard(model, mesh=init_device_mesh("cpu", (2,)))
    calls: list[int] = []
    model.register_forward_pre_hook(lambda *_: calls.append(1))
    own, found = slice(rank * 4, rank * 4 + 4), {}
    for name in ESTIMATORS:
        calls.clear()
        part = assigned(model, batch().select(own), REWARDS[own], name, Distributed(), micro_batch=1)
        found[name] = {
            "advantages": part.output.advantages,
            "information": part.signals.information,
            "probed": part.probed,
            "metrics": part.metrics | part.output.metrics,
            "calls": len(calls),
        }
    torch.save(found, f"{folder}/{rank}.pt")
    distributed.barrier()
    distributed.destroy_process_group()


def test_two_ranks_give_what_one_gives_however_unequal_what_they_ask(tmp_path):
    with held_port() as port:
        processes.spawn(work, (port, str(tmp_path)), nprocs=2)
    ranks = [torch.load(tmp_path / f"{rank}.pt") for rank in (0, 1)]
    for name in ESTIMATORS:
        alone = assigned(tiny_llama(), batch(), REWARDS, name)
        parts = [rank[name] for rank in ranks]
        assert [int(part["probed"].sum()) for part in parts] == [2, 0], "unequal"
        assert parts[0]["calls"] == parts[1]["calls"]
        for rank, part in enumerate(parts):
            own, width = slice(rank * 4, rank * 4 + 4), part["advantages"].shape[1]
            expected = {"advantages": alone.output.advantages, "information": alone.signals.information}
            for what, values in expected.items():
                torch.testing.assert_close(part[what], values[own, :width], atol=1e-5, rtol=0)
            assert part["metrics"] == pytest.approx(alone.metrics | alone.output.metrics, abs=1e-5)
