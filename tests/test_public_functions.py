"""Functions of tensors that a user may call by themselves: what has no meaning is an error, not another number."""

import inspect
import math

import jaxtyping
import pytest
import torch

from iapo import advantages, diagnostics, evaluation, losses, policy
from iapo.advantages import shaping

ROW = torch.full((3, 4), -1.0)
FULL = torch.ones(3, 4, dtype=torch.bool)
IDS = torch.tensor([0, 0, 1])
SHORT = torch.arange(4) < torch.tensor([4, 2, 3])[:, None]
WRONG = ROW.masked_fill(torch.arange(12).view(3, 4) == 5, math.nan)


UNCHECKED = {"accuracy_at_budgets"}
"""Takes sequences, of which beartype would draw an entry to check with Python's random numbers, in an evaluation."""


def takes_tensors(function):
    return any(
        isinstance(each.annotation, type) and issubclass(each.annotation, jaxtyping.AbstractArray)
        for each in inspect.signature(function).parameters.values()
    )


@pytest.mark.parametrize("package", [advantages, shaping, diagnostics, evaluation, losses, policy])
def test_the_shapes_of_every_public_function_are_checked(package):
    functions = {name: getattr(package, name) for name in package.__all__}
    taking = [name for name, each in functions.items() if inspect.isfunction(each) and takes_tensors(each)]
    unchecked = [name for name in taking if name not in UNCHECKED and not hasattr(functions[name], "__wrapped__")]
    assert not unchecked, f"{package.__name__}: {', '.join(unchecked)} without shape_checked"


@pytest.mark.parametrize(
    "call",
    [
        pytest.param(lambda: losses.log_ratio(ROW[:, :1], ROW[0]), id="log_ratio"),
        pytest.param(lambda: losses.truncated_ratio(ROW, ROW[:1], 2.0), id="truncated_ratio"),
        pytest.param(lambda: losses.clipped_surrogate(ROW, ROW[0], 0.2, 0.2), id="clipped_surrogate"),
        pytest.param(lambda: losses.kl_estimate(ROW, "k9"), id="kl_estimate"),
        pytest.param(lambda: losses.with_advantages(ROW, FULL[0]), id="with_advantages"),
        pytest.param(lambda: losses.ClippedPolicyLoss().denominator(FULL.long()), id="token denominator"),
        pytest.param(lambda: losses.GSPO().denominator(FULL[None]), id="sequence denominator"),
        pytest.param(lambda: advantages.information_to_go(ROW, FULL[0], 0.9), id="information_to_go"),
        pytest.param(lambda: shaping.laser_targets(ROW[:, 0], IDS, IDS, (4,), 1), id="laser_targets"),
        pytest.param(lambda: evaluation.pass_at_k(torch.tensor([0.5]), 4, 2), id="pass_at_k"),
        pytest.param(lambda: evaluation.interval(ROW[:, 0], ROW[:1, 0]), id="interval"),
    ],
)
def test_what_would_broadcast_or_is_of_another_kind_is_refused(call):
    with pytest.raises(jaxtyping.TypeCheckError):
        call()


ELSEWHERE = torch.device("meta")
CALLS = {
    advantages.information_to_go: {"information": ROW, "mask": FULL, "discount": 0.9},
    shaping.laser_targets: {
        "correct": FULL[:, 0],
        "group_ids": IDS,
        "lengths": IDS,
        "thresholds": (4,),
        "expected_correct": 1,
    },
    losses.clipped_surrogate: {"log_ratio": ROW, "advantages": ROW, "clip_low": 0.2, "clip_high": 0.2},
    losses.log_ratio: {"policy_logprobs": ROW, "other_logprobs": ROW},
    losses.truncated_ratio: {"old_logprobs": ROW, "sampler_logprobs": ROW, "cap": 2.0},
    losses.with_advantages: {"advantages": ROW, "loss_mask": FULL},
    diagnostics.entropy_by_correctness: {
        "policy_entropy": ROW,
        "completion_mask": FULL,
        "group_ids": IDS,
        "correct": FULL[:, 0],
    },
    diagnostics.group_covariances: {"first": ROW[:, 0], "second": ROW[:, 0], "group_ids": IDS},
    diagnostics.information_slope: {
        "information": ROW,
        "information_mask": FULL,
        "completion_mask": FULL,
        "group_ids": IDS,
    },
    diagnostics.information_by_class: {
        "information": ROW,
        "information_mask": FULL,
        "completion_mask": FULL,
        "group_ids": IDS,
        "labels": [["a"] * 4] * 3,
    },
    diagnostics.length_change: {
        "logprobs_before": ROW,
        "logprobs_after": ROW,
        "completion_mask": FULL,
        "group_ids": IDS,
    },
    diagnostics.loss_pull: {"loss": losses.ClippedPolicyLoss(), "advantages": ROW, "loss_mask": FULL},
    diagnostics.ratio_of_sums: {"numerators": ROW[:, 0], "denominators": -ROW[:, 0]},
    diagnostics.realized_length_change: {
        "before": FULL,
        "group_ids_before": IDS,
        "after": FULL,
        "group_ids_after": IDS,
    },
    diagnostics.sum_by_group: {"values": ROW[:, 0], "group_ids": IDS},
    evaluation.interval: {"values": ROW[:, 0], "divisors": -ROW[:, 0]},
    policy.token_logprobs: {"logits": ROW, "ids": IDS},
}
ALONE = {"kl_estimate", "default_budgets", "pass_at_k", "entropy"}
"""Functions of one tensor."""


