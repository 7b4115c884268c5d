"""GSPO against a loop in float64, with hand-made gradients, and where it degenerates."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from loss_batches import gradient, inputs, lists

from iapo.losses import GSPO, ClippedPolicyLoss

LOW, HIGH = 0.05, 0.1


def naive(tensors, low=LOW, high=HIGH):
    """Loss and gradient token by token: the ratio of a completion is the geometric mean of its tokens' ratios."""
    policy, old, advantages, mask, _ = lists(tensors)
    rows = [i for i in range(len(mask)) if any(mask[i])]
    loss, slope = 0.0, [[0.0] * len(row) for row in mask]
    for i in rows:
        tokens = [t for t in range(len(mask[i])) if mask[i][t]]
        ratio = math.prod(math.exp(policy[i][t] - old[i][t]) for t in tokens) ** (1 / len(tokens))
        clipped = min(max(ratio, 1 - low), 1 + high)
        for t in tokens:
            gain = min(ratio * advantages[i][t], clipped * advantages[i][t])
            loss -= gain / len(tokens) / len(rows)
            if gain == ratio * advantages[i][t]:
                slope[i][t] = -ratio * advantages[i][t] / len(tokens) / len(rows)
    return loss, torch.tensor(slope, dtype=torch.float64)


@given(tensors=inputs(spread=0.1))
def test_value_and_gradient_against_the_loop(tensors):
    output, found = gradient(GSPO(LOW, HIGH), tensors)
    loss, slope = naive(tensors)
    assert output.loss.item() == pytest.approx(loss, abs=1e-10)
    torch.testing.assert_close(found, slope, atol=1e-10, rtol=1e-10)


@given(tensors=inputs(spread=0.1))
def test_equal_advantages_give_the_sequence_ratio_gradient(tensors):
    """Equation 5 differentiated by autograd, no stop-gradient anywhere."""
    mask = tensors["loss_mask"]
    tensors["advantages"] = tensors["advantages"][:, :1].expand_as(mask)
    _, found = gradient(GSPO(LOW, HIGH), tensors)
    policy = tensors["policy_logprobs"].clone().requires_grad_()
    total = policy.sum() * 0
    for i in mask.any(1).nonzero().flatten().tolist():
        ratio = (policy[i] - tensors["old_logprobs"][i])[mask[i]].mean().exp()
        advantage = tensors["advantages"][i, 0]
        total = total - torch.minimum(ratio * advantage, ratio.clamp(1 - LOW, 1 + HIGH) * advantage)
    (expected,) = torch.autograd.grad(total / max(1, int(mask.any(1).sum())), policy)
    torch.testing.assert_close(found, expected, atol=1e-10, rtol=1e-10)


@given(tensors=inputs())
def test_at_ratio_one_it_is_the_plain_policy_gradient(tensors):
    tensors["old_logprobs"] = tensors["policy_logprobs"]
    _, found = gradient(GSPO(), tensors)
    mask = tensors["loss_mask"]
    expected = -tensors["advantages"] * mask / mask.sum(1, keepdim=True).clamp(min=1) / max(1, int(mask.any(1).sum()))
    torch.testing.assert_close(found, expected)
    _, grpo = gradient(ClippedPolicyLoss(aggregation="sequence"), tensors)
    torch.testing.assert_close(found, grpo)


@given(tensors=inputs(), up=st.booleans())
def test_where_all_is_clipped_there_is_no_gradient(tensors, up):
    """And the value is that of the edge of the range."""
    sign = 1.0 if up else -1.0
    tensors["old_logprobs"] = tensors["policy_logprobs"] - 0.5 * sign
    tensors["advantages"] = tensors["advantages"].abs() * sign
    output, found = gradient(GSPO(LOW, HIGH), tensors)
    mask = tensors["loss_mask"]
    assert not found.any()
    assert output.metrics["clip_ratio/region_mean"].item() == pytest.approx(float(mask.any()))
    edge = 1 + HIGH if up else 1 - LOW
    means = [-edge * float(tensors["advantages"][i][mask[i]].mean()) for i in range(len(mask)) if mask[i].any()]
    assert output.loss.item() == pytest.approx(sum(means) / max(1, len(means)), abs=1e-9)


def test_clip_shares_need_the_sign_that_is_clipped():
    """A ratio below the range counts with a negative advantage only, one above it with a positive one only."""
    policy = torch.tensor([[-1.0], [-1.0], [1.0], [1.0]])
    tensors = {"policy_logprobs": policy, "old_logprobs": 0 * policy, "loss_mask": torch.ones(4, 1, dtype=torch.bool)}
    output, _ = gradient(GSPO(), tensors | {"advantages": torch.tensor([[-1.0], [1.0], [1.0], [-1.0]])})
    shares = {name.split("/")[1]: value.item() for name, value in output.metrics.items()}
    assert shares == {"low_mean": 0.25, "high_mean": 0.25, "region_mean": 0.5}


def test_tokens_far_apart_cancel_in_the_mean():
    """Ratios of e^3 and e^-3 make a ratio of 1: nothing is clipped, where a token-wise loss would clip."""
    policy = torch.tensor([[-4.0, -4.0]])
    tensors = {"policy_logprobs": policy, "old_logprobs": policy - torch.tensor([[3.0, -3.0]])}
    tensors |= {"advantages": torch.ones(1, 2), "loss_mask": torch.ones(1, 2, dtype=torch.bool)}
    output, found = gradient(GSPO(), tensors)
    assert output.metrics["clip_ratio/region_mean"] == 0
    torch.testing.assert_close(found, torch.tensor([[-0.5, -0.5]]))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [({"clip_low": 1.5}, "clip_low: got 1.5"), ({"clip_high": float("nan")}, "clip_high: got nan")],
)
def test_bad_parameters_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        GSPO(**arguments)
