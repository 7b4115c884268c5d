"""The ablation NI: no information term."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from iapo.interfaces import MIEstimator
from iapo.types import Rollout


@dataclass(frozen=True)
class NoInformation(MIEstimator):
    """Every token has information 0, in nats, and no forward pass runs. It turns information-aware methods off.

    *What it estimates.* Nothing; as an estimate of information it is low by all there is.

    *Degenerate cases.* None: the value is 0 for every rollout.

    References:
        IAPO, arXiv 2602.19049, ablation without the information term (NI).
    """

    measures = False
    reads_answer = False

    def probe(self, model: nn.Module, rollout: Rollout) -> Float[Tensor, "batch probe"]:
        """Zeros."""
        batch, token = rollout.completion_ids.shape
        return torch.zeros(batch, token + 1, dtype=torch.float32, device=rollout.completion_ids.device)
