"""Token advantages as rows of numbers: what engines take that keep them with their records, as tinker and rLLM do."""

import torch
from jaxtyping import Bool
from torch import Tensor

from iapo.integrations.core import Credited
from iapo.ops.checks import check_one_device
from iapo.ops.shapes import shape_checked
from iapo.types import AdvantageOutput


@shape_checked
def precomputed_advantages(
    credited: Credited | AdvantageOutput, completion_mask: Bool[Tensor, "batch token"]
) -> list[list[float]]:
    """The advantages of the tokens of each completion, without padding.

    A token outside of the loss mask gets 0. That takes it out of a loss that is a sum over tokens of ratio times
    advantage; an engine that divides by a count of tokens, or adds other terms, has to be given the loss mask too.

    *Degenerate cases.* A completion without tokens gives an empty row.

    Args:
        credited: of `iapo.integrations.core.TokenAdvantages`, or the output of an assigner.
        completion_mask: the tokens of the completions, right-padded; those of a tool or a user are among them.

    Returns:
        For each completion a list of its length.

    Raises:
        ValueError: a mask that is not right-padded, advantages of other rows or another width, a loss mask beyond the
            completions, or tensors on several devices.
        FloatingPointError: an advantage in the loss is NaN or infinite; the rows are named.

    Example:
        >>> from iapo import AdvantageOutput
        >>> mask = torch.tensor([[True, True, True], [True, True, False]])
        >>> in_loss = torch.tensor([[True, True, False], [True, True, False]])
        >>> output = AdvantageOutput(torch.tensor([[0.5, 0.25, 0.0], [-1.0, -1.0, 0.0]]), in_loss, {})
        >>> precomputed_advantages(output, mask)
        [[0.5, 0.25, 0.0], [-1.0, -1.0]]
    """
    advantages, loss_mask = credited.advantages, credited.loss_mask
    check_one_device(
        "precomputed_advantages",
        {"advantages": advantages, "loss_mask": loss_mask, "completion_mask": completion_mask},
    )
    for name, values in (("advantages", advantages), ("loss_mask", loss_mask)):
        if values.shape != completion_mask.shape:
            raise ValueError(
                f"credited.{name}: got shape {tuple(values.shape)}, want that of completion_mask, "
                f"{tuple(completion_mask.shape)}"
            )
    lengths = completion_mask.sum(1)
    positions = torch.arange(completion_mask.shape[1], device=completion_mask.device)
    _no_rows(completion_mask != (positions < lengths[:, None]), "completion_mask: not right-padded")
    _no_rows(loss_mask & ~completion_mask, "credited.loss_mask: True behind the completion")
    values = advantages.masked_fill(~loss_mask, 0)
    _no_rows(~values.isfinite(), "credited.advantages: NaN or infinite value", FloatingPointError)
    return [row[:length] for row, length in zip(values.tolist(), lengths.tolist(), strict=True)]


def _no_rows(bad: Bool[Tensor, "batch token"], message: str, error: type[Exception] = ValueError) -> None:
    if bool(bad.any()):
        raise error(f"{message} in rows {bad.any(1).nonzero().flatten().tolist()}")
