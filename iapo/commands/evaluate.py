"""`iapo eval`: several models on the same problems, as a table and as JSON."""

import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from iapo.evaluation import EvaluationResult, evaluate, markdown_table
from iapo.interfaces import Reward, Sampler
from iapo.rewards import check_columns
from iapo.rollout import TransformersSampler
from iapo.tasks import hold_out
from iapo.training.session import longest
from iapo.training.settings import PolicySource, ProblemSource


@dataclass(frozen=True)
class EvaluationSettings:
    """How ``iapo eval`` evaluates.

    Args:
        models: sources of models, as `PolicySource.model` takes them.
        seed: of the problems and of the sampling.
        problems: how many problems, those that training holds out.
        samples: completions of each problem.
        ks: of Pass@k, Length@k and Ratio@k.
        output: a JSON file for all numbers; ``None``: none is written.

    Raises:
        ValueError: a k above ``samples`` or below 1.
    """

    models: Sequence[str]
    seed: int
    problems: int
    samples: int
    ks: Sequence[int]
    output: str | None

    def __post_init__(self) -> None:
        wrong = [k for k in self.ks if not 1 <= k <= self.samples]
        if wrong:
            raise ValueError(f"ks: got {wrong}, want 1 to the number of samples, {self.samples}")


def evaluate_models(
    policy: PolicySource,
    problems: ProblemSource,
    settings: EvaluationSettings,
    sampler: Callable[[nn.Module, Any], Sampler],
    rewards: Mapping[str, Reward],
) -> str:
    """Evaluate each model with the same problems and seed.

    Args:
        policy: device and precision; its model is replaced by each of the models.
        problems: where the problems come from.
        settings: models, numbers and output.
        sampler: makes the sampler from a model and its tokenizer.
        rewards: reward functions by name; the first one says which completions are right.

    Returns:
        The table, Markdown. If ``output`` is a path, all numbers are written there as JSON.

    Raises:
        ValueError: a missing column, or fewer problems than wanted; before any model loads.
    """
    rows = problems.load(settings.seed)
    check_columns(rewards, rows[0])
    _, held_out = hold_out(rows, settings.problems)
    device, autocast = policy.torch_device(), policy.autocast()
    results: dict[str, EvaluationResult] = {}
    for source in settings.models:
        model, tokenizer = dataclasses.replace(policy, model=source).load()
        sample = sampler(model, tokenizer)
        torch.manual_seed(settings.seed)
        with torch.autocast(device.type, autocast, enabled=autocast is not None):
            results[source] = evaluate(
                problems.render(held_out, tokenizer),
                tokenizer=tokenizer,
                sampler=sample,
                greedy=TransformersSampler(model, tokenizer, longest(sample), temperature=0.0),
                rewards=rewards,
                samples=settings.samples,
            )
    if settings.output is not None:
        numbers = {
            source: {name: asdict(measure) for name, measure in result.measures(settings.ks).items()}
            for source, result in results.items()
        }
        names = ("problems", "samples", "seed")
        used = {"data": str(problems.resolve())} | {name: getattr(settings, name) for name in names}
        Path(settings.output).write_text(json.dumps({"settings": used, "results": numbers}, indent=2) + "\n")
    return markdown_table(results, settings.ks)
