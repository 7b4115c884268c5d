"""`iapo eval`: several models on the same problems, as a table and as JSON."""

import dataclasses
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from jsonargparse.typing import NonNegativeInt, PositiveInt
from torch import nn

from iapo.evaluation import EvaluationResult, ForcedAnswers, evaluate, markdown_table
from iapo.interfaces import Reward, Sampler
from iapo.policy.limits import limits_of
from iapo.rewards import check_columns, check_references
from iapo.rollout import TransformersSampler
from iapo.tasks import Task
from iapo.tasks.splitting import split_indices
from iapo.training.fitting import Room, reserved_by
from iapo.training.session import longest
from iapo.training.settings import PolicySource, ProblemSource, check_ranges


@dataclass(frozen=True)
class EvaluationSettings:
    """An evaluation: of which models, on how many problems.

    Args:
        models: directories, checkpoints, hub ids, GGUF files.
        seed: of the problems and of the sampling.
        problems: how many problems, those held out by the same number in training.
        samples: completions of each problem.
        ks: of Pass@k, Length@k and Ratio@k, none above the samples.
        budgets: reasoning tokens at which the samples are cut and their answers asked for; auto takes them from the
            lengths of the first model's samples, an empty list does not measure it.
        budget_samples: so many samples of each problem are cut, at most.
        answer_tokens: of an answer that is asked for, at most.
        postfix: closes the reasoning, opens the answer; default is the task's.
        closing: text that ends the answer; default is the task's.
        output: a .json file for all numbers; a table goes to standard output.

    Raises:
        ValueError: a number out of range, a k above ``samples`` or below 1, or a negative budget.
    """

    models: list[str] = field(default_factory=lambda: ["embedded"])
    seed: int = 0
    problems: PositiveInt = 256
    samples: PositiveInt = 32
    ks: list[int] = field(default_factory=lambda: [1, 2, 4, 8, 16, 32])
    budgets: Literal["auto"] | list[NonNegativeInt] = "auto"
    budget_samples: PositiveInt = 8
    answer_tokens: PositiveInt = 32
    postfix: str | None = None
    closing: str | None = None
    output: str | None = None

    def __post_init__(self) -> None:
        check_ranges(self)
        wrong = [k for k in self.ks if not 1 <= k <= self.samples]
        if wrong:
            raise ValueError(f"ks: got {wrong}, want 1 to the number of samples, {self.samples}")

    def forced(self, task: Task) -> ForcedAnswers | None:
        """How answers are asked for at budgets, in the task's style unless other texts are given; ``None``: not at all.

        Raises:
            ValueError: budgets, but no text that asks for an answer, or a negative budget.
        """
        if not self.budgets:
            return None
        style = task.answer_style.replaced(self.postfix, self.closing)
        budgets = None if self.budgets == "auto" else tuple(self.budgets)
        return ForcedAnswers(style.postfix, style.closing, budgets, self.answer_tokens, self.budget_samples)


def evaluate_models(
    policy: PolicySource,
    problems: ProblemSource,
    settings: EvaluationSettings,
    sampler: Callable[[nn.Module, Any], Sampler],
    rewards: Mapping[str, Reward],
) -> str:
    """Evaluate each model with the same problems, seed and budgets.

    Args:
        policy: device and precision; its model is replaced by each of the models.
        problems: where the problems come from.
        settings: models, numbers and output.
        sampler: makes the sampler from a model and its tokenizer.
        rewards: reward functions by name; the first one says which completions are right.

    Returns:
        The table, Markdown. If ``output`` is a path, all numbers are written there as JSON.

    Raises:
        ValueError: a missing column, fewer problems than wanted, or budgets of a task that has no text to ask for
            answers with, before any model loads; prompts that do not fit a model, before anything is sampled.
    """
    forced = settings.forced(problems.resolve())
    rows = problems.load(settings.seed)
    check_columns(rewards, rows[0])
    check_references(rewards, rows)
    _, held = split_indices(rows, settings.problems)
    held_out = [rows[index] for index in held]
    device, autocast = policy.torch_device(), policy.autocast()
    results: dict[str, EvaluationResult] = {}
    for source in settings.models:
        model, tokenizer = dataclasses.replace(policy, model=source).load()
        sample = sampler(model, tokenizer)
        reserved = reserved_by(getattr(sample, "max_new_tokens", 0), tokenizer, forced)
        room = Room(tokenizer, limits_of(model), reserved, problems.long_prompts)
        rendered = problems.render(held_out, tokenizer, held)
        rendered = [rendered[place] for place in room.fitting(rendered, held)]
        torch.manual_seed(settings.seed)
        with torch.autocast(device.type, autocast, enabled=autocast is not None):
            results[source] = evaluate(
                rendered,
                tokenizer=tokenizer,
                sampler=sample,
                greedy=TransformersSampler(model, tokenizer, longest(sample), temperature=0.0),
                rewards=rewards,
                samples=settings.samples,
                forced=forced,
            )
        if forced is not None and (curve := results[source].at_budget) is not None:
            forced = dataclasses.replace(forced, budgets=curve.budgets)
    if settings.output is not None:
        numbers = {
            source: {name: asdict(measure) for name, measure in result.measures(settings.ks).items()}
            for source, result in results.items()
        }
        names = ("problems", "samples", "seed")
        used = {"data": str(problems.resolve())} | {name: getattr(settings, name) for name in names}
        if forced is not None:
            used["budgets"] = list(forced.budgets or ())
        Path(settings.output).write_text(json.dumps({"settings": used, "results": numbers}, indent=2) + "\n")
    return markdown_table(results, settings.ks)
