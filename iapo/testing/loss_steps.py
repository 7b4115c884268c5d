"""A tiny policy, and steps of losses of it, for what updates weights."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from hypothesis import strategies as st
from jaxtyping import Float
from torch import Tensor, nn

_FEATURES, _ROWS = 3, 2
_SEEDS = st.integers(0, 2**16)


class LinearPolicy(nn.Module):
    """Weights that are trained, some of which no loss reads, and weights and a buffer that are not.

    What it returns is linear in the weights, and features are small multiples of powers of 2, so that gradients and
    their sums are exact in fp32, in whichever order losses add up.
    """

    fixed: Tensor

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.matrix = nn.Parameter(torch.randn(_FEATURES, 2, generator=generator) / 8)
        self.vector = nn.Parameter(torch.zeros(2))
        self.unread = nn.Parameter(torch.ones(2))
        self.frozen = nn.Parameter(torch.ones(2), requires_grad=False)
        self.register_buffer("fixed", torch.tensor([1.0, -0.5]))

    def forward(self, features: Float[Tensor, "rows features"]) -> Float[Tensor, " rows"]:
        return (features @ self.matrix + self.vector + self.frozen) @ self.fixed


@dataclass(frozen=True)
class Step:
    """The losses of one step, before they are computed.

    Args:
        features: of each micro-batch.
        factors: what the loss of each is multiplied by.
    """

    features: Sequence[Float[Tensor, "rows features"]]
    factors: Sequence[float]

    def losses(self, model: nn.Module) -> list[Tensor]:
        """One of each micro-batch."""
        like = next(model.parameters())
        pairs = zip(self.features, self.factors, strict=True)
        return [model(features.to(like)).sum() * factor for features, factor in pairs]


@st.composite
def steps_of_losses(
    draw: st.DrawFn, factors: Sequence[float] = (0.25, 1.0, 512.0), least: int = 1, most: int = 3
) -> list[Step]:
    """Some steps of one to three micro-batches each. With positive factors no gradient is 0: that of ``vector`` counts
    rows."""
    steps = []
    for _ in range(draw(st.integers(least, most))):
        generator = torch.Generator().manual_seed(draw(_SEEDS))
        count = draw(st.integers(1, 3))
        features = torch.randint(-8, 9, (count, _ROWS, _FEATURES), generator=generator) / 4
        steps.append(Step(list(features), draw(st.lists(st.sampled_from(factors), min_size=count, max_size=count))))
    return steps


def total_loss(step: Step, model: nn.Module) -> float:
    """The loss of a step, in fp64."""
    return sum(float(loss.detach()) for loss in step.losses(copy.deepcopy(model).double()))
