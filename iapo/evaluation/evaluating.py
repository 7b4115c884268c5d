"""From a policy to the result of its evaluation."""

import dataclasses
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from iapo.evaluation.forced_answers import ForcedAnswers, accuracy_at_budgets
from iapo.evaluation.result import EvaluationResult
from iapo.evaluation.samples import Sample, samples_of
from iapo.evaluation.scoring import Rows, Scoring
from iapo.interfaces import Reward, Sampler
from iapo.ops.arguments import arguments_named
from iapo.rewards.columns import check_rows
from iapo.rewards.rollouts import score_rollout
from iapo.rewards.scores import Scores
from iapo.rollout import LanguageModelSampler
from iapo.rollout.ends import ended_if_known, eos_ids_of, style_of
from iapo.tokenization.decoding import decode_completions
from iapo.types import Rollout


@arguments_named
def evaluate(
    rows: Rows,
    *,
    tokenizer: Any,
    sampler: Sampler,
    greedy: Sampler,
    rewards: Mapping[str, Reward],
    samples: int,
    batch: int | None = None,
    keep_texts: bool = False,
    forced: ForcedAnswers | None = None,
    score: Callable[..., Scores] = score_rollout,
    see: Callable[[Sequence[Sample]], None] | None = None,
) -> EvaluationResult:
    """Sample completions of every problem and score them.

    Args:
        rows: the problems; ``prompt`` is sampled from, all columns go to the rewards.
        tokenizer: decodes completions for the rewards.
        sampler: samples ``samples`` completions per problem.
        greedy: gives the likeliest completion: one that samples at temperature 0.
        rewards: the first says whether a completion is right; others, for form or length, do not.
        samples: completions per problem.
        batch: the largest number of completions in one call of a sampler; all completions of a problem are sampled in
            one call, however many they are. ``None``: those of all problems. It changes which random numbers a
            completion gets.
        keep_texts: whether the result has the texts of the samples.
        forced: also cuts the samples' reasoning at budgets and asks for the answers there, as
            `iapo.evaluation.accuracy_at_budgets` describes; everything else comes out as it does without.
        score: calls the rewards, as `iapo.rewards.score_rollout` does, and knows from which score on a completion is
            right.
        see: is called behind each call of a sampler, with all completions until then.

    Raises:
        ValueError: no rows, a row without a prompt, a ``greedy`` that samples at a temperature, or as
            `iapo.rewards.score_rollout` and `iapo.evaluation.accuracy_at_budgets`.

    Warns:
        UserWarning: completions that the first reward could not score (``None``), which count as wrong.
    """
    check_rows(rows)
    if isinstance(greedy, LanguageModelSampler) and greedy.temperature > 0:
        raise ValueError(f"greedy: got a sampler at temperature {greedy.temperature}, want one at temperature 0")
    eos_ids, style = eos_ids_of(sampler, tokenizer), style_of(sampler)

    texts: list[Sample] = []
    judged: list[float | None] = []

    def read(rollout: Rollout, scores: Scores, greedy: bool) -> None:
        judged.extend(next(iter(scores.by_function.values())))
        texts.extend(samples_of(rollout, rows, scores, tokenizer, eos_ids, style, greedy))
        if see is not None:
            see(texts)

    scoring = Scoring(tokenizer, rewards, eos_ids, score)
    sampled = _in_parts(scoring, rows, sampler, samples, batch, partial(read, greedy=False))
    best = _in_parts(scoring, rows, greedy, 1, batch, partial(read, greedy=True))
    if unscored := judged.count(None):
        warnings.warn(
            f"reward {next(iter(rewards))!r} could not score {unscored} of {len(judged)} completions (None); they "
            "count as wrong",
            stacklevel=3,  # behind the decorator
        )
    lengths = sampled.rollout.completion_lengths.cpu().view(len(rows), samples)
    whole = ended_if_known(sampled.rollout, eos_ids)
    return EvaluationResult(
        correct=sampled.correct,
        lengths=lengths,
        greedy_correct=best.correct[:, 0],
        greedy_lengths=best.rollout.completion_lengths.cpu(),
        truncated=None if whole is None else ~whole.cpu().view(lengths.shape),
        at_budget=None
        if forced is None
        else accuracy_at_budgets(forced, sampled.rollout, sampled.correct, rows, scoring, sampler, batch),
        texts=_texts(sampled.rollout, tokenizer, samples) if keep_texts else None,
        samples=tuple(texts),
    )


@dataclass(frozen=True, eq=False)
class _Samples:
    """Scored completions: right or not, those of a problem in one row; a rollout in that order."""

    correct: Tensor
    rollout: Rollout


def _in_parts(
    scoring: Scoring,
    rows: Rows,
    sampler: Sampler,
    count: int,
    batch: int | None,
    read: Callable[[Rollout, Scores], None],
) -> _Samples:
    """``count`` completions of every problem, at most ``batch`` in one call of the sampler; each call's are read."""
    size = len(rows) if batch is None else max(1, batch // count)
    parts = []
    for start in range(0, len(rows), size):
        rollout = _sample(rows, slice(start, start + size), sampler, count)
        scores = scoring.scores(rollout, rows)
        read(rollout, scores)
        parts.append(_Samples(scores.correct.view(-1, count), rollout))
    return _Samples(torch.cat([part.correct for part in parts]), Rollout.cat([part.rollout for part in parts]))


def _sample(rows: Rows, which: slice, sampler: Sampler, count: int) -> Rollout:
    """Completions of some problems in the problems' order, whatever the order in which the sampler returns them."""
    rollout = sampler([row["prompt"] for row in rows[which]], count)
    rollout = rollout.select(rollout.group_ids.argsort(stable=True))
    return dataclasses.replace(rollout, group_ids=rollout.group_ids + which.start)


def _texts(rollout: Rollout, tokenizer: Any, count: int) -> tuple[tuple[str, ...], ...]:
    """The completions as texts, end of sequence included, those of a problem together."""
    texts = decode_completions(tokenizer, rollout, eos_ids=())
    return tuple(tuple(texts[start : start + count]) for start in range(0, len(texts), count))
