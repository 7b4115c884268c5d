"""The clipped loss against a double loop, its metrics, and what it refuses; `iapo.testing` checks the rest."""

import pytest
import references
import torch
from hypothesis import given
from loss_batches import gradient, inputs

from iapo.losses import ClippedPolicyLoss, kl_estimate

LOSSES = [
    ClippedPolicyLoss(),
    ClippedPolicyLoss(aggregation="sequence", kl_coef=0.3),
    ClippedPolicyLoss(aggregation="constant", max_length=5, clip_low=0.1),
]
VARIANTS = [
    ClippedPolicyLoss(dual_clip=1.4),
    ClippedPolicyLoss(kl_coef=0.3, kl_estimator="k1"),
    ClippedPolicyLoss(kl_coef=0.3, kl_estimator="k2"),
]


CORRECTED = [
    ClippedPolicyLoss(sampler_ratio_cap=1.2),
    ClippedPolicyLoss(sampler_ratio_cap=0.8, aggregation="sequence", kl_coef=0.3, dual_clip=1.4),
]


@pytest.mark.parametrize("loss", [*LOSSES, *VARIANTS, *CORRECTED])
@given(tensors=inputs())
def test_against_the_loop(loss, tensors):
    tensors = tensors | {"sampler_logprobs": tensors["old_logprobs"] + tensors["advantages"].flip(0) / 3}
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
        loss.dual_clip,
        loss.kl_estimator,
        lists["sampler_logprobs"],
        loss.sampler_ratio_cap,
    )
    assert output.loss.item() == pytest.approx(expected, abs=1e-10)


def of_one_row(loss, log_ratios, advantages):
    """Output and gradient for one completion."""
    policy = torch.tensor([log_ratios], dtype=torch.float64)
    tensors = {"policy_logprobs": policy, "old_logprobs": 0 * policy, "loss_mask": torch.ones_like(policy).bool()}
    return gradient(loss, tensors | {"advantages": torch.tensor([advantages], dtype=torch.float64)})


@pytest.mark.parametrize("loss", [ClippedPolicyLoss(0.2, 0.28), ClippedPolicyLoss(0.2, 0.28, dual_clip=3.0)])
def test_clip_shares_count_what_lost_its_gradient(loss):
    """Ratios below the range count where the advantage is negative, ratios above it where it is positive."""
    output, slope = of_one_row(loss, [-1.0] * 3 + [1.0] * 4, [-0.5, 0.5, 0.0, 0.5, 0.5, -0.5, 0.0])
    shares = {name.split("/")[1]: value.item() for name, value in output.metrics.items()}
    expected = {"low_mean": 1 / 7, "high_mean": 2 / 7, "region_mean": 3 / 7}
    if loss.dual_clip:
        expected["dual_mean"] = 0.0
    assert shares == pytest.approx(expected)
    assert (slope[0] == 0).tolist() == [True, False, True, True, True, False, True]


def test_dual_clip_bounds_the_loss_of_bad_tokens():
    """By hand: beyond a ratio of 3 a token of advantage -2 costs 6 and has no gradient; others are as without."""
    ratios = torch.tensor([2.0, 4.0, 4.0]).double().log().tolist()
    output, slope = of_one_row(ClippedPolicyLoss(dual_clip=3.0), ratios, [-2.0, -2.0, 1.0])
    assert output.loss.item() == pytest.approx((2 * 2 + 3 * 2 - 1.28) / 3)
    assert slope[0].tolist() == pytest.approx([4 / 3, 0.0, 0.0])
    assert output.metrics["clip_ratio/dual_mean"].item() == pytest.approx(1 / 3)
    assert "clip_ratio/dual_mean" not in of_one_row(ClippedPolicyLoss(), ratios, [-2.0, -2.0, 1.0])[0].metrics


@pytest.mark.parametrize(("estimator", "kl"), [("k1", 0.5), ("k2", 0.125), ("k3", 0.5 + 2.718281828459045**-0.5 - 1)])
def test_kl_estimators_at_a_token(estimator, kl):
    log_ratio = torch.tensor([[0.5]], dtype=torch.float64)
    assert kl_estimate(log_ratio, estimator).item() == pytest.approx(kl, abs=1e-12)
    assert not kl_estimate(torch.zeros(1, 2), estimator).any()


