"""Engines on two processes of DeepSpeed: their precision, the state of their optimizer, the weights they hand over."""

import os
import re

import pytest
import torch
from two_processes import on_two
from updates import embedded_model

from iapo.embedded import model_path
from iapo.optimizers import DeepSpeedOptimizer
from iapo.policy.lora import LoRA
from iapo.policy.weights import checkpoint_weights
from iapo.policy.whole_weights import whole_weights
from iapo.testing import optimizer_checks
from iapo.training.distributed import zero_state as state_module
from iapo.training.distributed.processes import Processes
from iapo.training.distributed.zero import Zero
from iapo.training.distributed.zero_state import load_zero_state, zero_state

WHOLE = {"stage3_param_persistence_threshold": 0}  # without it, small weights stay whole
TEXT = torch.arange(5, 15)[None]


def layers() -> torch.nn.Module:
    torch.manual_seed(0)
    return torch.nn.Sequential(*(torch.nn.Linear(4, 4) for _ in range(3)), torch.nn.Linear(4, 1))


def stepped(model, zero: Zero, steps: int = 1, batch=None):
    """An engine of a model, its optimizer, and both after some steps."""
    adam = torch.optim.Adam([each for each in model.parameters() if each.requires_grad], lr=0.01)
    engine = zero.engine(model, adam, max_grad_norm=1.0)
    optimizer = DeepSpeedOptimizer(engine, adam)
    for _ in range(steps):
        found = engine(torch.ones(2, 4)) if batch is None else engine(input_ids=batch).logits
        assert optimizer(found.square().mean(), boundary=True).stepped
    return engine, adam


def precision() -> dict:
    """The dtypes of a module and of its engine, where DeepSpeed's question for autocast is answered as on CUDA."""
    model = layers()
    engine = Zero(2).engine(model, torch.optim.SGD(model.parameters(), lr=0.1))
    real, batch = torch.is_autocast_enabled, torch.ones(2, 4)
    torch.is_autocast_enabled = lambda *device: real(*(device or ("cpu",)))
    try:
        with torch.autocast("cpu", torch.bfloat16):
            inside = engine(batch), model(batch)
    finally:
        torch.is_autocast_enabled = real
    outside = engine(batch), model(batch)
    return {
        "inside": [each.dtype for each in inside],
        "outside": [each.dtype for each in outside],
        "equal": torch.equal(*inside) and torch.equal(*outside),
    }


def states(processes: Processes) -> dict:
    """Of each stage the parts of both processes and the state that was saved; and why others cannot load it."""
    state_module.PIECE = 7
    found = {}
    for stage, options in ((2, {}), (3, WHOLE | {"sub_group_size": 20})):
        engine, adam = stepped(layers(), Zero(stage, options))
        own = [dict(adam.state[part]) for part in state_module._parts(engine)]
        found[stage] = {"own": processes.gather(own), "saved": zero_state(engine, adam, processes)}
    for stage, options in (
        (2, {}),
        (2, {"round_robin_gradients": True}),
        (3, WHOLE | {"sub_group_size": 30}),
        (3, WHOLE),
    ):
        engine, adam = stepped(layers(), Zero(stage, options), 0)
        name = str(Zero(stage, options))
        try:
            load_zero_state(engine, adam, processes.gather(found[stage]["saved"])[0], processes)
        except ValueError as error:
            found[name] = str(error)
        else:
            found[name] = [dict(adam.state[part]) for part in state_module._parts(engine)]
    return found


def handed_over(stage: int, rank: int) -> dict:
    """The weights of an engine as vLLM would get them, and those of a whole model that has its numbers."""
    torch.manual_seed(5)
    model, other = embedded_model(), embedded_model()
    if rank:
        model, other = (LoRA(r=rank).attach(each, str(model_path())) for each in (model, other))
    engine, _ = stepped(model, Zero(stage, WHOLE if stage == 3 else {}), 1, TEXT)
    with whole_weights(engine):
        other.load_state_dict({name: value.clone() for name, value in model.state_dict().items()})
        found = {name: value.clone() for name, value in checkpoint_weights(engine).items()}
    return {"found": found, "wanted": checkpoint_weights(other)}


