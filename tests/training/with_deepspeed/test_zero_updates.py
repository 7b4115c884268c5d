"""An update on two processes of DeepSpeed is that of one."""

import os

import pytest
import torch
from two_processes import on_two
from updates_on_processes import CASES, PROBLEMS, Parity, scripted_completions, updated, weights_of

from iapo.training.processes import SINGLE, Processes
from iapo.training.zero import Zero

KINDS = {"zero1": Zero(1), "zero2": Zero(2), "zero3": Zero(3, {"stage3_param_persistence_threshold": 0})}


def all_cases(processes: Processes, completions, folder: str) -> None:
    os.environ["LOCAL_RANK"] = str(processes.index)
    found = {}
    for kind, zero in KINDS.items():
        for name, case in CASES.items():
            import time
            t=time.time()
            try:
                found[kind, name] = updated(case, completions, processes, zero)
                if processes.first: print(kind, name, time.time()-t, flush=True)
            except Exception as e:
                import traceback; traceback.print_exc(); raise
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
@pytest.mark.parametrize("kind", KINDS)
def test_two_processes_make_the_update_of_one(on_processes, completions, name, kind):
    first, second = (found[kind, name] for found in on_processes)
    alone = updated(CASES[name], completions, SINGLE, None)
    print(kind, name, (first["weights"].double()-alone["weights"].double()).abs().max(), (first["weights"].double()-second["weights"]).abs().max())
    print({k: (v, alone["metrics"].get(k)) for k, v in first["metrics"].items() if v != pytest.approx(alone["metrics"].get(k), abs=2e-5, rel=1e-4)}, set(alone["metrics"])-set(first["metrics"]))
