"""The paper's estimator: entropy of the answer when the reasoning is stopped early."""

from dataclasses import dataclass, field

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from iapo.estimators.asked import asking_ids
from iapo.estimators.packed import (
    Block,
    CheckedModels,
    PrefixCache,
    check_chunk,
    check_vocabulary,
    probe_prefixes,
)
from iapo.estimators.prefix_estimator import PrefixEstimator
from iapo.ops.checks import check_integers, check_kinds
from iapo.ops.padding import pad_rows
from iapo.policy.logprobs import check_temperature, entropy
from iapo.types import Rollout


@dataclass(frozen=True)
class EarlyExitEntropy(PrefixEstimator):
    """Reduction of the forced answer's entropy: ``s_t = H_t - H_{t+1}``, ``H_t = H(y | q, o_<t)``.

    ``H_t`` is the entropy of the next-token distribution after prompt, the first ``t`` completion tokens, and a postfix
    that closes the reasoning and opens the answer, at ``temperature``. Summed over the reasoning span,
    ``sum_t s_t = H_0 - H_L``. Where a rollout has exits, the postfix of a row is what stands in its exit before the
    answer: where the answer's first sign shares a token with a tag (``>-``), that token is the one that is predicted.

    *What it estimates.* The mutual information ``I(y; o_t | q, o_<t)`` of the token with the answer, in nats, as far as
    forced answers are consistent: the answer's distribution after a prefix is the mean of those after its next tokens,
    as it is for the answer that the policy reaches by going on. Then the expectation over the token is that information
    and not negative, and a single value may be negative. Of a model that is only asked, the expectation may be negative
    too.

    *Bias.* Only the answer's first token is seen, so that uncertainty about later tokens is missed (biased low). A
    policy that was never stopped early may answer confidently and wrongly when forced: entropy near 0 everywhere, the
    information of necessary steps biased towards 0 or below.

    *Degenerate cases.* An empty reasoning span gives 0; a token that the model ignores gives 0.

    Args:
        postfix_ids: tokens that close the reasoning and open the answer, ``</think><answer>`` in the format used, for
            rows without an exit.
        chunk: prefixes per packed forward; ``None``: chosen from the memory there is, halved if it was too little.
        guard: compare the packed with the naive forward the first time a model is seen, and again whenever texts are
            more than twice as long as those compared.
        temperature: logits are divided by it; use the sampler's, so that the answer is the one that the policy would
            sample.

    Raises:
        ValueError: empty or negative ``postfix_ids``, ``chunk`` below 1, ``temperature`` not positive and finite.
        iapo.policy.forward.UnsupportedModelError: on a call, for a model whose attention cannot honor the mask.

    Example:
        >>> EarlyExitEntropy(postfix_ids=(4, 5)).information_sign
        -1

    References:
        IAPO, arXiv 2602.19049, section on the information-aware advantage: ``s_t`` and early exit. Where the released
        code departs (averaged neighbors, positions after padding), this follows the paper.
    """

    postfix_ids: tuple[int, ...]
    chunk: int | None = None
    guard: bool = True
    temperature: float = 1.0
    _checked: CheckedModels = field(default_factory=CheckedModels, init=False, repr=False, compare=False)

    information_sign = -1
    takes_reference = False

    def __post_init__(self) -> None:
        check_kinds(self)
        check_integers("postfix_ids", self.postfix_ids, least=0)
        check_chunk(self.chunk)
        check_temperature(self.temperature)

    def probe_at(
        self,
        model: nn.Module,
        rollout: Rollout,
        at: Bool[Tensor, "batch probe"],
        cache: PrefixCache | None = None,
    ) -> Float[Tensor, "batch probe"]:
        """``H_t`` in nats after each prefix at ``at``, 0 elsewhere."""
        asking = asking_ids(rollout, self.postfix_ids)
        ids, mask = pad_rows(asking or [self.postfix_ids], 0, device=rollout.completion_ids.device)
        ids, mask = ids[: len(rollout)], mask[: len(rollout)]
        check_vocabulary(model, postfix_ids=self.postfix_ids, **{"rollout.exit_ids": ids})
        if self.guard:
            self._checked.check(model, rollout, ids)
        kept = 1 + max(map(len, asking), default=1) - min(map(len, asking), default=1)
        # The last token of each row's postfix, among those whose logits are kept.
        last = mask.sum(1) - 1 - (ids.shape[1] - kept)

        def first_token(logits: Tensor) -> Tensor:
            own = logits[torch.arange(len(logits), device=logits.device), :, last]
            return entropy(own, self.temperature)

        return probe_prefixes(model, rollout, Block.chain(ids, kept), first_token, at, self.chunk, cache)
