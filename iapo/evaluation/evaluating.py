"""From a policy to the result of its evaluation."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from iapo.evaluation.result import EvaluationResult
from iapo.interfaces import Reward, Sampler
from iapo.rewards.rollouts import score_rollout
from iapo.rollout.text import decode_completions

Rows = Sequence[Mapping[str, Any]]


def evaluate(
    rows: Rows,
    *,
    tokenizer: Any,
    sampler: Sampler,
    greedy: Sampler,
    rewards: Mapping[str, Reward],
    samples: int,
    correct_above: float = 0.5,
    batch: int | None = None,
    keep_texts: bool = False,
) -> EvaluationResult:
    """Sample completions of every problem and score them.

    Args:
        rows: the problems; ``prompt`` is sampled from, all columns go to the rewards.
        tokenizer: decodes completions for the rewards.
        sampler: samples ``samples`` completions per problem.
        greedy: gives the likeliest completion.
        rewards: the first says whether a completion is right; others, for form or length, do not.
        samples: completions per problem.
        correct_above: a completion is right if its first reward is above this.
        batch: the largest number of completions in one call of a sampler; all completions of a problem are sampled in
            one call, however many they are. ``None``: those of all problems. It changes which random numbers a
            completion gets.
        keep_texts: whether the result has the texts of the samples.

    Raises:
        ValueError: no rows, or as `iapo.rewards.score_rollout`.
    """
    if not rows:
        raise ValueError("rows: got none, want at least one problem")
    scoring = _Scoring(tokenizer, rewards, correct_above)
    sampled = _in_parts(scoring, rows, sampler, samples, batch, keep_texts)
    best = _in_parts(scoring, rows, greedy, 1, batch, keep_texts=False)
    texts = tuple(sampled.texts) if keep_texts else None
    return EvaluationResult(sampled.correct, sampled.lengths, best.correct[:, 0], best.lengths[:, 0], texts)


@dataclass(frozen=True)
class _Scoring:
    """What says whether completions are right."""

    tokenizer: Any
    rewards: Mapping[str, Reward]
    correct_above: float


@dataclass(frozen=True, eq=False)
class _Samples:
    """Scored completions, those of a problem in one row."""

    correct: Tensor
    lengths: Tensor
    texts: list[tuple[str, ...]]


def _in_parts(
    scoring: _Scoring, rows: Rows, sampler: Sampler, count: int, batch: int | None, keep_texts: bool
) -> _Samples:
    """``count`` completions of every problem, at most ``batch`` completions in one call of the sampler."""
    size = len(rows) if batch is None else max(1, batch // count)
    starts = range(0, len(rows), size)
    parts = [_sample(scoring, rows[start : start + size], sampler, count, keep_texts) for start in starts]
    return _Samples(
        correct=torch.cat([part.correct for part in parts]),
        lengths=torch.cat([part.lengths for part in parts]),
        texts=[texts for part in parts for texts in part.texts],
    )


def _sample(scoring: _Scoring, rows: Rows, sampler: Sampler, count: int, keep_texts: bool) -> _Samples:
    """Completions of some problems in the problems' order, whatever the order in which the sampler returns them."""
    rollout = sampler([row["prompt"] for row in rows], count)
    order = rollout.group_ids.argsort(stable=True).cpu()
    answered = [rows[group] for group in rollout.group_ids.tolist()]
    scores = score_rollout(rollout, answered, scoring.tokenizer, scoring.rewards)
    correct = scores.correct(scoring.correct_above)[order].view(len(rows), count)
    lengths = rollout.completion_lengths.cpu()[order].view(len(rows), count)
    if not keep_texts:
        return _Samples(correct, lengths, [])
    texts = decode_completions(scoring.tokenizer, rollout, eos_ids=())
    ordered = [texts[index] for index in order.tolist()]
    return _Samples(correct, lengths, [tuple(ordered[i : i + count]) for i in range(0, len(ordered), count)])
