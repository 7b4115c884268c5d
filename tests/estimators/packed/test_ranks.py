"""Two gloo processes give what one gives, and call the model equally often, however ragged their rows."""

import gc
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import pytest
import torch
import torch.multiprocessing as processes
from models import tiny_model
from ports import held_port
from tolerances import rounding
from torch import Tensor, distributed, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.nn.parallel import DistributedDataParallel

from iapo import Rollout
from iapo.estimators import (
    AnswerEntropy,
    AnswerLikelihood,
    Calibrated,
    EarlyExitEntropy,
    EveryTokens,
    LeaveOut,
    NextTokenEntropy,
    Refined,
    UnsupportedModelError,
)

POSTFIX, CLOSING = (4, 5), (6,)

LENGTHS = {
    "ragged": ([9, 4], [2, 1]),
    "nothing to probe": ([7, 3], [0, 0]),
    "no answer": ([5, 5], [3, 0]),
}
"""Completion lengths of the rows of each rank; in ``no answer`` the second rank has none."""


def estimators(model: nn.Module) -> dict[str, object]:
    likelihood = AnswerLikelihood(POSTFIX, CLOSING, chunk=2)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        calibrated = Calibrated(likelihood, model, rank=2)
        for parameter in calibrated.parameters():
            nn.init.normal_(parameter, std=0.1)
    return {
        "entropy": EarlyExitEntropy(POSTFIX, chunk=2),
        "likelihood": likelihood,
        "answers": AnswerEntropy(POSTFIX, closing_ids=CLOSING, chunk=3),
        "refined": Refined(EarlyExitEntropy(POSTFIX, chunk=2), stride=4, threshold=0.05),
        "calibrated": calibrated,
        "next token": NextTokenEntropy(chunk=3),
        "leave out": LeaveOut(EveryTokens(2), window=None, chunk=2),
    }


def rollout(case: str, rank: int) -> Rollout:
    generator = torch.Generator().manual_seed(10 + rank)
    lengths = torch.tensor(LENGTHS[case][rank])
    mask = torch.arange(int(lengths.max()) + 1) < lengths[:, None]
    answered = torch.ones(2, 2, dtype=torch.bool) if case != "no answer" or rank == 0 else torch.zeros(2, 0).bool()
    return Rollout(
        prompt_ids=torch.randint(3, 31, (2, 5), generator=generator),
        prompt_mask=torch.arange(5) >= torch.tensor([0, 2])[:, None],
        completion_ids=torch.randint(3, 31, mask.shape, generator=generator),
        completion_mask=mask,
        reasoning_mask=mask,
        group_ids=torch.zeros(2, dtype=torch.long),
        answer_ids=torch.randint(3, 31, answered.shape, generator=generator),
        answer_mask=answered,
    )


def counted(model: nn.Module) -> list[int]:
    calls: list[int] = []
    model.register_forward_pre_hook(lambda *_: calls.append(1))
    return calls


@contextmanager
def group_of_two(rank: int, port: int) -> Iterator[None]:
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", rank=rank, world_size=2, timeout=timedelta(seconds=300))
    yield
    # Models first: a DDP that outlives its group takes it down holding the GIL, for which gloo's thread may wait.
    gc.collect()
    distributed.barrier()
    distributed.destroy_process_group()


def work(rank: int, port: int, folder: str) -> None:
    """One rank: every estimator on every case, its results and counts of forwards, and a broken model, into a file."""
    with group_of_two(rank, port):
        found: dict[str, object] = {kind: measured(rank, kind) for kind in ("ddp", "fsdp")}
        torch.save(found | {"guard": guarded(rank)}, f"{folder}/{rank}.pt")


@pytest.fixture(scope="module")
def ranks(tmp_path_factory) -> list[dict]:
    """What each of two processes found."""
    folder = tmp_path_factory.mktemp("ranks")
    with held_port() as port:
        processes.spawn(work, (port, str(folder)), nprocs=2)
    return [torch.load(folder / f"{rank}.pt") for rank in (0, 1)]


def measured(rank: int, kind: str) -> dict[tuple[str, str, str], tuple[Tensor, int]]:
    plain = tiny_model("llama")
    made = estimators(plain)
    if kind == "ddp":
        model: nn.Module = DistributedDataParallel(plain)
    else:
        mesh = init_device_mesh("cpu", (2,))
        for layer in plain.model.layers:
            fully_shard(layer, mesh=mesh)
        model = fully_shard(plain, mesh=mesh)
    models = {"whole": model}
    if kind == "fsdp":
        models = {"layers": model, "root": fully_shard(tiny_model("llama"), mesh=mesh)}
    results = {}
    for sharding, each in models.items():
        calls = counted(each)
        for name, estimator in made.items():
            if name == "calibrated" and kind == "fsdp":
                continue  # its adapter reads the sizes of unsharded layers
            for case in LENGTHS:
                calls.clear()
                found = estimator(each, rollout(case, rank))
                results[sharding, name, case] = (found, len(calls))
    return results


@pytest.mark.parametrize("kind", ["ddp", "fsdp"])
def test_two_ranks_agree_with_one_and_run_equally_often(kind, ranks):
    ranks = [each[kind] for each in ranks]
    model = tiny_model("llama")
    alone = estimators(model)
    assert ranks[0].keys() == ranks[1].keys()
    assert {sharding for sharding, _, _ in ranks[0]} == ({"layers", "root"} if kind == "fsdp" else {"whole"})
    for sharding, name, case in ranks[0]:
        for rank in (0, 1):
            expected = alone[name](model, rollout(case, rank))
            atol = rounding(model, alone[name].probe(model, rollout(case, rank)))
            torch.testing.assert_close(ranks[rank][sharding, name, case][0], expected, atol=atol, rtol=0)
        counts = [ranks[rank][sharding, name, case][1] for rank in (0, 1)]
        assert counts[0] == counts[1] > 0, f"{kind}, {sharding}, {name}, {case}: forwards by rank {counts}"


def guarded(rank: int) -> str:
    class Broken(nn.Module):
        """A model that ignores positions on the second rank."""

        def __init__(self, inner: nn.Module) -> None:
            super().__init__()
            self.inner, self.config = inner, inner.config
            self.set_attn_implementation = inner.set_attn_implementation
            self.device, self._can_set_attn_implementation = inner.device, inner._can_set_attn_implementation

        def forward(self, **inputs):
            if rank == 1 and inputs["position_ids" if "position_ids" in inputs else "input_ids"].shape[1] > 1:
                inputs.pop("position_ids", None)
            return self.inner(**inputs)

    model = DistributedDataParallel(Broken(tiny_model("llama")))
    try:
        EarlyExitEntropy(POSTFIX)(model, rollout("ragged", rank))
    except UnsupportedModelError:
        return "refused"
    return "passed"


def test_what_the_guard_finds_on_one_rank_stops_all(ranks):
    assert [each["guard"] for each in ranks] == ["refused", "refused"]
