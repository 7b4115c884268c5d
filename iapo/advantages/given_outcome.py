"""Advantages of the outcome that another part has assigned already."""

from dataclasses import dataclass

from iapo.interfaces import AdvantageAssigner
from iapo.types import AdvantageInputs, AdvantageOutput


@dataclass(frozen=True)
class GivenOutcome(AdvantageAssigner):
    """``A_t = signals.outcome_advantages_t``: those that an engine computed, so that others can add terms to them.

    ``InformationAware(GivenOutcome())`` adds its terms to whatever the engine makes of the rewards. The rewards that it
    is called with then say nothing but which completions are correct.

    *Degenerate cases.* None: rewards and groups are not read. Values outside the completion mask are not either.

    Example:
        >>> import torch
        >>> from iapo import TokenSignals
        >>> given = TokenSignals(outcome_advantages=torch.tensor([[0.5, 0.5], [-0.5, 0.0]]))
        >>> mask = torch.tensor([[True, True], [True, False]])
        >>> GivenOutcome()(torch.zeros(2), torch.tensor([0, 0]), mask, given).advantages.tolist()
        [[0.5, 0.5], [-0.5, 0.0]]
    """

    @property
    def requires(self) -> frozenset[str]:
        """The given advantages."""
        return frozenset({"outcome_advantages"})

    def assign(self, inputs: AdvantageInputs) -> AdvantageOutput:
        """The given advantages; every token is in the loss."""
        given = inputs.signals.outcome_advantages
        assert given is not None
        return AdvantageOutput(given.masked_fill(~inputs.completion_mask, 0), inputs.completion_mask, {})
