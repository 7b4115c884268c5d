"""Updates of the embedded model on one process or several, on completions that are given."""

from dataclasses import dataclass, field

import torch
from torch.distributed.tensor import DTensor
from updates import POSTFIX, TOKENIZER, components_of, embedded_model

from iapo.advantages import GroupRelative, InformationAware
from iapo.advantages.controls import PermutedInformation
from iapo.embedded import generate_problems, rows
from iapo.estimators import AnswerLikelihood, EarlyExitEntropy, NoInformation
from iapo.losses import ClippedPolicyLoss
from iapo.optimizers import ClippedOptimizer, DeepSpeedOptimizer
from iapo.policy.whole_weights import whole_weights
from iapo.rollout import CompactingSampler, ScriptedSampler
from iapo.training.components import UpdateSettings
from iapo.training.diagnosis import Diagnosis, diagnosed_update
from iapo.training.distributed.parallel import Sharding, wrap
from iapo.training.distributed.processes import Processes
from iapo.training.distributed.zero import Zero
from iapo.training.resample import Resampling
from iapo.types import AdvantageOutput

PROBLEMS = rows(generate_problems(9, seed=5))
GROUP = 4


class OnlyTheFirst(GroupRelative):
    """An advantage for one completion, so that only one process has something to learn from."""

    def assign(self, inputs):
        mask = inputs.completion_mask
        return AdvantageOutput(mask * (torch.arange(len(mask)) == 0)[:, None].to(inputs.rewards), mask, {})


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
    "one completion to learn from": Case(3, 2, parts={"assigner": OnlyTheFirst(), "estimator": NoInformation()}),
    "one to learn from and one not": Case(
        1, 2, settings={"group_size": 2}, parts={"assigner": OnlyTheFirst(), "estimator": NoInformation()}
    ),
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
    with whole_weights(model):
        return torch.cat([part.detach().flatten() for part in parts])


def scripted_completions() -> dict[str, list[list[int]]]:
    """Completions of each of the problems, by prompt."""
    torch.manual_seed(1)
    rollout = CompactingSampler(embedded_model(), TOKENIZER, 80)([row["prompt"] for row in PROBLEMS], GROUP)
    texts = [ids[mask].tolist() for ids, mask in zip(rollout.completion_ids, rollout.completion_mask, strict=True)]
    return {row["prompt"]: texts[i * GROUP : (i + 1) * GROUP] for i, row in enumerate(PROBLEMS)}


def updated(case: Case, completions, processes: Processes, sharding: Sharding | Zero | None) -> dict:
    """Weights and metrics after the updates of a case."""
    model = embedded_model().to(torch.float64 if case.double else torch.float32)
    if isinstance(sharding, Zero):
        inner = torch.optim.SGD(model.parameters(), lr=0.5)
        model = sharding.engine(model, inner, max_grad_norm=1.0)
        optimizer = DeepSpeedOptimizer(model, inner)
    else:
        model = wrap(model, processes, sharding)
        optimizer = ClippedOptimizer(torch.optim.SGD(model.parameters(), lr=0.5))
    parts = {
        "sampler": ScriptedSampler(completions, TOKENIZER),
        "rewards": {"odd": Parity()},
        "estimator": AnswerLikelihood(POSTFIX),
        "optimizer": optimizer,
    }
    components = components_of(model, **parts | case.parts)
    settings = UpdateSettings(
        **{"group_size": GROUP, "micro_batch": case.micro_batch, "processes": processes} | case.settings
    )
    reference = None
    if components.loss.requires_reference:
        reference = embedded_model().to(next(model.parameters()).dtype)
        if isinstance(sharding, Zero):
            reference = sharding.engine(reference, None) if sharding.stage == 3 else reference
        elif sharding is not None:
            reference = wrap(reference, processes, sharding)
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