def contract(stage: int) -> list[str]:
    """The checks of an optimizer that hold; not the one of resuming, whose state `states` saves."""

    def engine(model):
        adam = torch.optim.Adam([each for each in model.parameters() if each.requires_grad], lr=0.01)
        return DeepSpeedOptimizer(Zero(stage).engine(model, adam, max_grad_norm=1.0), adam)

    checks = [check for check in optimizer_checks(examples=2) if check.name != "resumed"]
    for check in checks:
        check(engine)
    return [check.name for check in checks]


def everything(processes: Processes, folder: str) -> None:
    os.environ["LOCAL_RANK"] = str(processes.index)
    found = {"precision": precision(), "states": states(processes)}
    found["contract"] = {stage: contract(stage) for stage in (1, 2)}
    found |= {(stage, rank): handed_over(stage, rank) for stage in (2, 3) for rank in (0, 2)}
    torch.save(found, f"{folder}/{processes.index}.pt")


@pytest.fixture(scope="module")
def on_processes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("engines")
    on_two(everything, str(folder))
    return [torch.load(folder / f"{index}.pt") for index in (0, 1)]


def test_an_engine_computes_in_the_precision_of_whoever_calls_it(on_processes):
    for found in on_processes:
        assert found["precision"]["inside"] == [torch.bfloat16] * 2
        assert found["precision"]["outside"] == [torch.float32] * 2
        assert found["precision"]["equal"]


def test_it_has_the_contract_of_an_optimizer(on_processes):
    for found in on_processes:
        assert found["contract"][1] == found["contract"][2] != []


@pytest.mark.parametrize("stage", [2, 3])
def test_the_first_process_saves_the_parts_of_all_and_no_other_has_them(on_processes, stage):
    first, second = (found["states"][stage] for found in on_processes)
    assert second["saved"]["parts"] == []
    same(first["saved"]["parts"][0], first["own"][0])
    same(first["saved"]["parts"][1], first["own"][1])


def test_parts_are_loaded_where_they_were_and_nowhere_else(on_processes):
    for index, found in enumerate(on_processes):
        told = found["states"]
        same(told["ZeRO-2"], told[2]["own"][index])
        why = rf"^resume: DeepSpeed divides .* than when it was saved: on process {index} "
        assert_matches(told["ZeRO-2, round_robin_gradients True"], why + r"part 0 had .* where it has .* now; set ")
        whole = "stage3_param_persistence_threshold 0"
        assert_matches(told[f"ZeRO-3, {whole}, sub_group_size 30"], why + r"part 0 had .* where it has .* now; set ")
        assert_matches(told[f"ZeRO-3, {whole}"], why + "there were 2 parts, and are 1 now; set ")


@pytest.mark.parametrize("rank", [0, 2])
@pytest.mark.parametrize("stage", [2, 3])
def test_an_engine_of_completions_gets_the_weights_of_a_whole_model(on_processes, stage, rank):
    base = checkpoint_weights(embedded_model())
    for found in on_processes:
        weights, wanted = found[stage, rank]["found"], found[stage, rank]["wanted"]
        assert weights.keys() == wanted.keys() == base.keys()
        assert all(torch.equal(weights[name], wanted[name]) for name in wanted)
        assert not all(torch.equal(weights[name], base[name]) for name in base), "a step was taken"


def same(one: list[dict], other: list[dict]) -> None:
    """Two states are equal, bitwise."""
    assert [each.keys() for each in one] == [each.keys() for each in other]
    for mine, theirs in zip(one, other, strict=True):
        assert all(torch.equal(mine[name], theirs[name]) for name in mine)


def assert_matches(text: str, pattern: str) -> None:
    assert re.match(pattern, text), text
