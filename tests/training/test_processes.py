"""An update on two processes is that of one, by DDP and by FSDP2: weights, metrics, and what one of them raises."""

from dataclasses import dataclass, field

import pytest
import torch
from torch.distributed.tensor import DTensor
from two_processes import on_two
from updates import POSTFIX, TOKENIZER, components_of, embedded_model

from iapo.advantages import InformationAware
from iapo.advantages.controls import PermutedInformation
from iapo.embedded import generate_problems, rows
from iapo.estimators import AnswerLikelihood, EarlyExitEntropy
from iapo.losses import ClippedPolicyLoss
from iapo.optimizers import ClippedOptimizer
from iapo.rollout import CompactingSampler, ScriptedSampler
from iapo.training.components import UpdateSettings
from iapo.training.diagnosis import Diagnosis, diagnosed_update
from iapo.training.divided import divided
from iapo.training.loop import update
from iapo.training.parallel import Sharding, wrap
from iapo.training.processes import SINGLE, Processes
from iapo.training.resample import Resampling

PROBLEMS = rows(generate_problems(9, seed=5))
GROUP = 4


@dataclass(frozen=True)
class Case:
    """An update: of how many prompts, with which parts, and how it is called."""

    prompts: int
    micro_batch: int
    start: int = 0
    updates: int = 1
    rounds: int = 0
    diagnose: bool = False
    double: bool = True
    settings: dict = field(default_factory=dict)
    parts: dict = field(default_factory=dict)


CASES = {
    "even, accumulated": Case(4, 3, settings={"gradient_checkpointing": True}),
    "fp32": Case(4, 3, double=False),
    "uneven": Case(3, 2, parts={"loss": ClippedPolicyLoss(aggregation="sequence")}),
    "one prompt, unequally many micro-batches": Case(1, 1, start=1),
    "random tokens": Case(2, 8, parts={"assigner": PermutedInformation(InformationAware())}),
    "epochs and a reference": Case(2, 3, settings={"epochs": 2}, parts={"loss": ClippedPolicyLoss(kl_coef=0.1)}),
    "resampled and diagnosed": Case(3, 4, rounds=2, diagnose=True),
    "another estimator, twice": Case(2, 4, updates=2, parts={"estimator": EarlyExitEntropy(POSTFIX)}),
}


class Parity:
    """Completions whose ids have an odd sum; one of the second problem is unknown, and none of the third is right."""

    def __call__(self, prompts, completions, completion_ids):
        scores: list[float | None] = [float(sum(ids) % 2) for ids in completion_ids]
        third = PROBLEMS[2]["prompt"]
        scores = [0.0 if prompt == third else score for prompt, score in zip(prompts, scores, strict=True)]
        seen = [index for index, prompt in enumerate(prompts) if prompt == PROBLEMS[1]["prompt"]]
        return [None if index in seen[:1] else score for index, score in enumerate(scores)]


def weights_of(model) -> torch.Tensor:
    parts = [p.full_tensor() if isinstance(p, DTensor) else p for p in model.parameters()]
    return torch.cat([part.detach().flatten() for part in parts])


def updated(case: Case, completions, processes: Processes, sharding: Sharding | None) -> dict:
    """Weights and metrics after the updates of a case."""
    model = embedded_model().to(torch.float64 if case.double else torch.float32)
    model = wrap(model, processes, sharding)
    parts = {
        "sampler": ScriptedSampler(completions, TOKENIZER),
        "rewards": {"odd": Parity()},
        "estimator": AnswerLikelihood(POSTFIX),
        "optimizer": ClippedOptimizer(torch.optim.SGD(model.parameters(), lr=0.5)),
    }
    components = components_of(model, **parts | case.parts)
    settings = UpdateSettings(
        **{"group_size": GROUP, "micro_batch": case.micro_batch, "processes": processes} | case.settings
    )
    reference = None
    if components.loss.requires_reference:
        reference = embedded_model().to(next(model.parameters()).dtype)
        reference = reference if sharding is None else wrap(reference, processes, sharding)
    torch.manual_seed(7)
    fresh = iter([PROBLEMS[6:], PROBLEMS[5:8]])
    for index in range(case.updates):
        metrics = diagnosed_update(
            PROBLEMS[case.start + index * case.prompts :][: case.prompts],
            model,
            TOKENIZER,
            components,
            settings,
            reference,
            Resampling(case.rounds, lambda: next(fresh)) if case.rounds else None,
            Diagnosis(model, TOKENIZER, components, settings) if case.diagnose else None,
        )
    assert not case.rounds or metrics["iapo/resample/groups"] > 0
    kept = {name: value for name, value in metrics.items() if "/time/" not in name}
    return {"weights": weights_of(model), "metrics": kept}


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
    torch.manual_seed(1)
    rollout = CompactingSampler(embedded_model(), TOKENIZER, 80)([row["prompt"] for row in PROBLEMS], GROUP)
    texts = [ids[mask].tolist() for ids, mask in zip(rollout.completion_ids, rollout.completion_mask, strict=True)]
    return {row["prompt"]: texts[i * GROUP : (i + 1) * GROUP] for i, row in enumerate(PROBLEMS)}


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
