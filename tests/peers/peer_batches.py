"""The other libraries whose functions ours are compared with, and the batches that both are given.

Ragged, with a completion that is not in the loss, holes in the loss mask, groups of unequal size in mixed order, and
log-ratios that leave every clip range on both sides.
"""

import importlib.metadata
import warnings
from dataclasses import dataclass
from types import ModuleType

import pytest
import torch
from torch import Tensor

NAMES = ("trl", "verl")
SEEDS = range(5)
DTYPES = (torch.float32, torch.float64)


def peer(module: str) -> ModuleType:
    """A module of a peer. Where it is not installed, the tests of the file that asks for it are skipped."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip(module, reason=f"{module} is not installed; `make test-peers`", exc_type=ImportError)


def version_of(name: str) -> str | None:
    """The installed version of a package."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


@dataclass(frozen=True)
class Batch:
    """What losses and advantages of either side are computed from."""

    rewards: Tensor
    group_ids: Tensor
    completion_mask: Tensor
    loss_mask: Tensor
    advantages: Tensor
    policy_logprobs: Tensor
    old_logprobs: Tensor
    ref_logprobs: Tensor
    sampler_logprobs: Tensor

    @property
    def policy(self) -> Tensor:
        """The policy's log-probabilities as a leaf of its own graph."""
        return self.policy_logprobs.clone().requires_grad_()


def batch(
    seed: int, dtype: torch.dtype, sizes: tuple[int, ...] = (2, 5, 4, 3), width: int = 24, without_tokens: bool = True
) -> Batch:
    """Completions of 1 to ``width`` tokens in groups of ``sizes``, of which a tenth is not in the loss.

    With ``without_tokens`` one completion has no token in the loss, else each has its first.
    """
    generator = torch.Generator().manual_seed(seed)
    rows = sum(sizes)
    shape = (rows, width)

    def normal(scale: float) -> Tensor:
        return scale * torch.randn(shape, generator=generator, dtype=dtype)

    lengths = torch.randint(1, width + 1, (rows, 1), generator=generator)
    completion_mask = torch.arange(width) < lengths
    loss_mask = completion_mask & (torch.rand(shape, generator=generator) < 0.9)
    loss_mask[:, 0] = True
    if without_tokens:
        loss_mask[int(torch.randint(rows, (), generator=generator))] = False
    policy = normal(1.0) - 2
    order = torch.randperm(rows, generator=generator)
    return Batch(
        rewards=torch.rand(rows, generator=generator, dtype=dtype) * 2 - 1,
        group_ids=torch.repeat_interleave(torch.arange(len(sizes)) * 7 + 3, torch.tensor(sizes))[order],
        completion_mask=completion_mask,
        loss_mask=loss_mask,
        advantages=normal(1.0),
        policy_logprobs=policy,
        old_logprobs=(old := policy + normal(0.6)),
        ref_logprobs=policy + normal(0.6),
        sampler_logprobs=old + normal(0.6),
    )


def value_and_gradient(loss: Tensor, policy: Tensor) -> tuple[Tensor, Tensor]:
    """The loss and its gradient with respect to the policy's log-probabilities."""
    return loss, torch.autograd.grad(loss, policy)[0]
