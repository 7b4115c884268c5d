"""The contract of every assigner of advantages."""

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from hypothesis import strategies as st
from torch import Tensor, nn

from iapo.interfaces import AdvantageAssigner
from iapo.testing.checks import Check, assert_close, assert_equal_masks, assert_finite, for_all, run_checks, seeded
from iapo.testing.strategies import reward_batches
from iapo.types import ESTIMATED, OF_COMPLETIONS, AdvantageInputs, AdvantageOutput, TokenSignals

_SEEDS = st.integers(0, 2**16)
_SIGNALS = (*ESTIMATED, "policy_entropy", "policy_logprobs", "outcome_advantages")
"""The signals that an assigner can require and that have a number for each token or prefix."""


def check_advantage_assigner(assigner: AdvantageAssigner, **options: Any) -> dict[str, bool]:
    """Run every check of `AssignerContract` that applies.

    Args:
        assigner: called many times, on small batches.
        options: fields of `AssignerContract`.

    Returns:
        Whether each check applied, by name; all that did have passed.

    Raises:
        AssertionError: the assigner does not have a property; the message names it, the sizes and the difference.
        TypeError: ``assigner`` is no `iapo.AdvantageAssigner`, or a class.

    Example:
        >>> from iapo.advantages import GroupRelative
        >>> all(check_advantage_assigner(GroupRelative(), examples=3).values())
        True
    """
    return run_checks(assigner, assigner_checks(**options), AdvantageAssigner)


def assigner_checks(**options: Any) -> tuple[Check, ...]:
    """The checks of an assigner, each to be called with it. ``options``: fields of `AssignerContract`."""
    return AssignerContract(**options).checks()


