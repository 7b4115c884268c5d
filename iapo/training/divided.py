"""Sampling and scoring divided over the processes of a run, by whole prompts; every process gets all that was made."""

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from iapo.interfaces import Prompts, Sampler
from iapo.policy.whole_weights import whole_weights
from iapo.rewards.scores import Scores
from iapo.training.processes import Processes
from iapo.types import Rollout


def divided(sampler: Sampler, model: nn.Module, processes: Processes) -> Sampler:
    """The sampler, each process sampling its share of the prompts; itself if there is one process."""
    return sampler if processes.size == 1 else DividedSampler(sampler, model, processes)


@dataclass(frozen=True, eq=False)
class DividedSampler(Sampler):
    """Lets another sampler sample the completions of a share of the prompts on each process, and puts them together.

    Each process samples in a random stream of its own, with whole weights. A process without prompts samples nothing.

    Args:
        sampler: samples on each process.
        model: the policy that it samples from; weights that FSDP2 shards are gathered.
        processes: all of them call this sampler together, with the same prompts.
    """

    sampler: Sampler
    model: nn.Module
    processes: Processes

    def sample(self, prompts: Prompts, group_size: int) -> Rollout:
        """The completions of all processes, in the order of the prompts."""
        part: Rollout | None = None
        own = self.processes.share(len(prompts))
        with whole_weights(self.model), self.processes.together(), self.processes.own_random():
            if own:
                part = self.sampler(prompts[own.start : own.stop], group_size)
                part = dataclasses.replace(part, group_ids=part.group_ids + own.start)
        device = next(self.model.parameters()).device
        parts = self.processes.gather(None if part is None else part.to("cpu"))
        return Rollout.cat([each for each in parts if each is not None]).to(device)


def divided_scores(
    groups: int, group_ids: Tensor, score: Callable[[Sequence[int]], Scores], processes: Processes
) -> Scores:
    """The scores of all completions, each process scoring those of a share of the groups.

    Args:
        groups: number of groups; ids are below it.
        group_ids: of all completions.
        score: the scores of the completions in some rows.
        processes: all of them call this function together.
    """
    ids = group_ids.tolist()
    if processes.size == 1:
        return score(range(len(ids)))
    own = processes.share(groups)
    rows = [row for row, group in enumerate(ids) if group in own]
    part: Scores | None = None
    with processes.together(), processes.own_random():
        if rows:
            part = score(rows)
    parts = [(each, found) for each, found in processes.gather((rows, part)) if found is not None]
    places = torch.tensor([row for each, _ in parts for row in each])
    return Scores.cat([found for _, found in parts]).select(places.argsort().tolist())
