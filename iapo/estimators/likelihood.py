"""Log-likelihood of an answer, teacher-forced after every prefix of the reasoning."""

from dataclasses import dataclass, field

import torch
from einops import repeat
from jaxtyping import Bool, Float
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase

from iapo.estimators.asked import AskedAnswers, asked_answers
from iapo.estimators.packed import (
    Block,
    CheckedModels,
    PrefixCache,
    check_chunk,
    probe_prefixes,
)
from iapo.estimators.prefix_estimator import PrefixEstimator
from iapo.ops.checks import check_integers, check_kinds
from iapo.policy.logprobs import check_temperature, token_logprobs
from iapo.policy.ranks import all_reduce_max
from iapo.tokenization.continuation import continuation_ids
from iapo.types import Rollout


@dataclass(frozen=True)
class AnswerLikelihood(PrefixEstimator):
    """Gain in the log-likelihood of the rollout's answer: ``s_t = log p(y | q, o_<=t) - log p(y | q, o_<t)``.

    ``y`` is the rollout's answer, all its tokens: the completion's own final answer (pointwise information of the token
    with it) or the reference answer (progress towards being right). It is asked for after a postfix that closes the
    reasoning and opens the answer. What is asked and scored are the rollout's ``exit_ids`` where it has them: postfix,
    answer and closing in the tokens of the whole text. Otherwise ``answer_ids`` stand between the tokens given here.
    Summed over the reasoning span, ``sum_t s_t = log p(y | q, o) - log p(y | q)``.

    *What it estimates.* With the own answer: the pointwise mutual information of token and answer given what came
    before, in nats. As far as forced answers are consistent (`EarlyExitEntropy`), its expectation over tokens and
    answers sampled from the model is ``I(y; o_t | q, o_<t)``.

    *Bias.* The value is low, by nats, at prefixes from which the policy would go on and not answer: it says how far the
    policy is from being able to answer now (6 and 8 nats below the true value on the two tasks that were measured).
    Sums over a completion are high: they include what the policy could have worked out without writing it, and the own
    answer was chosen by the completion. The reference answer gives large negative values where a completion goes wrong.

    *Degenerate cases.* A row without an answer, or an empty reasoning span, gives 0.

    Args:
        postfix_ids: tokens that close the reasoning and open the answer, ``</think><answer>`` in the format used, for
            rollouts without exits.
        closing_ids: tokens that end the answer, scored with it, so that ``1`` and ``12`` are different answers, for
            rollouts without exits.
        chunk: prefixes per packed forward; ``None``: chosen from the memory there is, halved if it was too little.
        guard: compare the packed with the naive forward the first time a model is seen, and again whenever texts are
            more than twice as long as those compared.
        temperature: logits are divided by it; use the sampler's, so that the answer is the one that the policy would
            sample.

    Raises:
        ValueError: empty or negative ids, ``chunk`` below 1, ``temperature`` not positive and finite, or, on a call,
            a rollout without ``answer_ids``.
        iapo.policy.forward.UnsupportedModelError: on a call, for a model whose attention cannot honor the mask.

    References:
        IGPO, arXiv 2510.14967 (information gain of a turn); IAPO, arXiv 2602.19049 (per-token information).
    """

    postfix_ids: tuple[int, ...]
    closing_ids: tuple[int, ...] = ()
    chunk: int | None = None
    guard: bool = True
    temperature: float = 1.0
    _checked: CheckedModels = field(default_factory=CheckedModels, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        check_kinds(self)
        check_integers("postfix_ids", self.postfix_ids, least=0)
        check_integers("closing_ids", self.closing_ids, least=0, or_empty=True)
        check_chunk(self.chunk)
        check_temperature(self.temperature)

    @classmethod
    def from_text(
        cls,
        tokenizer: PreTrainedTokenizerBase,
        postfix: str = "</think><answer>",
        closing: str = "</answer>",
        chunk: int | None = None,
        guard: bool = True,
        temperature: float = 1.0,
    ) -> "AnswerLikelihood":
        """The estimator that asks with these texts.

        Args:
            tokenizer: of the policy; encodes the texts.
            postfix: closes the reasoning and opens the answer.
            closing: ends the answer; empty: the answer's end is not scored.
            chunk, guard, temperature: as of the class.

        Raises:
            ValueError: an empty ``postfix``, or as of the class.

        Example:
            >>> from iapo.testing import tiny_tokenizer
            >>> estimator = AnswerLikelihood.from_text(tiny_tokenizer(), "</think><answer>", "</answer>")
            >>> estimator.postfix_ids, estimator.closing_ids
            ((5, 6), (7,))
        """
        if not postfix:
            raise ValueError("postfix: got an empty text, want the one that closes the reasoning and opens the answer")
        ids = [continuation_ids(tokenizer, text) if text else () for text in (postfix, closing)]
        return cls(ids[0], ids[1], chunk, guard, temperature)

    def probe_at(
        self,
        model: nn.Module,
        rollout: Rollout,
        at: Bool[Tensor, "batch probe"],
        cache: PrefixCache | None = None,
    ) -> Float[Tensor, "batch probe"]:
        """``log p(y | q, o_<t)`` in nats after each prefix at ``at``, 0 elsewhere."""
        asked = self.asked(rollout)
        if not all_reduce_max(int(asked.scored.any()), model):
            return torch.zeros(at.shape, dtype=torch.float32, device=at.device)
        asked.check(model)
        ids, targets, counts = asked.ids[:, :-1], asked.targets, asked.counts
        if self.guard:
            self._checked.check(model, rollout, ids)

        def likelihood(logits: Tensor) -> Tensor:
            chosen = repeat(targets, "batch answer -> batch prefix answer", prefix=logits.shape[1])
            return token_logprobs(logits, chosen, self.temperature).masked_fill(~counts[:, None], 0).sum(-1)

        block = Block.chain(ids, kept=targets.shape[1])
        return probe_prefixes(model, rollout, block, likelihood, at & counts.any(1)[:, None], self.chunk, cache)

    def asked(self, rollout: Rollout) -> AskedAnswers:
        """What is appended to each prefix, and which of it is scored."""
        return asked_answers("AnswerLikelihood", rollout, self.postfix_ids, self.closing_ids)
