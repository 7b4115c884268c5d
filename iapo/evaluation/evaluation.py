"""Evaluation of a policy: Pass@k, Length@k, Ratio@k, Pass@1 and greedy, with bootstrap intervals over problems."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from iapo.interfaces import Reward, Sampler
from iapo.rewards.rollouts import score_rollout

RESAMPLES = 2000
LEVEL = 0.95


@dataclass(frozen=True)
class Interval:
    """An estimate with its bootstrap interval (percentile, 95%, over problems)."""

    value: float
    low: float
    high: float

    @classmethod
    def of_resamples(cls, value: Float[Tensor, ""], resamples: Float[Tensor, " resample"]) -> "Interval":
        """An estimate with the percentiles of what resamples gave in its place."""
        ends = torch.tensor([(1 - LEVEL) / 2, (1 + LEVEL) / 2], dtype=resamples.dtype)
        low, high = resamples.quantile(ends).tolist()
        return cls(float(value), low, high)

    def __str__(self) -> str:
        return f"{self.value:.3g} ({self.low:.3g} to {self.high:.3g})"


@dataclass(frozen=True, eq=False)
class EvaluationResult:
    """What an evaluation sampled, problem by problem.

    Args:
        correct: whether each of a problem's samples was right.
        lengths: tokens of each sample, end of sequence included.
        greedy_correct: whether the greedy completion was right.
        greedy_lengths: tokens of the greedy completion.

    Raises:
        ValueError: no problems or samples, or shapes that do not agree; they are named.
    """

    correct: Bool[Tensor, "problem sample"]
    lengths: Int[Tensor, "problem sample"]
    greedy_correct: Bool[Tensor, " problem"]
    greedy_lengths: Int[Tensor, " problem"]

    def __post_init__(self) -> None:
        if self.correct.ndim != 2 or self.correct.numel() == 0:
            raise ValueError(f"correct: got shape {tuple(self.correct.shape)}, want (problem, sample), both at least 1")
        for name, want in (
            ("lengths", self.correct.shape),
            ("greedy_correct", self.correct.shape[:1]),
            ("greedy_lengths", self.correct.shape[:1]),
        ):
            if getattr(self, name).shape != want:
                raise ValueError(f"{name}: got shape {tuple(getattr(self, name).shape)}, want {tuple(want)}")

    def measures(self, ks: Sequence[int] = (1,)) -> dict[str, Interval]:
        """Every measure with its interval.

        Args:
            ks: the values of k; at most the number of samples of a problem.

        Returns:
            ``accuracy`` (Pass@1), ``length`` (mean tokens), ``greedy_accuracy``, ``greedy_length``, and for each k
            ``pass@k``, ``length@k`` (expected mean length of the k samples: ``length``) and ``ratio@k`` (Pass@k by
            Length@k, as a ratio of means over problems).

        Raises:
            ValueError: a k below 1 or above the number of samples.
        """
        length = self.lengths.double().mean(1)
        measures = {
            "accuracy": interval(self.correct.double().mean(1)),
            "length": interval(length),
            "greedy_accuracy": interval(self.greedy_correct.double()),
            "greedy_length": interval(self.greedy_lengths.double()),
        }
        for k in ks:
            passed = pass_at_k(self.correct.sum(1), self.correct.shape[1], k)
            measures[f"pass@{k}"] = interval(passed)
            measures[f"length@{k}"] = measures["length"]
            measures[f"ratio@{k}"] = interval(passed, length)
        return measures


def pass_at_k(right: Int[Tensor, " problem"], samples: int, k: int) -> Float[Tensor, " problem"]:
    """Unbiased probability that at least one of k samples is right: ``1 - C(n - c, k) / C(n, k)``.

    Args:
        right: right samples ``c`` of each problem.
        samples: samples ``n`` per problem.
        k: samples drawn.

    Returns:
        One probability per problem, float64.

    Raises:
        ValueError: ``k`` outside 1 to ``samples``.

    Example:
        >>> pass_at_k(torch.tensor([0, 1, 4]), samples=4, k=2).tolist()
        [0.0, 0.5, 1.0]

    References:
        Chen et al. 2021, arXiv 2107.03374, equation 1.
    """
    if not 1 <= k <= samples:
        raise ValueError(f"k: got {k}, want 1 to the number of samples, {samples}")
    draws = torch.arange(k, dtype=torch.float64)
    wrong = (samples - right).double()[:, None]
    return 1 - ((wrong - draws).clamp(min=0) / (samples - draws)).prod(1)


def interval(
    values: Float[Tensor, " problem"], divisors: Float[Tensor, " problem"] | None = None, seed: int = 0
) -> Interval:
    """Mean over problems (divided by the mean of ``divisors``) with its bootstrap interval.

    Args:
        values: one number per problem.
        divisors: one number per problem, for a ratio of means.
        seed: of the bootstrap.

    Returns:
        The estimate and its 95% percentile interval from 2000 resamples of problems.
    """
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randint(0, len(values), (RESAMPLES, len(values)), generator=generator)
    below = torch.ones_like(values) if divisors is None else divisors
    value = values.mean() / below.mean()
    spread = values[drawn].mean(1) / below[drawn].mean(1)
    return Interval.of_resamples(value, spread)


def change(before: EvaluationResult, after: EvaluationResult) -> dict[str, Interval]:
    """Changes of accuracy and length from one evaluation to another on the same problems, paired by problem.

    Raises:
        ValueError: another number of problems.
    """
    if len(before.correct) != len(after.correct):
        raise ValueError(f"after: got {len(after.correct)} problems, want the {len(before.correct)} of before")
    return {
        "accuracy": interval(after.correct.double().mean(1) - before.correct.double().mean(1)),
        "length": interval(after.lengths.double().mean(1) - before.lengths.double().mean(1)),
    }


def evaluate(
    rows: Sequence[Mapping[str, Any]],
    *,
    tokenizer: Any,
    sampler: Sampler,
    greedy: Sampler,
    rewards: Mapping[str, Reward],
    samples: int,
    correct_above: float = 0.5,
) -> EvaluationResult:
    """Sample completions of every problem and judge them.

    Args:
        rows: the problems; ``prompt`` is sampled from, all columns go to the rewards.
        tokenizer: decodes completions for the rewards.
        sampler: draws ``samples`` completions per problem.
        greedy: gives the likeliest completion.
        rewards: the first judges whether a completion is right; others, for form or length, do not.
        samples: completions per problem.
        correct_above: a completion is right if its first reward is above this.
    """

    def judged(source: Sampler, count: int) -> tuple[Tensor, Tensor]:
        rollout = source([row["prompt"] for row in rows], count)
        order = rollout.group_ids.argsort(stable=True).cpu()
        scores = score_rollout(rollout, [rows[group] for group in rollout.group_ids.tolist()], tokenizer, rewards)
        correct = scores.correct(correct_above)[order].view(len(rows), count)
        return correct, rollout.completion_lengths.cpu()[order].view(len(rows), count)

    correct, lengths = judged(sampler, samples)
    greedy_correct, greedy_lengths = judged(greedy, 1)
    return EvaluationResult(correct, lengths, greedy_correct[:, 0], greedy_lengths[:, 0])


def markdown_table(results: Mapping[str, EvaluationResult], ks: Sequence[int] = (1,)) -> str:
    """Results side by side, one column each, every measure with its interval, as Markdown."""
    columns = {name: result.measures(ks) for name, result in results.items()}
    names = list(next(iter(columns.values())))
    lines = [f"| | {' | '.join(columns)} |", "|---" * (len(columns) + 1) + "|"]
    lines += [f"| {name} | {' | '.join(str(column[name]) for column in columns.values())} |" for name in names]
    return "\n".join(lines)
