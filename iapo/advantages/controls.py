"""Controls for methods that use information: the same assigner, with information that tells nothing of the tokens."""

import dataclasses
from abc import abstractmethod
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from iapo.advantages.wrapping import WrappingAssigner
from iapo.interfaces import AdvantageAssigner, information_between
from iapo.ops.checks import check_kinds
from iapo.ops.masked import beside, masked_mean, masked_std
from iapo.types import AdvantageInputs, AdvantageOutput, TokenSignals


class ReplacedInformation(WrappingAssigner):
    """Base of the controls: another assigner, the ``outcome``, is given other information than was measured.

    Prefix values change with the information. Over a measured token they grow by its new information, and over a token
    that was not measured by what they grew before. They are bounded by the largest value that was measured in the
    completion, so that a log-likelihood stays at most 0.
    """

    def assign(self, inputs: AdvantageInputs) -> AdvantageOutput:
        """What the outcome assigns, given the other information."""
        signals = inputs.signals
        if signals.information is None and signals.prefix_values is None:
            return self.assign_outcome(inputs)
        mask = inputs.read_at("information")
        information = signals.information
        if information is None:
            assert signals.prefix_values is not None
            information = information_between(signals.prefix_values, mask)
        clean = information.masked_fill(~mask, 0)
        shown = with_information(signals, clean, self.replace(clean, mask), mask)
        return self.assign_outcome(dataclasses.replace(inputs, signals=shown))

    @abstractmethod
    def replace(
        self, information: Float[Tensor, "batch token"], mask: Bool[Tensor, "batch token"]
    ) -> Float[Tensor, "batch token"]:
        """Hook: the information that the outcome is shown.

        Args:
            information: what was measured, nats; 0 outside ``mask``.
            mask: where it was measured.
        """


@dataclass(frozen=True)
class PermutedInformation(ReplacedInformation):
    """``outcome``, given each completion's information in a random order of the tokens where it was measured.

    How much information there is in a completion, its distribution over values and the number of tokens stay, and which
    token has it does not. What a method still does under this control, such as to shorten, is due to a price on length
    that its normalization implies, and not to what the information says.

    Random numbers come from torch's global CPU generator, one for each entry of the batch, masked ones included. So
    ``torch.manual_seed`` repeats the order, a restored generator state continues it, and it is the same on every
    device. It changes with the order and the width of the batch, and not with micro-batches: it is drawn for the
    whole rollout.

    *Degenerate cases.* A completion with one measured token, or none, keeps its information. An outcome that does not
    read information is not changed.

    Args:
        outcome: reads the information; it may wrap others that do.

    Example:
        >>> from iapo import TokenSignals
        >>> from iapo.advantages import InformationAware
        >>> control = PermutedInformation(InformationAware())
        >>> information = torch.tensor([[1.0, 2.0, 3.0, 0.0]])
        >>> shown = control.replace(information, torch.tensor([[True, True, True, False]]))
        >>> sorted(shown[0, :3].tolist()), shown[0, 3].item()
        ([1.0, 2.0, 3.0], 0.0)
    """

    outcome: AdvantageAssigner

    def __post_init__(self) -> None:
        check_kinds(self)

    def replace(
        self, information: Float[Tensor, "batch token"], mask: Bool[Tensor, "batch token"]
    ) -> Float[Tensor, "batch token"]:
        """The information of each row's masked tokens in a random order."""
        draws = torch.rand(mask.shape, dtype=torch.float32).to(mask.device).masked_fill(~mask, torch.inf)
        places = (~mask).long().argsort(dim=1, stable=True)
        return torch.zeros_like(information).scatter(
            1, places, information.gather(1, draws.argsort(dim=1, stable=True))
        )


@dataclass(frozen=True)
class RandomInformation(ReplacedInformation):
    """``outcome``, given normally distributed values in place of information, of the same mean and variance.

    Mean and variance (which divides by the count) are those of the completion's measured tokens; the values have them
    in expectation. Compared with `PermutedInformation`, a completion's total information is not kept either, nor the
    few large values that information has.

    Random numbers come from torch's global CPU generator as in `PermutedInformation`.

    *Degenerate cases.* A completion whose measured tokens all have the same information keeps it. An outcome that does
    not read information is not changed.

    Args:
        outcome: reads the information; it may wrap others that do.

    Example:
        >>> from iapo.advantages import InformationAware
        >>> control = RandomInformation(InformationAware())
        >>> control.replace(torch.tensor([[2.0, 2.0, 0.0]]), torch.tensor([[True, True, False]]))
        tensor([[2., 2., 0.]])
    """

    outcome: AdvantageAssigner

    def __post_init__(self) -> None:
        check_kinds(self)

    def replace(
        self, information: Float[Tensor, "batch token"], mask: Bool[Tensor, "batch token"]
    ) -> Float[Tensor, "batch token"]:
        """Normal values with the moments of each row's masked tokens."""
        mean, std = masked_mean(information, mask, 1), masked_std(information, mask, 1)
        draws = torch.randn(mask.shape, dtype=torch.float32).to(mask.device, information.dtype)
        return (mean[:, None] + std[:, None] * draws).masked_fill(~mask, 0)


def with_information(
    signals: TokenSignals,
    measured: Float[Tensor, "batch token"],
    shown: Float[Tensor, "batch token"],
    mask: Bool[Tensor, "batch token"],
) -> TokenSignals:
    """The signals with other information, and with the prefix values, if there are any, that belong to it.

    Args:
        signals: as they were measured.
        measured: their information, nats; 0 outside ``mask``.
        shown: the other information, likewise.
        mask: where it was measured.
    """
    changes = {} if signals.information is None else {"information": shown}
    if signals.prefix_values is not None:
        known = beside(mask)
        gained = torch.nn.functional.pad((shown - measured).double().cumsum(1), (1, 0))
        values = signals.prefix_values + gained.to(signals.prefix_values.dtype)
        most = signals.prefix_values.masked_fill(~known, -torch.inf).amax(1, keepdim=True)
        changes["prefix_values"] = values.clamp(max=most).masked_fill(~known, 0)
    return dataclasses.replace(signals, **changes)
