"""What an update measures about its completions, and how long each part of it took."""

import time
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager

from jaxtyping import Float
from torch import Tensor

from iapo.rewards.scores import Scores
from iapo.rollout.ends import ended_if_known
from iapo.types import Rollout

_OF_THE_LOOP = {
    *("step", "step_time", "num_tokens", "reward", "loss", "entropy", "grad_norm", "learning_rate"),
    *("sampling/logp_difference", "sampling/logp_difference_max", "iapo/tokens_sampled", "iapo/steps_skipped"),
}
_FAMILIES_OF_THE_LOOP = (
    *("completions/", "rewards/"),
    *(f"iapo/{family}/" for family in ("completions", "diagnostics", "groups", "resample", "time")),
)
"""What the names of the loop's other metrics begin with."""


def sampling_metrics(rollout: Rollout, scores: Scores, eos_ids: Collection[int]) -> dict[str, float]:
    """Lengths and rewards of the completions that were sampled, by the names that TRL gives them.

    Args:
        rollout: the completions.
        scores: one for each completion.
        eos_ids: tokens that end a completion, without which it counts as clipped; none: that is not measured unless
            the rollout says it.
    """
    lengths = rollout.completion_lengths.float()
    metrics = {
        "completions/mean_length": float(lengths.mean()),
        "completions/min_length": float(lengths.min()),
        "completions/max_length": float(lengths.max()),
        "num_tokens": float(lengths.sum()),
        "reward": float(scores.total[scores.scored].mean()) if bool(scores.scored.any()) else 0.0,
    }
    whole = ended_if_known(rollout, eos_ids)
    if whole is not None:
        metrics["completions/clipped_ratio"] = float((~whole).float().mean())
    for name, values in scores.by_function.items():
        known = [value for value in values if value is not None]
        if known:
            metrics[f"rewards/{name}/mean"] = sum(known) / len(known)
    return metrics


def sampler_metrics(rollout: Rollout, policy_logprobs: Float[Tensor, "batch token"]) -> dict[str, float]:
    """How far the sampler's log-probabilities are from the trainer's for the same weights, nats.

    ``sampling/logp_difference`` is the mean absolute difference over the completions' tokens, and with ``_max`` behind
    it the largest. A sampler that calls the policy itself is off by rounding, one with an engine of its own by what
    its precision and kernels make of the weights; the ``sampler_ratio_cap`` of `iapo.losses.ClippedPolicyLoss` corrects
    for it. Empty for a sampler that gives none.

    Args:
        rollout: the completions, as they were sampled.
        policy_logprobs: of their tokens, under the policy that sampled.
    """
    mask = rollout.completion_mask
    if rollout.sampler_logprobs is None or not bool(mask.any()):
        return {}
    difference = (rollout.sampler_logprobs - policy_logprobs)[mask].abs()
    return {
        "sampling/logp_difference": float(difference.mean()),
        "sampling/logp_difference_max": float(difference.max()),
    }


def check_names(component: object, hook: str, names: Iterable[str]) -> None:
    """Raise ``ValueError`` if a component calls a metric of its own as the loop calls one: one of them would be lost.

    Args:
        component: whose hook returned the metrics.
        hook: its name.
        names: of the metrics.
    """
    taken = sorted(name for name in names if name in _OF_THE_LOOP or name.startswith(_FAMILIES_OF_THE_LOOP))
    if taken:
        raise ValueError(
            f"{type(component).__name__}.{hook}: metrics: {', '.join(taken)} is what the loop calls a metric of its "
            f"own, want another name, as mine/{taken[0].rpartition('/')[2]}"
        )


@contextmanager
def timed(metrics: dict[str, float], name: str) -> Iterator[None]:
    """Add the seconds that the block took to ``metrics[name]``."""
    start = time.perf_counter()
    yield
    metrics[name] = metrics.get(name, 0.0) + time.perf_counter() - start
