"""Sampling and scoring divided over the processes of a run, by whole prompts; every process gets all that was made."""

import dataclasses
import hashlib
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import nn

from iapo.interfaces import Prompts, Sampler
from iapo.policy.whole_weights import whole_weights
from iapo.rewards.rollouts import score_rollout
from iapo.rewards.scores import Scores
from iapo.styles import CompletionStyle
from iapo.training.distributed.processes import Processes
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

    @property
    def eos_ids(self) -> Collection[int]:
        """The tokens that end a completion, if the sampler says them."""
        return self.sampler.eos_ids  # type: ignore[attr-defined]

    @property
    def style(self) -> CompletionStyle | None:
        """How completions reason and answer, if the sampler says it."""
        return getattr(self.sampler, "style", None)

    def sample(self, prompts: Prompts, group_size: int) -> Rollout:
        """The completions of all processes, in the order of the prompts.

        Raises:
            ValueError: on all processes, if they were not called with the same prompts.
        """
        self._check_same([prompt if isinstance(prompt, str) else list(map(int, prompt)) for prompt in prompts])
        part: Rollout | None = None
        own = self.processes.share(len(prompts))
        with whole_weights(self.model), self.processes.together(), self.processes.own_random():
            if own:
                part = self.sampler(prompts[own.start : own.stop], group_size)
                part = dataclasses.replace(part, group_ids=part.group_ids + own.start)
        device = next(self.model.parameters()).device
        parts = self.processes.gather(None if part is None else part.to("cpu"))
        return Rollout.cat([each for each in parts if each is not None]).to(device)

    def _check_same(self, prompts: Sequence[Any]) -> None:
        """Raise where a process was given other prompts: it would get advantages of completions of the others'."""
        first, *others = self.processes.gather(hashlib.sha256(repr(prompts).encode()).digest())
        for index, found in enumerate(others, 1):
            if found != first:
                raise ValueError(
                    f"prompts: process {index} was given others than process 0, want the same on all, of which each "
                    "samples its share; give each of them the same rows, in the same order (no DistributedSampler)"
                )


def divided_scores(processes: Processes, time_limit: float | None, correct_above: float) -> Callable[..., Scores]:
    """`iapo.rewards.score_rollout` in a time limit, each process scoring the completions of a share of the groups.

    Rewards see whole groups, and not all of them. Arguments and result are those of `iapo.rewards.score_rollout`; all
    processes call it together, with the same completions.

    Args:
        processes: all of them.
        time_limit: seconds that one reward function may take over a call's completions; ``None``: no limit.
        correct_above: a completion is correct if its score by the first function is above this.
    """
    work = score_rollout if processes.size == 1 else partial(_divided_scores, processes)
    return partial(work, time_limit=time_limit, correct_above=correct_above)


def _divided_scores(
    processes: Processes, rollout: Rollout, rows: Sequence[Mapping[str, Any]], *arguments: Any, **options: Any
) -> Scores:
    groups, of_row = rollout.group_ids.unique(return_inverse=True)
    own = processes.share(len(groups))
    places = [row for row, group in enumerate(of_row.tolist()) if group in own]
    part: Scores | None = None
    with processes.together(), processes.own_random():
        if places:
            mine = rollout.select(torch.tensor(places, device=rollout.group_ids.device))
            part = score_rollout(mine, [rows[place] for place in places], *arguments, **options)
    parts = [(at, scores) for at, scores in processes.gather((places, part)) if scores is not None]
    order = torch.tensor([place for at, _ in parts for place in at]).argsort()
    return Scores.cat([scores for _, scores in parts]).select(order.tolist())
