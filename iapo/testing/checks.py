"""Checks by name: how they run on a component, and their messages when a property does not hold."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

from iapo.ops.checks import named_kind


def _to_all(component: object) -> bool:
    return True


def named(component: object) -> str:
    """The name of a component in messages: its class, or the function or class that makes it."""
    return getattr(component, "__name__", type(component).__name__)


@dataclass(frozen=True)
class Check:
    """One property of a contract. Call it with a component.

    Args:
        name: of the property.
        run: raises ``AssertionError`` if the component does not have it.
        applies_to: whether the property means anything for a component.
        needs: what a component, or the options of its contract, must have for the property to mean anything.

    Raises:
        AssertionError: on a call: the component does not have the property, or raised an error of its own. The message
            names component, property, sizes and difference; hypothesis adds the example.
        ValueError: on a call: the check does not apply to the component.
    """

    name: str
    run: Callable[[Any], None]
    applies_to: Callable[[Any], bool] = _to_all
    needs: str = ""

    def __call__(self, component: object) -> None:
        """Check one component."""
        owner = named(component)
        if not self.applies_to(component):
            raise ValueError(f"{owner}: the check {self.name} does not apply, it needs {self.needs}")
        try:
            self.run(component)
        except AssertionError as error:
            error.args = (f"{owner}: {self.name}: {error}",)
            raise
        except Exception as error:
            raise AssertionError(f"{owner}: {self.name}: raised {type(error).__name__}: {error}") from error


def run_checks(component: object, checks: Sequence[Check], kind: type = object) -> dict[str, bool]:
    """Run those of ``checks`` that apply.

    Args:
        component: to be checked.
        checks: of its contract.
        kind: what it must be an object of.

    Returns:
        Whether each check applied, by name; all that did have passed.

    Raises:
        AssertionError: by the first check that fails.
        TypeError: the component is of another kind, such as a class in place of an object of it.
    """
    if not isinstance(component, kind):
        raise TypeError(f"got {named_kind(component)} to check, want an object of a subclass of iapo.{kind.__name__}")
    applied = {check.name: check.applies_to(component) for check in checks}
    for check in checks:
        if applied[check.name]:
            check(component)
    return applied


def for_all(examples: int, holds: Callable[..., None], *strategies: st.SearchStrategy) -> None:
    """Call ``holds`` with examples of the strategies, the same ones at every run; the first failure is raised.

    Whether a failing example is made smaller is up to hypothesis' profile in force.
    """
    chosen = settings(
        max_examples=examples,
        deadline=None,
        derandomize=True,
        database=None,
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
    )
    chosen(given(*strategies)(holds))()


@contextmanager
def seeded(seed: int = 0, device: torch.device | None = None) -> Iterator[None]:
    """Torch's generators start at ``seed`` inside; afterwards they continue as if nothing had been sampled inside.

    Args:
        seed: of the generators.
        device: its generator is seeded too, besides the CPU's.
    """
    if device is not None and device.type != "cpu":
        with torch.random.fork_rng(devices=[device], device_type=device.type):
            torch.manual_seed(seed)
            yield
        return
    # `torch.manual_seed` also notes the seed for devices not yet in use, a stack trace each time.
    state = torch.get_rng_state()
    torch.default_generator.manual_seed(seed)
    try:
        yield
    finally:
        torch.set_rng_state(state)


def assert_close(what: str, found: Tensor, expected: Tensor, atol: float, rtol: float = 0.0) -> None:
    """Raise unless ``|found - expected| <= atol + rtol * |expected|`` everywhere; NaN is never close.

    Args:
        what: begins the message.
        found: any shape.
        expected: the same shape.
        atol: absolute tolerance; 0 asks for equality.
        rtol: relative tolerance.
    """
    if found.shape != expected.shape:
        raise AssertionError(f"{what}: want shape {tuple(expected.shape)}, got {tuple(found.shape)}")
    found, expected = found.detach().double().cpu(), expected.detach().double().cpu()
    gap = torch.where(found == expected, 0.0, (found - expected).abs())
    excess = (gap - atol - rtol * expected.abs()).nan_to_num(torch.inf, torch.inf)
    if excess.numel() == 0 or not bool((excess > 0).any()):
        return
    worst = int(excess.argmax())
    index = tuple(int(i) for i in torch.unravel_index(torch.tensor(worst), found.shape))
    raise AssertionError(
        f"{what}: differs by {gap.flatten()[worst]:.3g} at {index} of {tuple(found.shape)}: got "
        f"{found.flatten()[worst]:.6g}, want {expected.flatten()[worst]:.6g} within {atol:g}"
        + (f" + {rtol:g} * |want|" if rtol else "")
    )


def assert_equal_masks(what: str, found: Tensor, expected: Tensor) -> None:
    """Raise unless two masks are equal; the message says where they first differ."""
    if found.shape != expected.shape:
        raise AssertionError(f"{what}: want shape {tuple(expected.shape)}, got {tuple(found.shape)}")
    if not torch.equal(found, expected):
        index = tuple((found != expected).nonzero()[0].tolist())
        raise AssertionError(f"{what}: got {bool(found[index])} at {index} of {tuple(found.shape)}")


def assert_finite(what: str, values: Tensor | Mapping[str, float | Tensor]) -> None:
    """Raise unless a tensor, or every metric of a component, is finite."""
    if isinstance(values, Tensor):
        if not bool(values.isfinite().all()):
            index = tuple((~values.isfinite()).nonzero()[0].tolist())
            raise AssertionError(f"{what}: got {float(values[index])} at {index} of {tuple(values.shape)}")
        return
    for name, value in values.items():
        assert_finite(f"{what} {name}", torch.as_tensor(value))