def test_every_public_function_of_several_tensors_is_called_with_tensors_on_several_devices():
    packages = [advantages, shaping, diagnostics, evaluation, losses, policy]
    functions = {name: getattr(package, name) for package in packages for name in package.__all__}
    taking = {name for name, each in functions.items() if inspect.isfunction(each) and takes_tensors(each)}
    assert {each.__name__ for each in CALLS} == taking - ALONE - UNCHECKED


@pytest.mark.parametrize(
    ("function", "name"),
    [(function, name) for function, given in CALLS.items() for name, each in given.items() if torch.is_tensor(each)],
)
def test_tensors_on_several_devices_are_named(function, name):
    """Before any kernel, which would name neither argument nor function, or give a tensor without values."""
    given = CALLS[function]
    function(**given)
    moved = {**given, name: given[name].to(ELSEWHERE)}
    with pytest.raises(ValueError, match=rf"{function.__name__}: all tensors .* one device.*{name} on meta"):
        function(**moved)
    with pytest.raises(ValueError, match=rf"{function.__name__}: .*{name} on meta"):
        function(*moved.values())


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: evaluation.pass_at_k(torch.tensor([5]), 4, 2), r"right: got \[5\]"),
        (lambda: evaluation.pass_at_k(torch.tensor([-1]), 4, 2), r"right: got \[-1\]"),
        (lambda: evaluation.interval(ROW[:0, 0]), "values: got none"),
        (lambda: evaluation.default_budgets(IDS[:0]), "reasoning_lengths: got none"),
        (lambda: advantages.information_to_go(ROW, FULL, 1.5), "discount: got 1.5"),
        (lambda: losses.truncated_ratio(ROW, ROW, math.nan), "cap: got nan"),
        (lambda: diagnostics.ratio_of_sums(ROW[0], ROW[0]), "denominators: got -1.0"),
        *((lambda each=each: policy.entropy(ROW, each), f"temperature: got {each}") for each in (0.0, -1.0, math.nan)),
        (lambda: policy.token_logprobs(ROW, IDS, -1.0), "temperature: got -1.0"),
    ],
)
def test_what_has_no_meaning_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda: diagnostics.information_slope(WRONG, SHORT, SHORT, IDS), "information"),
        (
            lambda: diagnostics.information_by_class(WRONG, SHORT, SHORT, IDS, [["a"] * 4, ["b"] * 2, ["a"] * 3]),
            "infor",
        ),
        (lambda: diagnostics.entropy_by_correctness(WRONG, SHORT, IDS, SHORT[:, 2]), "policy_entropy"),
        (lambda: diagnostics.ratio_of_sums(ROW[0], WRONG[1].abs()), "denominators"),
        (lambda: diagnostics.ratio_of_sums(WRONG[1], ROW[0].abs()), "numerators"),
        (lambda: evaluation.interval(WRONG[1]), "values"),
        (lambda: evaluation.interval(ROW[1], WRONG[1]), "divisors"),
    ],
)
def test_what_is_not_finite_is_named(call, name):
    with pytest.raises(FloatingPointError, match=f"^{name}.*: NaN or infinite value"):
        call()
