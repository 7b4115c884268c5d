"""The clipped loss against a double loop, its metrics, and what it refuses; `iapo.testing` checks the rest."""

import pytest
import references
import torch
from hypothesis import given
from loss_batches import gradient, inputs

from iapo.losses import ClippedPolicyLoss

LOSSES = [
    ClippedPolicyLoss(),
    ClippedPolicyLoss(aggregation="sequence", kl_coef=0.3),
    ClippedPolicyLoss(aggregation="constant", max_length=5, clip_low=0.1),
]


@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: loss.aggregation)
@given(tensors=inputs())
def test_against_the_loop(loss, tensors):
    output, _ = gradient(loss, tensors)
    lists = {name: value.tolist() for name, value in tensors.items()}
    expected = references.clipped_loss(
        lists["policy_logprobs"],
        lists["old_logprobs"],
        lists["ref_logprobs"],
        lists["advantages"],
        lists["loss_mask"],
        loss.clip_low,
        loss.clip_high,
        loss.kl_coef,
        loss.aggregation,
        loss.max_length,
    )
    assert output.loss.item() == pytest.approx(expected, abs=1e-10)


@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: loss.aggregation)
@given(tensors=inputs(dtype=torch.float32))
def test_micro_batches_add_up_in_fp32(loss, tensors):
    whole, expected = gradient(loss, tensors)
    denominator = loss.denominator(tensors["loss_mask"])
    parts = [
        gradient(loss, {name: value[i : i + 1] for name, value in tensors.items()}, denominator)
        for i in range(len(tensors["loss_mask"]))
    ]
    torch.testing.assert_close(torch.cat([g for _, g in parts]), expected, atol=1e-6, rtol=1e-6)
    for name in whole.metrics:
        assert float(sum(part.metrics[name] for part, _ in parts)) == pytest.approx(
            float(whole.metrics[name]), abs=1e-5
        )


def test_what_is_not_finite_inside_the_mask_is_named():
    tensors = {name: torch.zeros(3, 2) for name in ("policy_logprobs", "old_logprobs", "advantages")}
    tensors["old_logprobs"][1, 0] = torch.nan
    with pytest.raises(FloatingPointError, match=r"old_logprobs: NaN or infinite value in rows \[1\]"):
        ClippedPolicyLoss()(**tensors, loss_mask=torch.ones(3, 2, dtype=torch.bool), denominator=torch.ones(()))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"clip_low": 1.5}, "clip_low: got 1.5"),
        ({"clip_high": -0.1}, "clip_high: got -0.1"),
        ({"kl_coef": float("inf")}, "kl_coef: got inf"),
        ({"aggregation": "mean"}, "aggregation: got 'mean'"),
        ({"aggregation": "constant"}, "max_length: got None"),
        ({"max_length": 4}, "max_length: got 4"),
    ],
)
def test_bad_parameters_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        ClippedPolicyLoss(**arguments)


def test_a_penalty_without_a_reference_is_an_error():
    zero = torch.zeros(1, 1)
    with pytest.raises(ValueError, match="ref_logprobs: got None"):
        ClippedPolicyLoss(kl_coef=0.1)(zero, zero, zero, zero.bool().logical_not(), torch.ones(()))
