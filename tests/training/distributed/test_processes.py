"""An update on two processes is that of one, by DDP and by FSDP2: weights, metrics, and what one of them raises."""

import math

import pytest
import torch
from torch import nn
from two_processes import on_two
from updates import POSTFIX, TOKENIZER, components_of, embedded_model
from updates_on_processes import CASES, GROUP, PROBLEMS, Parity, scripted_completions, updated, weights_of

from iapo.estimators import AnswerLikelihood
from iapo.estimators.packed import packing
from iapo.optimizers import ClippedOptimizer
from iapo.rollout import CompactingSampler, ScriptedSampler
from iapo.training.components import UpdateSettings
from iapo.training.distributed.divided import divided
from iapo.training.distributed.parallel import Sharding, wrap
from iapo.training.distributed.processes import SINGLE, Processes
from iapo.training.distributed.synchronised import synced
from iapo.training.loop import update
from iapo.training.signals import prefix_values_of


def apart(processes: Processes) -> dict:
    """What processes make alone: samples of one prompt, errors, a model that nobody wrapped, and rows of their own."""
    model = embedded_model()
    torch.manual_seed(3)
    sampler = divided(CompactingSampler(model, TOKENIZER, 40), model, processes)
    rollout = sampler([PROBLEMS[0]["prompt"]] * 2, GROUP)
    errors = []
    for work in (lambda: None if processes.first else 1 / 0, lambda: 1 / 0 if processes.first else None):
        try:
            with processes.together():
                work()
        except Exception as error:
            errors.append(f"{type(error).__name__}: {error}")
    settings = UpdateSettings(group_size=GROUP, micro_batch=4, processes=processes)
    own = PROBLEMS[processes.index : processes.index + 2]
    for rows in (PROBLEMS[:2], own, PROBLEMS[: processes.index + 1]):
        try:
            update(rows, model, TOKENIZER, components_of(model, rewards={"odd": Parity()}), settings)
        except ValueError as error:
            errors.append(str(error))
    return {"rollout": rollout.completion_ids, "errors": errors, "random": torch.rand(2)}


def not_finite_on_one(processes: Processes) -> dict:
    """Weights and statistics after two steps of two losses, of which the second process has one that is NaN."""
    torch.manual_seed(0)
    model = wrap(nn.Linear(3, 1, bias=False), processes)
    before = model.module.weight.detach().clone()
    optimizer = ClippedOptimizer(torch.optim.AdamW(model.parameters(), lr=0.1))
    stats = []
    for bad in (0, 1):
        for place in (0, 1):
            scale = math.nan if place == bad and not processes.first else 1.0
            with synced(model, last=place == 1, learns=True):
                stats.append(optimizer(model(torch.ones(1, 3)).sum() * scale, boundary=place == 1))
    stepped = [each.stepped for each in stats if each is not None]
    return {"stepped": stepped, "same": torch.equal(model.module.weight, before)}


def short_of_memory(processes: Processes, completions) -> dict:
    """What an estimator finds where memory on the second process is enough for two prefixes at a time."""
    rollout = ScriptedSampler(completions, TOKENIZER)([row["prompt"] for row in PROBLEMS[:3]], GROUP)
    everything = torch.ones(len(rollout), dtype=torch.bool)
    model, real, refused = wrap(embedded_model().eval(), processes), packing.run_in_chunks, []

    def estimated():
        return prefix_values_of(model, rollout, AnswerLikelihood(POSTFIX, chunk=8), everything, 4, processes)

    def short(model, run, chunk):
        def within(size):
            if size > 2 and not processes.first:
                refused.append(size)
                raise torch.OutOfMemoryError("too much")
            return run(size)

        return real(model, within, chunk)

    enough, packing.run_in_chunks = estimated(), short
    try:
        return {"enough": enough, "short": estimated(), "refused": refused}
    finally:
        packing.run_in_chunks = real


def all_cases(processes: Processes, completions, folder: str) -> None:
    found = {}
    for kind, sharding in (("ddp", None), ("fsdp2", Sharding())):
        for name, case in CASES.items():
            found[kind, name] = updated(case, completions, processes, sharding)
    found |= {"apart": apart(processes), "not finite": not_finite_on_one(processes)}
    found["memory"] = short_of_memory(processes, completions)
    torch.save(found, f"{folder}/{processes.index}.pt")


@pytest.fixture(scope="module")
def completions():
    return scripted_completions()


@pytest.fixture(scope="module")
def on_processes(completions, tmp_path_factory):
    folder = tmp_path_factory.mktemp("processes")
    on_two(all_cases, completions, str(folder))
    return [torch.load(folder / f"{index}.pt") for index in (0, 1)]


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("kind", ["ddp", "fsdp2"])
def test_two_processes_make_the_update_of_one(on_processes, completions, name, kind):
    first, second = (found[kind, name] for found in on_processes)
    assert torch.equal(first["weights"], second["weights"])
    assert first["metrics"] == second["metrics"]
    if name == "random tokens":  # one process, which draws its completions from the same stream, draws others
        torch.testing.assert_close(first["weights"], on_processes[0]["ddp", name]["weights"], atol=1e-12, rtol=0)
        return
    alone = updated(CASES[name], completions, SINGLE, None)
    exact = CASES[name].double
    torch.testing.assert_close(first["weights"], alone["weights"], atol=1e-12 if exact else 1e-6, rtol=0)
    assert not torch.equal(alone["weights"], weights_of(embedded_model()).to(alone["weights"].dtype))
    assert ("iapo/diagnostics/length_gradient/outcome" in alone["metrics"]) == CASES[name].diagnose
    assert first["metrics"] == pytest.approx(alone["metrics"], abs=2e-5, rel=1e-4)


def test_processes_sample_completions_of_their_own_and_share_them(on_processes):
    first, second = (found["apart"]["rollout"] for found in on_processes)
    assert torch.equal(first, second)
    assert not torch.equal(first[:GROUP], first[GROUP:]), "one prompt, sampled once by each"
    assert torch.equal(on_processes[0]["apart"]["random"], on_processes[1]["apart"]["random"])


def test_an_error_of_one_is_one_of_all(on_processes):
    first, second = (found["apart"]["errors"] for found in on_processes)
    zero = "ZeroDivisionError: division by zero"
    assert first[:2] == [f"OtherProcessError: process 1 of 2 failed: {zero}", zero]
    assert second[:2] == [zero, f"OtherProcessError: process 0 of 2 failed: {zero}"]
    assert first[2] == second[2]
    assert "got LlamaForCausalLM on 2 processes, want it wrapped" in first[2]


def test_rows_that_are_not_those_of_the_other_process_are_refused(on_processes):
    for found in on_processes:
        others, more = found["apart"]["errors"][3:]
        assert others == more
        assert "prompts: process 1 was given others than process 0" in more


def test_a_loss_of_one_that_is_not_finite_refuses_the_step_of_all(on_processes):
    """Whether or not it is the one whose backward the others wait for."""
    assert [found["not finite"] for found in on_processes] == [{"stepped": [False, False], "same": True}] * 2


def test_memory_that_runs_out_on_one_changes_nothing(on_processes):
    """That process goes on in smaller chunks, and the others do not wait for its forwards."""
    first, second = (found["memory"] for found in on_processes)
    assert not first["refused"]
    assert {4, 8} <= set(second["refused"])
    for found in (first, second):
        torch.testing.assert_close(found["short"], found["enough"], atol=1e-4, rtol=0)
    assert first["enough"].abs().max() > 0
