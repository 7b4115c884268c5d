"""Some completions of an update with their rewards and advantages, to be read."""

from dataclasses import replace
from typing import Any

import torch

from iapo.evaluation import Sample, samples_of
from iapo.interfaces import Sampler
from iapo.rollout import eos_ids_of, style_of
from iapo.training.loop import TrainingBatch

SAMPLES = "samples.jsonl"
"""The file of a run folder with completions of its updates, a JSON object a line."""


def first_samples(batch: TrainingBatch, count: int, tokenizer: Any, sampler: Sampler) -> list[Sample]:
    """The first completions of an update: those of its first prompt, and so on.

    Args:
        batch: the completions that take part in the update, with their advantages.
        count: how many; fewer if there are not so many.
        tokenizer: decodes them.
        sampler: of the completions; knows how they end and answer.
    """
    rows = torch.arange(min(count, len(batch.rollout)), device=batch.rollout.completion_ids.device)
    part = batch.rollout.select(rows)
    scores = batch.scores.select(rows.tolist())
    found = samples_of(part, batch.rows, scores, tokenizer, eos_ids_of(sampler, tokenizer), style_of(sampler))
    advantages = batch.assigned.advantages[rows].float()
    return [
        replace(sample, advantage=_summary(advantages[index, batch.rollout.completion_mask[index]]))
        for index, sample in enumerate(found)
    ]


def _summary(values: torch.Tensor) -> dict[str, float] | None:
    if not len(values):
        return None
    return {"mean": float(values.mean()), "min": float(values.min()), "max": float(values.max())}
