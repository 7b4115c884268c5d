"""The interface of estimators that probe prefixes one by one, so that some of them may be left out."""

from abc import abstractmethod

from jaxtyping import Bool, Float
from torch import Tensor, nn

from iapo.estimators.packed import PrefixCache, needed_probes
from iapo.interfaces import MIEstimator
from iapo.types import Rollout


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
            cache: keys and values of prompts and completions (`iapo.estimators.packed.fill_cache`); ``None``: the
                estimator makes its own.
        """
