"""An update on two processes is that of one, by DDP and by FSDP2: weights, metrics, and what one of them raises."""

import pytest
import torch
from two_processes import on_two
from updates import TOKENIZER, components_of, embedded_model
from updates_on_processes import CASES, GROUP, PROBLEMS, Parity, scripted_completions, updated, weights_of

from iapo.rollout import CompactingSampler
from iapo.training.components import UpdateSettings
from iapo.training.distributed.divided import divided
from iapo.training.distributed.parallel import Sharding
from iapo.training.distributed.processes import SINGLE, Processes
from iapo.training.loop import update


def apart(processes: Processes) -> dict:
    """What processes make alone: samples of one prompt, errors, and a model that nobody wrapped."""
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
    try:
        update(PROBLEMS[:2], model, TOKENIZER, components_of(model, rewards={"odd": Parity()}), settings)
    except ValueError as error:
        errors.append(str(error))
    return {"rollout": rollout.completion_ids, "errors": errors, "random": torch.rand(2)}


def all_cases(processes: Processes, completions, folder: str) -> None:
    found = {}
    for kind, sharding in (("ddp", None), ("fsdp2", Sharding())):
        for name, case in CASES.items():
            found[kind, name] = updated(case, completions, processes, sharding)
    torch.save(found | {"apart": apart(processes)}, f"{folder}/{processes.index}.pt")


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