@dataclass(frozen=True)
class AssignerContract:
    """The properties of an `iapo.AdvantageAssigner`.

    Torch's generators start at the same seed before each call, so that an assigner that samples is checked too, as far
    as a property means anything for it.

    Args:
        examples: batches tried, a check.
        tolerance: absolute and relative, of the order of operations in fp32.
        float64_tolerance: absolute and relative, of fp32 against fp64.
        groups_independent: ``False`` for an assigner that centers or scales over the batch.
        width_independent: ``False`` for an assigner whose statistics run over the padding.
        deterministic: ``False`` for an assigner that samples with torch's generator.
        ties: ``False`` for an assigner that chooses among completions of equal reward or length by their position.
        min_group: the fewest completions of a group.
        max_group: the most.
    """

    examples: int = 12
    tolerance: float = 1e-5
    float64_tolerance: float = 1e-3
    groups_independent: bool = True
    width_independent: bool = True
    deterministic: bool = True
    ties: bool = True
    min_group: int = 2
    max_group: int = 4

    def checks(self) -> tuple[Check, ...]:
        """All checks, in the order in which they are best read."""

        def steady(_: object) -> bool:
            return self.deterministic

        unsampled = "an assigner that samples nothing (deterministic)"
        return (
            Check("shape", self.shape),
            Check("loss_mask", self.loss_mask),
            Check("detached", self.detached),
            Check("inputs_untouched", self.inputs_untouched),
            Check("requires", self.requires),
            Check("wants_information", self.wants_information),
            Check("at", self.at),
            Check("masked_garbage", self.masked_garbage),
            Check(
                "padding",
                self.padding,
                lambda _: self.deterministic and self.width_independent,
                "deterministic, width_independent",
            ),
            Check("batch_order", self.batch_order, steady, unsampled),
            Check("group_labels", self.group_labels),
            Check(
                "groups_independent",
                self.groups_independently,
                lambda _: self.deterministic and self.groups_independent,
                "deterministic, groups_independent",
            ),
            Check("equal_rewards", self.equal_rewards),
            Check("empty_completions", self.empty_completions),
            Check("float64", self.float64),
        )

    def shape(self, assigner: AdvantageAssigner) -> None:
        """Advantages and loss mask have the completions' shape; advantages the rewards' dtype, fp32 at least."""

        def holds(batch: AdvantageInputs, dtype: torch.dtype) -> None:
            output = _assign(assigner, dataclasses.replace(batch, rewards=batch.rewards.to(dtype)))
            want = tuple(batch.completion_mask.shape)
            found = tuple(output.advantages.shape), tuple(output.loss_mask.shape)
            if found != (want, want):
                raise AssertionError(f"want advantages and loss mask of shape {want}, got {found[0]} and {found[1]}")
            if output.advantages.dtype != torch.float32:
                raise AssertionError(
                    f"want float32 for rewards in {dtype}, got {output.advantages.dtype}, sizes {want}"
                )

        self._for_all(holds, st.sampled_from([torch.float32, torch.bfloat16]))

    def loss_mask(self, assigner: AdvantageAssigner) -> None:
        """The loss mask is a subset of the completion mask, and advantages outside it are 0."""

        def holds(batch: AdvantageInputs) -> None:
            output = _assign(assigner, batch)
            beyond = output.loss_mask & ~batch.completion_mask
            assert_equal_masks("loss mask outside the completion mask", beyond, torch.zeros_like(beyond))
            outside = output.advantages.masked_fill(output.loss_mask, 0)
            assert_close("advantages outside the loss mask", outside, torch.zeros_like(outside), atol=0)

        self._for_all(holds)

    def detached(self, assigner: AdvantageAssigner) -> None:
        """Advantages carry no gradient, though rewards and signals do."""

        def holds(batch: AdvantageInputs) -> None:
            output = _assign(assigner, _mapped(batch, lambda _, values: values.clone().requires_grad_()))
            if output.advantages.requires_grad:
                raise AssertionError(f"advantages of sizes {tuple(output.advantages.shape)} carry a gradient")

        self._for_all(holds)

    def inputs_untouched(self, assigner: AdvantageAssigner) -> None:
        """Rewards, masks and signals do not change."""

        def holds(batch: AdvantageInputs) -> None:
            given, kept = _tensors(batch), {name: tensor.clone() for name, tensor in _tensors(batch).items()}
            _assign(assigner, batch)
            for name, tensor in given.items():
                assert_close(f"{name} after the call", tensor, kept[name], atol=0)

        self._for_all(holds)

    def requires(self, assigner: AdvantageAssigner) -> None:
        """Signals that are not required change nothing, given or not; each required one changes some advantage."""
        matter: set[str] = set()

        def holds(batch: AdvantageInputs, seed: int) -> None:
            expected = _assign(assigner, batch)
            generator = torch.Generator().manual_seed(seed)
            for name in (*_SIGNALS, "completion_ids", "reasoning_mask", *OF_COMPLETIONS):
                other: dict[str, Any] = {name: _other_values(batch, name, generator)}
                if name in assigner.requires:
                    found = _assign(assigner, _with_signals(batch, **other))
                    if not torch.equal(found.advantages, expected.advantages):
                        matter.add(name)
                    continue
                missing: dict[str, Any] = {name: None}
                if name in ESTIMATED and not assigner.requires_estimate:
                    other, missing = other | {"information_mask": None}, missing | {"information_mask": None}
                for what, signals in (("no", missing), ("another", other)):
                    found = _assign(assigner, _with_signals(batch, **signals))
                    _same(f"with {what} {name}, which is not required", found, expected, atol=0)

        self._for_all(holds, _SEEDS)
        if unread := sorted(set(assigner.requires) - matter):
            raise AssertionError(f"required {', '.join(unread)} changed no advantage in {self.examples} batches")

    def wants_information(self, assigner: AdvantageAssigner) -> None:
        """Information that is not wanted may be left out of the information mask, and no advantage changes."""

        def holds(batch: AdvantageInputs, garbage: float) -> None:
            with seeded():
                wanted = assigner.wants_information(dataclasses.replace(batch, signals=TokenSignals()))
            if wanted.shape != batch.rewards.shape or wanted.dtype != torch.bool:
                raise AssertionError(
                    f"want bool {tuple(batch.rewards.shape)}, got {wanted.dtype} {tuple(wanted.shape)}"
                )
            mask = batch.signals.information_mask
            measured = (batch.completion_mask if mask is None else mask) & wanted[:, None]
            some = _with_signals(batch, information_mask=measured)
            skipped = {
                name: getattr(some.signals, name).masked_fill(~some.read_at(name), garbage) for name in ESTIMATED
            }
            found = _assign(assigner, _with_signals(some, **skipped))
            what = f"with information estimated in rows {wanted.nonzero().flatten().tolist()} alone"
            _same(what, found, _assign(assigner, batch), atol=0)

        self._for_all(holds, st.sampled_from([torch.nan, 0.0]))

    def at(self, assigner: AdvantageAssigner) -> None:
        """At each moment of training it is an assigner, which requires no signal that it does not require before."""
        for progress in (0.0, 0.5, 1.0):
            found = assigner.at(progress)
            if not isinstance(found, AdvantageAssigner):
                raise AssertionError(f"at({progress}): want an iapo.AdvantageAssigner, got {type(found).__name__}")
            if further := sorted(found.requires - assigner.requires):
                raise AssertionError(f"at({progress}) requires {further} too, want only {sorted(assigner.requires)}")

    def masked_garbage(self, assigner: AdvantageAssigner) -> None:
        """The values of signals outside their masks, also NaN, change no bit of advantages and metrics."""

        def holds(batch: AdvantageInputs, garbage: float) -> None:
            def poison(name: str, values: Tensor) -> Tensor:
                return values if name == "rewards" else values.masked_fill(~batch.read_at(name), garbage)

            found, expected = _assign(assigner, _mapped(batch, poison)), _assign(assigner, batch)
            what = f"with {garbage} in masked slots of {tuple(batch.completion_mask.shape)}"
            _same(what, found, expected, atol=0)
            _same_metrics(what, found, expected, atol=0)

        self._for_all(holds, st.sampled_from([torch.nan, torch.inf, -1e30, 7.0]))

    def padding(self, assigner: AdvantageAssigner) -> None:
        """More padding changes neither advantages nor metrics, and gets advantage 0."""

        def holds(batch: AdvantageInputs, more: int) -> None:
            found, expected = _assign(assigner, _widened(batch, more)), _assign(assigner, batch)
            advantages, loss_mask = (
                nn.functional.pad(values, (0, more)) for values in (expected.advantages, expected.loss_mask)
            )
            what = f"with {more} more slots of padding"
            self._same(what, found, AdvantageOutput(advantages, loss_mask, {}))
            _same_metrics(what, found, expected, self.tolerance)

        self._for_all(holds, st.integers(1, 3))

    def batch_order(self, assigner: AdvantageAssigner) -> None:
        """Rows in other orders (sorted by group, reversed, any) have the same advantages and metrics."""

        def holds(batch: AdvantageInputs, seed: int) -> None:
            expected = _assign(assigner, batch)
            shuffled = torch.randperm(len(batch), generator=torch.Generator().manual_seed(seed))
            for order in (batch.group_ids.argsort(stable=True), torch.arange(len(batch)).flip(0), shuffled):
                found = _assign(assigner, batch.select(order))
                what = f"rows in the order {order.tolist()}"
                self._same(what, found, _select_output(expected, order))
                _same_metrics(what, found, expected, self.tolerance)

        self._for_all(holds, _SEEDS)

    def group_labels(self, assigner: AdvantageAssigner) -> None:
        """Other labels of the groups, in another order, change nothing."""

        def holds(batch: AdvantageInputs, seed: int) -> None:
            _, group = batch.group_ids.unique(return_inverse=True)
            labels = torch.randperm(1000, generator=torch.Generator().manual_seed(seed))[: int(group.max()) + 1]
            found = _assign(assigner, dataclasses.replace(batch, group_ids=labels[group]))
            self._same(f"with the group labels {labels.tolist()}", found, _assign(assigner, batch))

        self._for_all(holds, _SEEDS)

    def groups_independently(self, assigner: AdvantageAssigner) -> None:
        """A group has the same advantages by itself as in a batch with others."""

        def holds(batch: AdvantageInputs) -> None:
            whole = _assign(assigner, batch)
            for group in batch.group_ids.unique():
                rows = (batch.group_ids == group).nonzero().flatten()
                found = _assign(assigner, batch.select(rows))
                self._same(f"rows {rows.tolist()}, a group alone", found, _select_output(whole, rows))

        self._for_all(holds)

    def equal_rewards(self, assigner: AdvantageAssigner) -> None:
        """Equal rewards give finite advantages and metrics."""

        def holds(batch: AdvantageInputs, reward: float) -> None:
            output = _assign(assigner, dataclasses.replace(batch, rewards=torch.full_like(batch.rewards, reward)))
            _finite(f"with all rewards {reward}", output)

        self._for_all(holds, st.sampled_from([0.0, 0.1, 1.0, -3.0]))

    def empty_completions(self, assigner: AdvantageAssigner) -> None:
        """Completions without a token, one or all, leave everything finite and have nothing in the loss."""

        def holds(batch: AdvantageInputs, rows: slice) -> None:
            mask = batch.completion_mask.clone()
            mask[rows] = False
            masks = {name: getattr(batch.signals, name) for name in ("information_mask", "reasoning_mask")}
            cut = {name: each & mask for name, each in masks.items() if each is not None}
            signals = TokenSignals(**(vars(batch.signals) | cut))
            fewer = dataclasses.replace(batch, completion_mask=mask, signals=signals)
            emptied = _mapped(
                fewer,
                lambda name, values: values if name == "rewards" else values.masked_fill(~fewer.read_at(name), 0),
            )
            output = _assign(assigner, emptied)
            _finite("with completions without tokens", output)
            found = output.advantages[rows]
            assert_close("advantages of completions without tokens", found, torch.zeros_like(found), atol=0)

        self._for_all(holds, st.sampled_from([slice(0, 1), slice(None)]))

    def float64(self, assigner: AdvantageAssigner) -> None:
        """Rewards and signals in fp64 give the same as in fp32."""

        def holds(batch: AdvantageInputs) -> None:
            found, expected = _assign(assigner, batch), _assign(assigner, _mapped(batch, lambda _, v: v.double()))
            _same("in fp32 against fp64", found, expected, self.float64_tolerance)

        self._for_all(holds)

    def _same(self, what: str, found: AdvantageOutput, expected: AdvantageOutput) -> None:
        _same(what, found, expected, self.tolerance)

    def _for_all(self, holds: Any, *more: st.SearchStrategy) -> None:
        batches = reward_batches(min_group=self.min_group, max_group=self.max_group, ties=self.ties)
        for_all(self.examples, holds, batches, *more)


