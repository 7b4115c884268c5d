"""What signals cost: by a plain forward, and by the rest of an update."""

import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor
from use_cases import Case

from iapo import MIEstimator
from iapo.advantages import GroupRelative, InformationAware
from iapo.embedded import generate_problems, rows
from iapo.losses import ClippedPolicyLoss
from iapo.optimizers.clipped import ClippedOptimizer
from iapo.policy.loading import load_model
from iapo.rewards import MathAnswer
from iapo.rollout import CompactingSampler
from iapo.training import Components, UpdateSettings, update

Signal = Callable[[Case], Tensor]
"""A case to the scores of its spans."""


def seconds(case: Case, compared: dict[str, Signal], plain: Signal, repetitions: int) -> dict[str, float]:
    """Time of each signal by that of a plain forward before and behind it, over the same completions; the median."""

    def timed(signal: Signal) -> float:
        start = time.perf_counter()
        signal(case)
        return time.perf_counter() - start

    ratios: dict[str, list[float]] = {name: [] for name in compared}
    for _ in range(repetitions):
        for name, signal in compared.items():
            forwards = [timed(plain)]
            own = timed(signal)
            forwards.append(timed(plain))
            ratios[name].append(2 * own / sum(forwards))
            print(f"{name}: {ratios[name][-1]:.2f} of a forward", flush=True)
    return {name: statistics.median(each) for name, each in ratios.items()}


def share(estimator: MIEstimator, updates: int = 4, prompts: int = 32) -> str:
    """Seconds of the estimate by those of the rest of an update of the embedded model: median, lowest and highest."""
    model, tokenizer = load_model("embedded", "cpu")
    assigner = InformationAware(
        GroupRelative(), alpha=1.0, beta=0.0, credit="own", saturation=10.0, center="group", scale="none",
        applies_to="correct",
    )  # fmt: skip
    optimizer = ClippedOptimizer(torch.optim.AdamW(model.parameters(), lr=1e-6))
    sampler = CompactingSampler(model, tokenizer, max_new_tokens=128)
    components = Components(sampler, {"accuracy": MathAnswer()}, estimator, assigner, ClippedPolicyLoss(), optimizer)
    torch.manual_seed(0)
    data, shares = rows(generate_problems(prompts * updates, 0)), []
    for index in range(updates):
        start = time.perf_counter()
        problems = data[index * prompts : (index + 1) * prompts]
        own = update(problems, model, tokenizer, components, UpdateSettings(8, 64))["iapo/time/estimate"]
        shares.append(own / (time.perf_counter() - start - own))
    return f"{statistics.median(shares[1:]):.0%} ({min(shares[1:]):.0%} to {max(shares[1:]):.0%})"
