"""What an update measures about its completions, and how long each part of it took."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from jaxtyping import Bool
from torch import Tensor

from iapo.rewards.scores import Scores
from iapo.types import Rollout


def sampling_metrics(rollout: Rollout, scores: Scores, tokenizer: Any) -> dict[str, float]:
    """Lengths and rewards of the completions that were sampled, by the names that TRL gives them.

    Args:
        rollout: the completions.
        scores: one for each completion.
        tokenizer: has the end-of-sequence token, without which a completion counts as clipped.
    """
    lengths = rollout.completion_lengths.float()
    finished = ends_in(rollout, tokenizer.eos_token_id)
    metrics = {
        "completions/mean_length": float(lengths.mean()),
        "completions/min_length": float(lengths.min()),
        "completions/max_length": float(lengths.max()),
        "completions/clipped_ratio": float((~finished).float().mean()),
        "num_tokens": float(lengths.sum()),
        "reward": float(scores.total[scores.scored].mean()) if bool(scores.scored.any()) else 0.0,
    }
    for name, values in scores.by_function.items():
        known = [value for value in values if value is not None]
        if known:
            metrics[f"rewards/{name}/mean"] = sum(known) / len(known)
    return metrics


def ends_in(rollout: Rollout, token: int) -> Bool[Tensor, " batch"]:
    """Whether the last token of each completion is ``token``; ``False`` for an empty completion."""
    last = (rollout.completion_lengths - 1).clamp(min=0)
    return (rollout.completion_ids.gather(1, last[:, None])[:, 0] == token) & (rollout.completion_lengths > 0)


@contextmanager
def timed(metrics: dict[str, float], name: str) -> Iterator[None]:
    """Add the seconds that the block took to ``metrics[name]``."""
    start = time.perf_counter()
    yield
    metrics[name] = metrics.get(name, 0.0) + time.perf_counter() - start