def _assign(assigner: AdvantageAssigner, batch: AdvantageInputs) -> AdvantageOutput:
    with seeded():
        return assigner(**vars(batch))


def _same(what: str, found: AdvantageOutput, expected: AdvantageOutput, atol: float) -> None:
    assert_equal_masks(f"{what}: loss mask", found.loss_mask, expected.loss_mask)
    assert_close(f"{what}: advantages", found.advantages, expected.advantages, atol, rtol=atol)


def _same_metrics(what: str, found: AdvantageOutput, expected: AdvantageOutput, atol: float) -> None:
    """The same names and values; NaN is the same as NaN."""
    if set(found.metrics) != set(expected.metrics):
        raise AssertionError(f"{what}: metrics are {sorted(found.metrics)}, want {sorted(expected.metrics)}")
    for name, value in expected.metrics.items():
        if not (math.isnan(value) and math.isnan(found.metrics[name])):
            assert_close(
                f"{what}, metric {name}", torch.tensor(found.metrics[name]), torch.tensor(value), atol, rtol=atol
            )


def _finite(what: str, output: AdvantageOutput) -> None:
    assert_finite(f"{what}: advantages", output.advantages)
    assert_finite(f"{what}: metric", output.metrics)


def _tensors(batch: AdvantageInputs) -> dict[str, Tensor]:
    own = {name: getattr(batch, name) for name in ("rewards", "correct", "group_ids", "completion_mask")}
    return own | {name: tensor for name, tensor in vars(batch.signals).items() if tensor is not None}


