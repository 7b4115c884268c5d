"""What credit rules that read the curve of prefix values have in common."""

import torch
from jaxtyping import Bool
from torch import Tensor

from iapo.advantages.steps import Ids, read_by
from iapo.advantages.wrapping import WrappingAssigner
from iapo.types import AdvantageInputs


class PrefixRule(WrappingAssigner):
    """Base of rules that change what another assigner, their ``outcome``, assigns, by the curve of prefix values.

    A subclass is a frozen dataclass with a field ``outcome`` and implements `assign`. One that reads the curves of some
    completions only implements `applies`: the others are not probed for it. One that goes by steps has a field
    ``after_ids``, the tokens that end them.
    """

    after_ids: Ids = ()

    @property
    def requires(self) -> frozenset[str]:
        """The outcome's signals, the prefix values, and the token ids if they say where steps end."""
        return self.outcome.requires | {"prefix_values"} | read_by(self.after_ids)

    def wants_information(self, inputs: AdvantageInputs) -> Bool[Tensor, " batch"]:
        """The completions that the rule applies to, and those whose information the outcome reads."""
        wanted = self.applies(inputs)
        return wanted | self.outcome.wants_information(inputs) if self.outcome.requires_estimate else wanted

    def applies(self, inputs: AdvantageInputs) -> Bool[Tensor, " batch"]:
        """Hook: the completions whose curves the rule reads; all."""
        return torch.ones_like(inputs.correct)
