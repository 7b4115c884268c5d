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


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: evaluation.pass_at_k(torch.tensor([5]), 4, 2), r"right: got \[5\]"),
        (lambda: evaluation.pass_at_k(torch.tensor([-1]), 4, 2), r"right: got \[-1\]"),
        (lambda: evaluation.interval(ROW[:0, 0]), "values: got none"),
        (lambda: evaluation.default_budgets(IDS[:0]), "reasoning_lengths: got none"),
        (lambda: advantages.information_to_go(ROW, FULL, 1.5), "discount: got 1.5"),
        (lambda: advantages.information_to_go(ROW, FULL, 0.5, -1), "horizon: got -1"),
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
