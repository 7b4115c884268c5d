"""Which prefixes of a rollout are probed, and how long the longest of them is."""

from jaxtyping import Bool
from torch import Tensor

from iapo.ops.masked import beside
from iapo.types import Rollout


def needed_probes(rollout: Rollout) -> Bool[Tensor, "batch probe"]:
    """``True`` at the probes beside a token of the reasoning mask: those that a difference will read."""
    return beside(rollout.reasoning_mask)


def longest_prefix(at: Bool[Tensor, "batch probe"]) -> int:
    """Completion tokens of the longest prefix at ``at``; 0 if there is none."""
    columns = at.any(0).nonzero()
    return int(columns.max()) if len(columns) else 0
