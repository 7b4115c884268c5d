"""Micro-batches of a step: every completion once, long ones first, those that are learned from last."""

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from iapo import Rollout
from iapo.training.batches import batches_of_update, by_length


def rollout_of(lengths):
    """Completions of these lengths; what is in them does not matter."""
    count, width = len(lengths), max(lengths)
    mask = torch.arange(width) < torch.tensor(lengths)[:, None]
    ids, prompt = torch.zeros(count, width, dtype=torch.long), torch.zeros(count, 1, dtype=torch.long)
    return Rollout(
        prompt_ids=prompt,
        prompt_mask=prompt == 0,
        completion_ids=ids,
        completion_mask=mask,
        reasoning_mask=mask,
        group_ids=torch.arange(count),
        answer_ids=prompt,
        answer_mask=prompt == 0,
    )


rollouts = st.lists(st.integers(1, 9), min_size=1, max_size=12).map(rollout_of)


@given(rollouts, st.integers(1, 5))
def test_longest_completions_come_first(rollout, micro_batch):
    batches = by_length(rollout, micro_batch)
    lengths = rollout.completion_lengths
    assert sorted(torch.cat(list(batches)).tolist()) == list(range(len(rollout)))
    assert lengths[torch.cat(list(batches))].tolist() == sorted(lengths.tolist(), reverse=True)
    assert [len(batch) for batch in batches[:-1]] == [micro_batch] * (len(batches) - 1)


@given(rollouts, st.integers(1, 5), st.data())
def test_those_that_are_learned_from_come_last(rollout, micro_batch, data):
    size = len(rollout)
    learns = torch.tensor(data.draw(st.lists(st.booleans(), min_size=size, max_size=size)))
    batches = batches_of_update(nn.Linear(1, 1), rollout, micro_batch, learns)
    assert sorted(torch.cat([each.rows for each in batches]).tolist()) == list(range(size))
    assert batches[-1].learns, "the last backward is the one after which the optimizer steps"
    assert [each.learns for each in batches] == sorted(each.learns for each in batches)
    for each in batches:
        assert each.counts
        assert learns[each.rows].tolist() == [each.learns and bool(learns.any())] * len(each.rows)
