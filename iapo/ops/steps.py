"""Steps: runs of neighboring masked tokens, up to a token that ends one, or of a given length."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Steps:
    """The steps of each completion; ``step`` is the largest number of them in a row, and at least 1.

    Args:
        mask: the tokens that belong to steps.
        index: the step that holds each token; of a token in none, the number of steps before it.
        begins: tokens before each step; 0 where a row has fewer steps.
        ends: tokens up to the end of each step; 0 where a row has fewer steps.
        real: where a row has a step.
    """

    mask: Bool[Tensor, "batch token"]
    index: Int[Tensor, "batch token"]
    begins: Int[Tensor, "batch step"]
    ends: Int[Tensor, "batch step"]
    real: Bool[Tensor, "batch step"]

    def at_ends(self, values: Float[Tensor, "batch probe"]) -> Float[Tensor, "batch step"]:
        """The value of the prefix that ends with each step; 0 where a row has fewer steps."""
        return values.gather(1, self.ends).masked_fill(~self.real, 0)

    def gains(self, values: Float[Tensor, "batch probe"]) -> Float[Tensor, "batch step"]:
        """By how much the value grew from the end of the step before, of the first step from its own beginning."""
        before = torch.cat([self.begins[:, :1], self.ends[:, :-1]], 1)
        return (values.gather(1, self.ends) - values.gather(1, before)).masked_fill(~self.real, 0)

    def means(self, values: Float[Tensor, "batch token"]) -> Float[Tensor, "batch step"]:
        """The mean of the values over the tokens of each step, in float64; 0 where a row has fewer steps.

        Args:
            values: those of tokens in no step are not used; they may be NaN.
        """
        total = torch.zeros(self.real.shape, dtype=torch.float64, device=self.real.device)
        total = total.scatter_add(
            1, self.index.clamp(max=self.real.shape[1] - 1), values.double().masked_fill(~self.mask, 0)
        )
        return total / (self.ends - self.begins).clamp(min=1)

    def spread(self, values: Shaped[Tensor, "batch step"]) -> Shaped[Tensor, "batch token"]:
        """Each step's value at each of its tokens, 0 at tokens in no step."""
        return values.gather(1, self.index.clamp(max=values.shape[1] - 1)).masked_fill(~self.mask, 0)


def steps_of(
    mask: Bool[Tensor, "batch token"], size: int | None, stops: Bool[Tensor, "batch token"] | None = None
) -> Steps:
    """Steps of ``size`` neighboring masked tokens; the last one before a token outside the mask may be shorter.

    Args:
        mask: the tokens that steps are made of. A token outside it ends a step, as what a tool returns ends a turn.
        size: tokens of a step, at least 1; ``None``: all neighboring tokens are one step.
        stops: tokens behind which a step ends, shorter than ``size``; ``None``: none.

    Example:
        >>> steps = steps_of(torch.tensor([[True, True, True, False, True]]), size=2)
        >>> [*zip(steps.begins[0].tolist(), steps.ends[0].tolist())], steps.index[0].tolist()
        ([(0, 2), (2, 3), (4, 5)], [0, 0, 1, 2, 2])
    """
    pad = torch.nn.functional.pad
    run_starts = mask & ~pad(mask if stops is None else mask & ~stops, (1, 0))[:, :-1]
    if size is None:
        starts = run_starts
    else:
        count = mask.long().cumsum(1) - 1
        rank = count - torch.where(run_starts, count, 0).cummax(1).values
        starts = mask & (rank % size == 0)
    index = starts.long().cumsum(1) - mask.long()
    lasts = mask & ~pad(mask & ~starts, (0, 1))[:, 1:]
    number = starts.sum(1)
    width = max(1, int(number.max()) if len(number) else 0)
    begins, ends = (torch.zeros(len(mask), width, dtype=torch.long, device=mask.device) for _ in range(2))
    for found, places, tokens in ((begins, starts, 0), (ends, lasts, 1)):
        rows, columns = places.nonzero(as_tuple=True)
        found[rows, index[rows, columns]] = columns + tokens
    real = torch.arange(width, device=mask.device) < number[:, None]
    return Steps(mask, index, begins, ends, real)