def _with_signals(batch: AdvantageInputs, **signals: Tensor | None) -> AdvantageInputs:
    return dataclasses.replace(batch, signals=TokenSignals(**(vars(batch.signals) | signals)))


def _other_values(batch: AdvantageInputs, name: str, generator: torch.Generator) -> Tensor:
    """Other values that a signal may have."""
    if name in OF_COMPLETIONS:
        return torch.rand(getattr(batch.signals, name).shape, generator=generator)
    where = batch.read_at(name)
    if name == "completion_ids":
        return torch.randint(0, 12, where.shape, generator=generator) * where
    if name == "reasoning_mask":
        return (torch.rand(where.shape, generator=generator) < 0.5) & where
    noise = -torch.rand(where.shape, generator=generator) * where
    return noise.abs() if name == "policy_entropy" else noise


def _mapped(batch: AdvantageInputs, change: Callable[[str, Tensor], Tensor]) -> AdvantageInputs:
    """Rewards and signals replaced by ``change(name, values)``."""
    signals = {name: change(name, values) for name in _SIGNALS if (values := getattr(batch.signals, name)) is not None}
    return _with_signals(dataclasses.replace(batch, rewards=change("rewards", batch.rewards)), **signals)


def _select_output(output: AdvantageOutput, rows: Tensor) -> AdvantageOutput:
    return AdvantageOutput(output.advantages[rows], output.loss_mask[rows], output.metrics)


def _widened(batch: AdvantageInputs, more: int) -> AdvantageInputs:
    signals = {
        name: values if values is None or name in OF_COMPLETIONS else nn.functional.pad(values, (0, more))
        for name, values in vars(batch.signals).items()
    }
    mask = nn.functional.pad(batch.completion_mask, (0, more))
    return AdvantageInputs(batch.rewards, batch.correct, batch.group_ids, mask, TokenSignals(**signals))
