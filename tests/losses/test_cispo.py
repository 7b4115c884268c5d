"""CISPO against a loop in float64, with hand-made gradients, and where it degenerates."""

import math

import pytest
import torch
from hypothesis import given
from loss_batches import gradient, inputs, lists

from iapo.losses import CISPO, ClippedPolicyLoss

LOW, HIGH = 0.2, 0.3


def naive(tensors, low=LOW, high=HIGH):
    """Loss and gradient token by token."""
    policy, old, advantages, mask, _ = lists(tensors)
    tokens = [(i, t) for i in range(len(mask)) for t in range(len(mask[i])) if mask[i][t]]
    loss, slope = 0.0, [[0.0] * len(row) for row in mask]
    for i, t in tokens:
        weight = min(max(math.exp(policy[i][t] - old[i][t]), 1 - low), 1 + high)
        loss -= weight * advantages[i][t] * policy[i][t] / len(tokens)
        slope[i][t] = -weight * advantages[i][t] / len(tokens)
    return loss, torch.tensor(slope, dtype=torch.float64)


@pytest.mark.parametrize(("low", "high"), [(LOW, HIGH), (1.0, 0.1)])
@given(tensors=inputs())
def test_value_and_gradient_against_the_loop(low, high, tensors):
    output, found = gradient(CISPO(low, high), tensors)
    loss, slope = naive(tensors, low, high)
    assert output.loss.item() == pytest.approx(loss, abs=1e-10)
    torch.testing.assert_close(found, slope, atol=1e-10, rtol=1e-10)
    ratios = (tensors["policy_logprobs"] - tensors["old_logprobs"]).exp()[tensors["loss_mask"]].tolist()
    clipped = {"low": sum(ratio < 1 - low for ratio in ratios), "high": sum(ratio > 1 + high for ratio in ratios)}
    for name, number in {**clipped, "region": sum(clipped.values())}.items():
        assert output.metrics[f"clip_ratio/{name}_mean"].item() == pytest.approx(number / max(1, len(ratios)), abs=1e-6)


@given(tensors=inputs())
def test_where_all_is_clipped_the_largest_weight_is_left(tensors):
    """Where the clipped surrogate has none."""
    tensors["old_logprobs"] = tensors["policy_logprobs"] - 5
    tensors["advantages"] = tensors["advantages"].abs()
    output, found = gradient(CISPO(clip_high=HIGH), tensors)
    mask = tensors["loss_mask"]
    torch.testing.assert_close(found, -(1 + HIGH) * tensors["advantages"] * mask / max(1, int(mask.sum())))
    assert output.metrics["clip_ratio/high_mean"].item() == pytest.approx(float(mask.any()))
    assert output.metrics["clip_ratio/low_mean"] == 0
    assert not gradient(ClippedPolicyLoss(), tensors)[1].any()


def test_without_a_lower_bound_small_weights_stay_small():
    one = torch.ones(1, 1)
    tensors = {"policy_logprobs": -9 * one, "old_logprobs": -1 * one, "advantages": one, "loss_mask": one.bool()}
    output, found = gradient(CISPO(), tensors)
    assert found.item() == pytest.approx(-math.exp(-8), rel=1e-5)
    assert output.metrics["clip_ratio/region_mean"] == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [({"clip_low": -0.5}, "clip_low: got -0.5"), ({"clip_high": float("inf")}, "clip_high: got inf")],
)
def test_bad_parameters_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        CISPO(**arguments)
