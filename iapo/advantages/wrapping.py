"""What assigners that wrap another one have in common."""

import dataclasses
from typing import Any

from jaxtyping import Bool, Float
from torch import Tensor

from iapo.interfaces import AdvantageAssigner
from iapo.types import AdvantageInputs, AdvantageOutput


class WrappingAssigner(AdvantageAssigner):
    """Base of assigners that change what another one, their ``outcome``, assigns.

    A subclass is a frozen dataclass with a field ``outcome`` (declared by the subclass, which decides its position and
    its default) and implements `assign`. What the outcome requires, the completions whose information it wants, and
    the schedules of its weights are passed on. A subclass that reads signals itself adds to `requires` and to
    `wants_information`; one with schedules or parts of its own implements `own_fields_at`.

    Example:
        >>> from dataclasses import dataclass
        >>> import torch
        >>> from iapo.advantages import InformationAware
        >>> @dataclass(frozen=True)
        ... class Halved(WrappingAssigner):
        ...     outcome: AdvantageAssigner
        ...
        ...     def assign(self, inputs):
        ...         output = self.assign_outcome(inputs)
        ...         return AdvantageOutput(output.advantages / 2, output.loss_mask, output.metrics)
        >>> sorted(Halved(InformationAware()).requires)
        ['information']
    """

    outcome: AdvantageAssigner

    @property
    def requires(self) -> frozenset[str]:
        """The outcome's signals."""
        return self.outcome.requires

    def wants_information(self, inputs: AdvantageInputs) -> Bool[Tensor, " batch"]:
        """The completions whose information the outcome reads."""
        return self.outcome.wants_information(inputs)

    def at(self, progress: float) -> AdvantageAssigner:
        """The assigner with the outcome's weights, and its own, at a moment of training.

        Raises:
            TypeError: a subclass that is no dataclass, of which there is no copy with another outcome.
        """
        if not dataclasses.is_dataclass(self):
            raise TypeError(f"{type(self).__name__}: want a dataclass (@dataclass(frozen=True)) with the field outcome")
        changed = {"outcome": self.outcome.at(progress), **self.own_fields_at(progress)}
        return dataclasses.replace(self, **changed)

    def own_fields_at(self, progress: float) -> dict[str, Any]:
        """Hook: the fields besides ``outcome`` that have another value at a moment of training, by name; none."""
        return {}

    def assign_outcome(self, inputs: AdvantageInputs) -> AdvantageOutput:
        """What the outcome assigns, checked."""
        return self.outcome(**vars(inputs))


def add_term(output: AdvantageOutput, name: str, term: Float[Tensor, "batch token"]) -> AdvantageOutput:
    """An output with one term more: it is added to the advantages and stands among their terms.

    Args:
        output: an output that was not split into terms counts as one, ``outcome``.
        name: of the new term.
        term: of each token; it counts inside the loss mask only.
    """
    term = term.to(output.advantages.dtype).masked_fill(~output.loss_mask, 0)
    terms = {**(output.terms or {"outcome": output.advantages}), name: term}
    return dataclasses.replace(output, advantages=output.advantages + term, terms=terms)
