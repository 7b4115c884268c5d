"""Groups that teach nothing give way to groups of other prompts (DAPO's dynamic sampling)."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

from iapo.ops.checks import check_integer
from iapo.ops.groups import Groups
from iapo.rewards.scores import Scores
from iapo.types import Rollout

Rows = Sequence[Mapping[str, Any]]


@dataclass(frozen=True, eq=False)
class Samples:
    """Completions and their scores.

    Args:
        rows: one mapping per prompt; ``rollout.group_ids`` are indices into it.
        rollout: the completions.
        scores: one per completion.
    """

    rows: Rows
    rollout: Rollout
    scores: Scores


@dataclass(frozen=True, eq=False)
class Resampled:
    """What `Resampling` returns.

    Args:
        samples: as many groups as before.
        rounds: further rounds of sampling.
        groups: how many were thrown away.
        tokens: sampled in those rounds.
    """

    samples: Samples
    rounds: int
    groups: int
    tokens: int


@dataclass(frozen=True)
class Resampling:
    """Replaces every group whose rewards are all equal by one of a fresh prompt, in at most ``rounds`` rounds.

    Each round samples one group for each that is to go. What is uninformative after the last round is kept: the batch
    has the same size whatever the rewards.

    *Degenerate cases.* A group with fewer than two scored completions has nothing to compare, and goes too. Where all
    groups differ in their rewards nothing is sampled and no prompt is taken.

    Args:
        rounds: at least 1.
        fresh: the next prompts, at least as many as an update has; those that a round does not need are not used.

    Raises:
        ValueError: ``rounds`` below 1.

    References:
        DAPO, arXiv 2503.14476, section 3.2 (dynamic sampling; there without a bound).
    """

    rounds: int
    fresh: Callable[[], Rows]

    def __post_init__(self) -> None:
        check_integer("rounds", self.rounds)

    def __call__(self, samples: Samples, sample: Callable[[Rows], Samples]) -> Resampled:
        """Replace what teaches nothing.

        Args:
            samples: of the update's own prompts.
            sample: samples and scores completions of the prompts that it is handed.
        """
        rounds = groups = tokens = 0
        while rounds < self.rounds and len(flat := uninformative(samples)):
            others = sample(self.fresh()[: len(flat)])
            samples = replace_groups(samples, flat, others)
            rounds, groups = rounds + 1, groups + len(flat)
            tokens += int(others.rollout.completion_mask.sum())
        return Resampled(samples, rounds, groups, tokens)


def uninformative(samples: Samples) -> Int[Tensor, " group"]:
    """Ids of the groups whose scored completions, if there are two, all have the same reward; ascending."""
    ids, scores = samples.rollout.group_ids, samples.scores
    groups = Groups.of(ids.cpu())
    scored = dataclasses.replace(groups, of_row=groups.of_row[scores.scored])
    return groups.ids[scored.constant(scores.total[scores.scored])].to(ids.device)


def replace_groups(samples: Samples, flat: Int[Tensor, " group"], others: Samples) -> Samples:
    """``samples`` without the groups ``flat``, whose ids go to the groups of ``others``, in their order.

    Args:
        samples: what there is.
        flat: ids of the groups to be replaced.
        others: one group for each of them.
    """
    rows = list(samples.rows)
    for group, row in zip(flat.tolist(), others.rows, strict=True):
        rows[group] = row
    kept = (~torch.isin(samples.rollout.group_ids, flat)).nonzero().flatten()
    renamed = dataclasses.replace(others.rollout, group_ids=flat[others.rollout.group_ids])
    scores = Scores.cat([samples.scores.select(kept.tolist()), others.scores])
    return Samples(rows, Rollout.cat([samples.rollout.select(kept), renamed]), scores)
