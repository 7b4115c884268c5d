"""The data between components: what is refused, by name, and what selecting rows keeps."""

import dataclasses

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from iapo import LossOutput, Rollout, StepStats, TokenSignals
from iapo.testing import rollouts


def fields(batch: int = 2) -> dict[str, torch.Tensor]:
    ids, mask = torch.ones(batch, 3, dtype=torch.long), torch.ones(batch, 3, dtype=torch.bool)
    wide, seen = torch.ones(batch, 4, dtype=torch.long), torch.ones(batch, 4, dtype=torch.bool)
    return {
        "prompt_ids": ids,
        "prompt_mask": mask,
        "completion_ids": wide,
        "completion_mask": seen,
        "reasoning_mask": seen,
        "group_ids": torch.zeros(batch, dtype=torch.long),
    }


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("prompt_ids", torch.ones(2, 3)),
        ("prompt_mask", torch.ones(2, 3)),
        ("completion_ids", torch.ones(3, 4, dtype=torch.long)),
        ("completion_mask", torch.ones(2, 4, dtype=torch.long)),
        ("reasoning_mask", torch.ones(2, 5, dtype=torch.bool)),
        ("group_ids", torch.zeros(2, 1, dtype=torch.long)),
        ("sampler_logprobs", torch.zeros(2, 4, dtype=torch.long)),
        ("sampler_logprobs", [[0.0] * 4] * 2),
    ],
)
def test_a_wrong_shape_or_dtype_is_named_with_the_sizes(name, value):
    with pytest.raises(TypeError, match=f"parameter '{name}'") as error:
        Rollout(**fields() | {name: value})
    assert "[2,4](torch)" in str(error.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"prompt_mask": torch.tensor([[True, True, False]] * 2)}, "prompt_mask"),
        ({"completion_mask": torch.tensor([[True, False, True, True]] * 2)}, "completion_mask: must be right-padded"),
        ({"completion_mask": torch.tensor([[True, True, False, False]] * 2)}, "reasoning_mask: must be a subset"),
        ({"answer_ids": torch.ones(2, 1, dtype=torch.long)}, "give both or neither, got only answer_ids"),
        ({"group_ids": torch.zeros(2, dtype=torch.long, device="meta")}, "group_ids on meta"),
    ],
)
def test_masks_that_mean_nothing_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        Rollout(**fields() | change)


@given(rollouts(max_batch=5), st.data())
def test_selected_rows_are_the_same_completions(rollout, data):
    rows = torch.tensor(data.draw(st.lists(st.integers(0, len(rollout) - 1), min_size=1, max_size=6)))
    part = rollout.select(rows)
    for new, old in enumerate(rows.tolist()):
        for field in ("prompt", "completion", "answer"):
            ids, mask = f"{field}_ids", f"{field}_mask"
            kept = getattr(part, ids)[new][getattr(part, mask)[new]]
            assert torch.equal(kept, getattr(rollout, ids)[old][getattr(rollout, mask)[old]])
        width = part.completion_ids.shape[1]
        assert torch.equal(part.reasoning_mask[new], rollout.reasoning_mask[old][:width])
        assert part.group_ids[new] == rollout.group_ids[old]
    assert part.completion_ids.shape[1] == max(1, int(part.completion_lengths.max()))


def test_records_are_frozen():
    for record in (Rollout(**fields()), TokenSignals(), StepStats(1, True, 0.0, 0.1, 0)):
        with pytest.raises(dataclasses.FrozenInstanceError):
            record.anything = 1


def test_outputs_are_checked_too():
    with pytest.raises(TypeError, match="loss"):
        LossOutput(torch.zeros(2), {})
    with pytest.raises(TypeError, match="metrics"):
        LossOutput(torch.zeros(()), {"kl": torch.zeros(2)})
    with pytest.raises(TypeError, match="information_mask"):
        TokenSignals(information=torch.zeros(2, 3), information_mask=torch.zeros(2, 4, dtype=torch.bool))
