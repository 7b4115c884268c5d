"""Estimators that probe prefixes one by one, so that some may be left out: which prefixes, and the interface."""

from abc import abstractmethod

from jaxtyping import Bool, Float
from torch import Tensor, nn

from iapo.estimators.packed.prefix_cache import PrefixCache
from iapo.interfaces import MIEstimator
from iapo.types import Rollout


def needed_probes(rollout: Rollout) -> Bool[Tensor, "batch probe"]:
    """``True`` at the probes beside a token of the reasoning mask: those that a difference will read."""
    mask = nn.functional.pad(rollout.reasoning_mask, (1, 1))
    return mask[:, 1:] | mask[:, :-1]


def longest(at: Bool[Tensor, "batch probe"]) -> int:
    """Completion tokens of the longest prefix at ``at``; 0 if there is none."""
    columns = at.any(0).nonzero()
    return int(columns.max()) if len(columns) else 0


class PrefixEstimator(MIEstimator):
    """An estimator that can probe chosen prefixes and leave out others, sharing one cache between calls."""

    def probe(self, model: nn.Module, rollout: Rollout) -> Float[Tensor, "batch probe"]:
        """The value of every prefix that a difference will read, 0 elsewhere."""
        return self.probe_at(model, rollout, needed_probes(rollout))

    @abstractmethod
    def probe_at(
        self,
        model: nn.Module,
        rollout: Rollout,
        at: Bool[Tensor, "batch probe"],
        cache: PrefixCache | None = None,
    ) -> Float[Tensor, "batch probe"]:
        """Hook: the value of the prefixes at ``at``, 0 elsewhere.

        Args:
            model: a causal language model, possibly wrapped.
            rollout: the completions.
            at: which prefixes; entry ``t`` has seen ``t`` completion tokens.
            cache: keys and values of prompts and completions (`fill_cache`); ``None``: made here.
        """
