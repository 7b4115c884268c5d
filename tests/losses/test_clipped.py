"""The clipped loss against a double loop, its gradient identities, and exact accumulation."""

import pytest
import references
import torch
from hypothesis import given
from hypothesis import strategies as st
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


@given(tensors=inputs())
def test_at_ratio_one_it_is_reinforce(tensors):
    tensors["old_logprobs"] = tensors["policy_logprobs"].detach()
    tensors["ref_logprobs"] = None
    _, found = gradient(ClippedPolicyLoss(), tensors)
    expected = -tensors["advantages"] * tensors["loss_mask"] / max(1, int(tensors["loss_mask"].sum()))
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: loss.aggregation)
@pytest.mark.parametrize(("dtype", "limit"), [(torch.float64, 1e-12), (torch.float32, 1e-6)])
@given(data=st.data())
def test_micro_batches_add_up_to_the_whole(loss, dtype, limit, data):
    tensors = data.draw(inputs(dtype=dtype))
    whole, expected = gradient(loss, tensors)
    denominator = loss.denominator(tensors["loss_mask"])
    parts = [
        gradient(loss, {name: value[i : i + 1] for name, value in tensors.items()}, denominator)
        for i in range(len(tensors["loss_mask"]))
    ]
    torch.testing.assert_close(torch.cat([g for _, g in parts]), expected, atol=limit, rtol=limit)
    for name in whole.metrics:
        assert float(sum(part.metrics[name] for part, _ in parts)) == pytest.approx(
            float(whole.metrics[name]), abs=1e-5
        )


@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: loss.aggregation)
@pytest.mark.parametrize("poison", [torch.nan, torch.inf, -torch.inf, 1e30])
@given(tensors=inputs())
def test_masked_garbage_changes_no_bit(loss, poison, tensors):
    clean, expected = gradient(loss, tensors)
    mask = tensors["loss_mask"]
    poisoned = {
        name: value if name == "loss_mask" else value.detach().masked_fill(~mask, poison)
        for name, value in tensors.items()
    }
    found, bits = gradient(loss, poisoned)
    assert torch.equal(found.loss, clean.loss)
    assert torch.equal(bits, expected)


@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: loss.aggregation)
def test_an_empty_mask_gives_exactly_zero(loss):
    ones = torch.ones(2, 3)
    tensors = dict.fromkeys(("policy_logprobs", "old_logprobs", "advantages", "ref_logprobs"), ones)
    output, grad = gradient(loss, tensors | {"loss_mask": torch.zeros(2, 3, dtype=torch.bool)})
    assert output.loss.item() == 0
    assert not grad.any()


def test_a_ratio_that_would_overflow_stays_finite():
    one = torch.ones(1, 1)
    tensors = {"policy_logprobs": 0 * one, "old_logprobs": -500 * one, "ref_logprobs": 500 * one}
    tensors |= {"advantages": -one, "loss_mask": one.bool()}
    output, grad = gradient(ClippedPolicyLoss(kl_coef=0.1), tensors)
    assert output.loss.isfinite()
    assert grad.isfinite().all()


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
