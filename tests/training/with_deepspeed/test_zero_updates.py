"""An update on two processes of DeepSpeed is that of one: weights, metrics, steps that are refused, and errors."""

import os

import pytest
import torch
from two_processes import on_two
from updates import POSTFIX, TOKENIZER, embedded_model
from updates_on_processes import CASES, GROUP, PROBLEMS, Case, scripted_completions, updated, weights_of

from iapo.estimators import OARGradient
from iapo.optimizers import DeepSpeedOptimizer
from iapo.rollout import CompactingSampler, TransformersSampler
from iapo.training.distributed.divided import divided
from iapo.training.distributed.processes import SINGLE, Processes
from iapo.training.distributed.zero import Zero

ZERO2, ZERO3 = Zero(2), Zero(3, {"stage3_param_persistence_threshold": 0})  # without it, small weights stay whole
KINDS = {"zero2": ZERO2, "zero3": ZERO3, "zero1": Zero(1)}
ALL_CASES = CASES | {"gradients of an estimator": Case(2, 4, parts={"estimator": OARGradient(POSTFIX)})}
FEW = ("even, accumulated", "one prompt, unequally many micro-batches")
PAIRS = [(kind, name) for kind in KINDS for name in (FEW if kind == "zero1" else ALL_CASES) if name != "random tokens"]


def refused(processes: Processes, zero: Zero) -> list[tuple]:
    """Steps of losses of which some are refused: whether it was taken, whether anything moved, why, and the rate."""
    model, unlucky = embedded_model(), processes.index == 1

    def times(scale):
        return lambda mean: scale * mean

    def sloped(mean):
        """A finite loss with a gradient that is NaN: of a root at 0."""
        return mean + (0 * mean).sqrt()

    zero_loss, one, huge, infinite, nan = map(times, (0.0, 1.0, 1e22, float("inf"), float("nan")))
    losses = (
        [zero_loss],
        [one],
        [zero_loss, zero_loss],
        [nan if unlucky else one, one],
        [one, one if unlucky else infinite],
        [sloped],
        [sloped if unlucky else one, one],
        [huge],
        [one],
    )
    adam = torch.optim.AdamW(model.parameters(), lr=0.1)
    engine = zero.engine(model, adam, max_grad_norm=1.0)
    schedule = torch.optim.lr_scheduler.LambdaLR(adam, lambda step: 1 / (1 + step))
    optimizer = DeepSpeedOptimizer(engine, adam, schedule)
    told = []
    for parts in losses:
        before = [weights_of(engine), *(value.clone() for of in adam.state.values() for value in of.values())]
        for index, part in enumerate(parts):
            logits = engine(input_ids=torch.arange(5, 15)[None]).logits
            stats = optimizer(part(logits.square().mean()), boundary=index == len(parts) - 1)
        after = [weights_of(engine), *(value for of in adam.state.values() for value in of.values())]
        moved = len(before) != len(after) or not all(map(torch.equal, before, after))
        told.append((stats.stepped, moved, stats.reason, stats.learning_rate))
    return told


def sampled(processes: Processes, zero: Zero) -> dict:
    """Completions of one prompt, sampled on each process by each sampler, and an error of one."""

    def unlucky(prompts, group_size):
        if processes.first:
            return CompactingSampler(engine, TOKENIZER, 2)(prompts, group_size)
        raise OSError("no memory")

    model = embedded_model()
    engine = zero.engine(model, torch.optim.SGD(model.parameters(), lr=0.1))
    prompts = [PROBLEMS[0]["prompt"]] * 2
    torch.manual_seed(3)
    found = {
        each.__name__: divided(each(engine, TOKENIZER, 20), engine, processes)(prompts, GROUP).completion_ids
        for each in (CompactingSampler, TransformersSampler)
    }
    found["one prompt"] = divided(CompactingSampler(engine, TOKENIZER, 20), engine, processes)(
        prompts[:1], 2
    ).completion_ids
    try:
        divided(unlucky, engine, processes).sample(prompts, GROUP)
    except Exception as error:
        found["error"] = f"{type(error).__name__}: {error}"
    return found


def all_cases(processes: Processes, completions, folder: str) -> None:
    os.environ["LOCAL_RANK"] = str(processes.index)
    found = {(kind, name): updated(ALL_CASES[name], completions, processes, KINDS[kind]) for kind, name in PAIRS}
    found["zero1", "refused"] = refused(processes, KINDS["zero1"])
    for kind in ("zero2", "zero3"):
        found[kind, "refused"], found[kind, "sampled"] = (
            refused(processes, KINDS[kind]),
            sampled(processes, KINDS[kind]),
        )
    torch.save(found, f"{folder}/{processes.index}.pt")


@pytest.fixture(scope="module")
def completions():
    return scripted_completions()


@pytest.fixture(scope="module")
def alone(completions):
    made = {}

    def of(name):
        made[name] = made.get(name) or updated(ALL_CASES[name], completions, SINGLE, None)
        return made[name]

    return of


@pytest.fixture(scope="module")
def on_processes(completions, tmp_path_factory):
    folder = tmp_path_factory.mktemp("processes")
    on_two(all_cases, completions, str(folder))
    return [torch.load(folder / f"{index}.pt") for index in (0, 1)]


@pytest.mark.parametrize(("kind", "name"), PAIRS)
def test_two_processes_make_the_update_of_one(on_processes, alone, kind, name):
    first, second = (found[kind, name] for found in on_processes)
    assert torch.equal(first["weights"], second["weights"])
    assert first["metrics"] == second["metrics"]
    # DeepSpeed steps weights in fp32, whatever their dtype.
    torch.testing.assert_close(first["weights"], alone(name)["weights"], atol=1e-6, rtol=0)
    assert first["metrics"] == pytest.approx(alone(name)["metrics"], abs=2e-5, rel=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_a_refused_step_touches_nothing(on_processes, kind):
    zero, bad = "the gradient is zero: nothing to learn from", "1 of the step's losses are NaN or infinite"
    for found in on_processes:
        assert found[kind, "refused"] == [
            (False, False, zero, 0.1),
            (True, True, "", 0.1),
            (False, False, zero, 0.05),
            (False, False, bad, 0.05),
            (False, False, bad, 0.05),
            (False, False, "the gradient's norm is nan", 0.05),
            (False, False, "the gradient's norm is nan", 0.05),
            (False, False, "the gradient's norm is inf", 0.05),
            (True, True, "", 0.05),
        ]


@pytest.mark.parametrize("kind", ["zero2", "zero3"])
def test_processes_sample_with_whole_weights_and_an_error_of_one_is_one_of_all(on_processes, kind):
    first, second = (found[kind, "sampled"] for found in on_processes)
    for name in ("CompactingSampler", "TransformersSampler"):
        assert torch.equal(first[name], second[name])
        assert not torch.equal(first[name][:GROUP], first[name][GROUP:]), "one prompt, sampled once by each"
    assert first["one prompt"].shape[0] == 2, "which the second process has sampled, the first had none"
    assert torch.equal(first["one prompt"], second["one prompt"])
    assert torch.equal(first["CompactingSampler"], on_processes[0]["zero2", "sampled"]["CompactingSampler"])
    assert first["error"] == "OtherProcessError: process 1 of 2 failed: OSError: no memory"
    assert second["error"] == "OSError: no memory"


def test_optimizers_that_look_at_whole_weights_are_refused():
    model = torch.nn.Linear(3, 2)
    with pytest.raises(ValueError, match="optimizer: got Adafactor, want one of Adadelta, Adam"):
        Zero(2).engine(model, torch.optim.Adafactor(model.parameters()))
