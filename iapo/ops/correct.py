"""Which completions are correct, where a score says so."""

from jaxtyping import Bool, Float
from torch import Tensor

CORRECT_ABOVE = 0.5
"""A completion is correct if the score that says so is above this, unless another number is given."""


def correct_by(scores: Float[Tensor, " batch"], above: float = CORRECT_ABOVE) -> Bool[Tensor, " batch"]:
    """The completions whose score is above ``above``; NaN, of one that could not be scored, is not.

    Example:
        >>> import torch
        >>> correct_by(torch.tensor([1.0, 0.5, torch.nan])).tolist()
        [True, False, False]
    """
    return scores > above