def test_kl_estimates_and_their_gradients_in_expectation():
    """What the table of `kl_estimate` says, summed over a vocabulary of five."""
    generator = torch.Generator().manual_seed(0)
    logits, other = torch.randn(2, 5, generator=generator, dtype=torch.float64).unbind()
    logits.requires_grad_()
    policy, reference = logits.log_softmax(0), other.log_softmax(0)
    probabilities = policy.exp()
    reverse = (probabilities * (policy - reference)).sum()
    forward = (reference.exp() * (reference - policy)).sum()

    def slope(value):
        return torch.autograd.grad(value, logits, retain_graph=True)[0]

    expected = {"k1": 0 * slope(reverse), "k2": slope(reverse), "k3": slope(forward)}
    for estimator, gradients in expected.items():
        estimates = kl_estimate((policy - reference)[None], estimator)[0]
        if estimator != "k2":
            torch.testing.assert_close((probabilities * estimates).sum(), reverse)
        torch.testing.assert_close(slope((probabilities.detach() * estimates).sum()), gradients, atol=1e-12, rtol=1e-9)


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
        ({"clip_high": None}, "clip_high: got None"),
        ({"kl_coef": "0.1"}, "kl_coef: got '0.1'"),
        ({"kl_coef": float("inf")}, "kl_coef: got inf"),
        ({"aggregation": "mean"}, "aggregation: got 'mean'"),
        ({"aggregation": "constant"}, "max_length: got None"),
        ({"max_length": 4}, "max_length: got 4"),
        ({"dual_clip": 1.0}, "dual_clip: got 1.0"),
        ({"kl_estimator": "k4"}, "kl_estimator: got 'k4'"),
    ],
)
def test_bad_parameters_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        ClippedPolicyLoss(**arguments)


def test_a_penalty_without_a_reference_is_an_error():
    zero = torch.zeros(1, 1)
    with pytest.raises(ValueError, match="ref_logprobs: got None"):
        ClippedPolicyLoss(kl_coef=0.1)(zero, zero, zero, zero.bool().logical_not(), torch.ones(()))


def test_weights_against_the_sampler_by_hand():
    """At ratio 1: a token that the sampler held too likely counts less, one that it held too unlikely twice at most."""
    old = torch.tensor([[-1.0, -1.0, -1.0]], dtype=torch.float64)
    gaps = torch.tensor([[0.0, torch.tensor(0.5).log(), torch.tensor(8.0).log()]], dtype=torch.float64)
    tensors = {
        "policy_logprobs": old,
        "old_logprobs": old,
        "sampler_logprobs": old - gaps,
        "advantages": torch.ones_like(old),
        "loss_mask": torch.ones_like(old, dtype=torch.bool),
    }
    output, slope = gradient(ClippedPolicyLoss(sampler_ratio_cap=2.0), tensors)
    assert (-3 * slope[0]).tolist() == pytest.approx([1.0, 0.5, 2.0])
    assert output.metrics["sampling/importance_sampling_ratio/mean"].item() == pytest.approx(3.5 / 3)
    assert output.metrics["sampling/importance_sampling_ratio/capped"].item() == pytest.approx(1 / 3)
    plain, slope = gradient(ClippedPolicyLoss(), tensors)
    assert (-3 * slope[0]).tolist() == pytest.approx([1.0, 1.0, 1.0])
    assert "sampling/importance_sampling_ratio/mean" not in plain.metrics


def test_a_sampler_without_log_probabilities_is_refused():
    tensors = {name: torch.zeros(1, 2) for name in ("policy_logprobs", "old_logprobs", "advantages")}
    with pytest.raises(ValueError, match=r"sampler_logprobs: got None, wanted because sampler_ratio_cap is 2.0"):
        gradient(ClippedPolicyLoss(sampler_ratio_cap=2.0), tensors | {"loss_mask": torch.ones(1, 2).bool()})


@pytest.mark.parametrize("cap", [0.0, -1.0, float("inf"), float("nan")])
def test_caps_out_of_range(cap):
    with pytest.raises(ValueError, match="sampler_ratio_cap: got"):
        ClippedPolicyLoss(sampler_ratio_cap=cap)
