"""Matrix multiplication by oneDNN: the same numbers, only where it pays, and nothing else touched."""

from contextlib import nullcontext

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from models import tiny_model
from ragged_rollouts import rollout as ragged_rollout
from tolerances import rounding
from torch import nn
from torch.nn.functional import linear
from torch.utils._python_dispatch import TorchDispatchMode

from iapo.estimators import AnswerLikelihood, EarlyExitEntropy
from iapo.estimators.packed import matmul
from iapo.estimators.packed.matmul import fast_matmul

MKL_LAGS_BEHIND = matmul._mkl_lags_behind
WEIGHT = torch.randn(512, 512, generator=torch.Generator().manual_seed(0))

pytestmark = pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="a PyTorch without oneDNN")


class Calls(TorchDispatchMode):
    """Counts the matrix multiplications that oneDNN was given."""

    count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.count += func is torch.ops.mkldnn._linear_pointwise.default
        return func(*args, **(kwargs or {}))


@pytest.fixture(autouse=True)
def such_a_processor(monkeypatch):
    monkeypatch.setattr(matmul, "_mkl_lags_behind", lambda: True)


def large() -> nn.Module:
    return nn.Linear(512, 512)


@given(
    batch=st.lists(st.integers(1, 4), max_size=2),
    rows=st.integers(128, 400),
    features=st.sampled_from([512, 640]),
    outputs=st.integers(512, 700),
    bias=st.booleans(),
    seed=st.integers(0, 9),
)
@settings(max_examples=25, deadline=None)
def test_numbers_are_those_of_float64(batch, rows, features, outputs, bias, seed):
    generator = torch.Generator().manual_seed(seed)
    x, weight, b = (
        torch.randn(*shape, generator=generator)
        for shape in ((*batch, rows, features), (outputs, features), (outputs,))
    )
    terms = (x, weight, b) if bias else (x, weight)
    with torch.no_grad(), Calls() as calls, fast_matmul(large()):
        found = linear(*terms)
    assert calls.count == 1
    away = (found.double() - linear(*(each.double() for each in terms))).abs()
    assert (away <= torch.finfo(torch.float32).eps * features**0.5 * linear(*(each.abs() for each in terms))).all()


@pytest.mark.parametrize(
    ("x", "weight", "context"),
    [
        pytest.param(torch.ones(128, 512, requires_grad=True), WEIGHT, torch.enable_grad(), id="gradient"),
        pytest.param(torch.ones(128, 512), WEIGHT, torch.autocast("cpu", torch.bfloat16), id="autocast"),
        pytest.param(torch.ones(128, 512).bfloat16(), WEIGHT.bfloat16(), nullcontext(), id="bf16"),
        pytest.param(torch.ones(128, 512).double(), WEIGHT.double(), nullcontext(), id="fp64"),
        pytest.param(torch.ones(127, 512), WEIGHT, nullcontext(), id="small"),
        pytest.param(torch.ones(128, 512, device="meta"), WEIGHT.to("meta"), nullcontext(), id="other device"),
    ],
)
def test_all_else_is_left_as_it_is(x, weight, context):
    with torch.no_grad(), context:
        expected = linear(x, weight)
        with Calls() as calls, fast_matmul(large()):
            found = linear(x, weight)
    assert calls.count == 0
    assert (found.dtype, found.device, found.requires_grad) == (expected.dtype, expected.device, expected.requires_grad)
    if not found.is_meta:
        assert torch.equal(found, expected)


class Subclass(torch.Tensor):
    """As DTensor is one."""


def test_a_tensor_of_another_class_keeps_its_own_matmul():
    with torch.no_grad(), Calls() as calls, fast_matmul(large()):
        found = linear(torch.ones(128, 512), WEIGHT.as_subclass(Subclass))
    assert calls.count == 0
    assert isinstance(found, Subclass)


def test_nothing_is_intercepted_elsewhere(monkeypatch):
    x = torch.ones(128, 512)
    with torch.no_grad(), Calls() as calls:
        with pytest.raises(KeyError), fast_matmul(large()):
            raise KeyError
        linear(x, WEIGHT)
        with fast_matmul(nn.Linear(511, 512)):  # a model whose weights are all small
            linear(x, WEIGHT)
        monkeypatch.setattr(matmul, "_mkl_lags_behind", lambda: False)
        with fast_matmul(large()):
            linear(x, WEIGHT)
    assert calls.count == 0


@pytest.mark.parametrize(
    ("missing", "capability", "cpu", "lags"),
    [
        ("", "AVX512", "vendor_id\t: AuthenticAMD\n", True),
        ("", "AVX512", "vendor_id\t: GenuineIntel\n", False),
        ("", "AVX2", "vendor_id\t: AuthenticAMD\n", False),
        ("mkl", "AVX512", "vendor_id\t: AuthenticAMD\n", False),
        ("mkldnn", "AVX512", "vendor_id\t: AuthenticAMD\n", False),
        ("", "AVX512", None, False),
    ],
)
def test_which_processors_mkl_leaves_at_half_their_width(monkeypatch, tmp_path, missing, capability, cpu, lags):
    if cpu is not None:
        (tmp_path / "cpuinfo").write_text(cpu)
    for library in ("mkl", "mkldnn"):
        monkeypatch.setattr(getattr(torch.backends, library), "is_available", lambda there=library != missing: there)
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    monkeypatch.setattr(matmul, "Path", lambda name: {"/proc/cpuinfo": tmp_path / "cpuinfo"}[name])
    assert MKL_LAGS_BEHIND.__wrapped__() is lags


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("estimator", [EarlyExitEntropy((5, 6)), AnswerLikelihood((5, 6), (7,))])
def test_probes_of_a_model_of_some_size_go_by_them(estimator, compiled, monkeypatch):
    model = tiny_model("llama", heads=64)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(0.25 if parameter.ndim > 1 else 1)  # for probes of a few nats
    rollout = ragged_rollout()
    monkeypatch.setattr(matmul, "_mkl_lags_behind", lambda: False)
    with Calls() as calls:
        expected = estimator.probe(model, rollout)
    assert calls.count == 0
    monkeypatch.setattr(matmul, "_mkl_lags_behind", lambda: True)
    monkeypatch.setattr(matmul, "_PAYING_MATMUL", 1)
    with Calls() as calls:
        found = estimator.probe(torch.compile(model, backend="eager") if compiled else model, rollout)
    assert calls.count > 0
    assert not torch.equal(found, expected)
    torch.testing.assert_close(found, expected, atol=rounding(model, expected), rtol=0)
