"""Answers counted after each prefix: entropy and likelihood estimated from the counts, with their standard errors."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

Answer = tuple[int, ...]
"""The tokens of an answer; empty: no answer, which is an outcome like any other."""

Counts = Mapping[Answer, int]
"""How often each answer was sampled after one prefix; at least once in total."""


@dataclass(frozen=True)
class AnswerCounts:
    """How often each answer was sampled after each prefix that was probed.

    Probes that were not taken have value and error 0. Tensors are float64, in nats, on the CPU.

    Args:
        probes: the counts by row and probe; probe ``t`` has seen ``t`` completion tokens.
        shape: completions and probes, ``(batch, token + 1)``.

    Example:
        >>> AnswerCounts({(0, 1): {(5,): 8, (7,): 8}}, (1, 2)).entropies()
        tensor([[0.0000, 0.7244]], dtype=torch.float64)
    """

    probes: Mapping[tuple[int, int], Counts]
    shape: tuple[int, int]

    def entropies(self) -> Float[Tensor, "batch probe"]:
        """`miller_madow` of every probe."""
        return self._each(lambda _, counts: miller_madow(counts))

    def entropy_errors(self) -> Float[Tensor, "batch probe"]:
        """`entropy_error` of every probe."""
        return self._each(lambda _, counts: entropy_error(counts))

    def log_likelihoods(self, answers: Sequence[Answer]) -> Float[Tensor, "batch probe"]:
        """`smoothed_log_likelihood` of each row's answer at every probe; 0 in a row without one."""
        return self._each(lambda row, counts: smoothed_log_likelihood(counts, answers[row]) if answers[row] else 0.0)

    def log_likelihood_errors(self, answers: Sequence[Answer]) -> Float[Tensor, "batch probe"]:
        """`log_likelihood_error` of each row's answer at every probe; 0 in a row without one."""
        return self._each(lambda row, counts: log_likelihood_error(counts, answers[row]) if answers[row] else 0.0)

    def _each(self, value: Callable[[int, Counts], float]) -> Float[Tensor, "batch probe"]:
        values = torch.zeros(self.shape, dtype=torch.float64)
        for (row, probe), counts in self.probes.items():
            values[row, probe] = value(row, counts)
        return values


def plug_in_entropy(counts: Counts) -> float:
    """Entropy of the counted frequencies: ``-sum_y f_y log f_y``, ``f_y = n_y / n``, in nats.

    *Bias.* Low, by ``(K - 1) / (2 n)`` to first order, ``K`` the number of possible answers.
    """
    n = sum(counts.values())
    return math.log(n) - sum(count * math.log(count) for count in counts.values() if count) / n


def miller_madow(counts: Counts) -> float:
    """Plug-in entropy corrected for the number of answers: ``-sum_y f_y log f_y + (K - 1) / (2 n)``, in nats.

    ``f_y = n_y / n``, and ``K`` counts the distinct answers that were sampled.

    *Bias.* The plug-in's first-order bias is removed as far as the answers were sampled. Answers never sampled are
    missed, so it stays low where ``n`` is not much larger than the number of answers. Samples that all agree give 0.
    The rest is of order ``1 / n^2``.

    Example:
        >>> round(miller_madow({(5,): 3, (7,): 1}), 4)
        0.6873

    References:
        Miller, "Note on the bias of information estimates", 1955; Paninski, "Estimation of entropy and mutual
        information", Neural Computation 15, 2003, section 4.
    """
    distinct = sum(count > 0 for count in counts.values())
    return plug_in_entropy(counts) + (distinct - 1) / (2 * sum(counts.values()))


def entropy_error(counts: Counts) -> float:
    """Standard error of `miller_madow` by the delta method: ``sqrt((sum_y f_y log^2 f_y - H^2) / n)``, in nats.

    ``H`` is the plug-in entropy. It vanishes where all answers are equally frequent, so it is not let below its value
    of the next order there, ``sqrt(K - 1) / (sqrt(2) n)``; near there it is up to 1.4 times too large.

    *Degenerate case.* Samples that all agree give 0, although answers of a total probability of up to ``3 / n`` may
    have been missed (at 95%).

    References:
        Basharin, "On a statistical estimate for the entropy", 1959; Harris, "The statistical estimation of entropy in
        the non-parametric case", 1975 (next order).
    """
    n = sum(counts.values())
    logs = [(count / n, math.log(count / n)) for count in counts.values() if count]
    mean = sum(share * log for share, log in logs)
    spread = sum(share * (log - mean) ** 2 for share, log in logs)
    return math.sqrt(max(spread, (len(logs) - 1) / (2 * n)) / n)


def smoothed_log_likelihood(counts: Counts, answer: Answer) -> float:
    """``log((n_y + 1/2) / (n + 1))``: log of the posterior mean of the answer's probability under Jeffreys' prior.

    In nats. The prior is that of two outcomes: this answer, and any other.

    *Bias.* Low by ``1 / (2 n)`` to first order, whatever the probability, so that differences do not have it. Nothing
    below ``-log(2 n + 2)`` can be seen: high for answers rarer than that.

    Example:
        >>> round(smoothed_log_likelihood({(5,): 3, (7,): 1}, (9,)), 4) == round(math.log(0.5 / 5), 4)
        True
    """
    return math.log((counts.get(answer, 0) + 0.5) / (sum(counts.values()) + 1))


def log_likelihood_error(counts: Counts, answer: Answer) -> float:
    """Standard error of `smoothed_log_likelihood` by the delta method: ``sqrt((1 - p) / (n p))``, in nats.

    ``p`` is the smoothed probability, so that the error is never 0. An answer that was not sampled has about 1.4
    nats, which only says that it is rare.
    """
    p = math.exp(smoothed_log_likelihood(counts, answer))
    return math.sqrt((1 - p) / (sum(counts.values()) * p))
