"""Entropy over whole answers: a set of candidates, each teacher-forced after every prefix of the reasoning."""

import dataclasses
from dataclasses import dataclass, field

import torch
from einops import rearrange
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from iapo.estimators.candidates import Answers, Candidates, known_candidates, pack_candidates
from iapo.estimators.packed import (
    Block,
    CheckedModels,
    PrefixCache,
    Reduce,
    check_chunk,
    check_vocabulary,
    probe_prefixes,
)
from iapo.estimators.prefix_estimator import PrefixEstimator
from iapo.ops.checks import check_integers, check_kinds
from iapo.policy.logprobs import at_temperature, check_temperature, entropy
from iapo.policy.ranks import all_reduce_max
from iapo.types import Rollout


@dataclass(frozen=True)
class AnswerEntropy(PrefixEstimator):
    """Reduction of the entropy over a set of whole answers: ``s_t = H_t - H_{t+1}``.

    ``H_t = -sum_y q_t(y) log q_t(y)``, ``q_t(y) = p_t(y) / sum_y' p_t(y')``, and ``p_t(y)`` the likelihood of all
    tokens of candidate ``y``, and of ``closing_ids`` behind it, teacher-forced after prompt, the first ``t`` completion
    tokens and the postfix. Summed over the reasoning span, ``sum_t s_t = H_0 - H_L``.

    All candidates go through one packed forward: they are branches behind one postfix that do not see each other.

    *What it estimates.* The mutual information ``I(y; o_t | q, o_<t)`` of the token with the answer, given that the
    answer is in the set, in nats, as far as forced answers are consistent (`EarlyExitEntropy`); "12" and "17" are two
    answers here and one there.

    *Bias.* Answers outside the set are left out: what the model is unsure about among them is missed (`missed_mass`
    says how much probability they have). Candidates taken from a group were chosen by its completions, so a group that
    agrees has no entropy to lose. What a forced answer says of a policy never stopped early: see `EarlyExitEntropy`.

    *Degenerate cases.* One candidate, none, or an empty reasoning span gives 0.

    Args:
        postfix_ids: tokens that close the reasoning and open the answer, ``</think><answer>`` in the format used, for
            ``candidates`` and for rollouts without ``exit_ids``.
        candidates: the answers, as token ids. ``None``: the distinct answers of the row's group (``answer_ids``, the
            completions' own), which `with_groups` fixes while groups are whole. A rollout that did not go through it
            must bring whole groups: a part of a group has fewer candidates.
        closing_ids: tokens that end the answer and are scored with it, used where ``postfix_ids`` are. Without them, a
            candidate that another one begins with (``1`` and ``12``) counts the other's probability as its own.
        chunk: prefixes per packed forward; ``None``: chosen from the memory there is, halved if it was too little.
        guard: compare the packed with the naive forward the first time a model is seen, and again whenever texts are
            more than twice as long as those compared.
        temperature: logits are divided by it; use the sampler's, so that the answer is the one that the policy would
            sample.

    Raises:
        ValueError: empty or negative ids, no candidates or the same one twice, ``chunk`` below 1, ``temperature`` not
            positive and finite, or, on a call, no ``candidates`` and a rollout without ``answer_ids``.
        iapo.policy.forward.UnsupportedModelError: on a call, for a model whose attention cannot honor the mask.

    Example:
        >>> AnswerEntropy(postfix_ids=(4, 5), candidates=((1, 2), (1, 7)), closing_ids=(6,)).information_sign
        -1

    References:
        IAPO, arXiv 2602.19049 (``s_t`` and early exit, there of the answer's first token).
    """

    postfix_ids: tuple[int, ...]
    candidates: Answers | None = None
    closing_ids: tuple[int, ...] = ()
    chunk: int | None = None
    guard: bool = True
    temperature: float = 1.0
    _checked: CheckedModels = field(default_factory=CheckedModels, init=False, repr=False, compare=False)

    information_sign = -1
    takes_reference = False

    def __post_init__(self) -> None:
        check_kinds(self)
        check_integers("postfix_ids", self.postfix_ids, least=0)
        check_integers("closing_ids", self.closing_ids, least=0, or_empty=True)
        if self.candidates is not None:
            if not isinstance(self.candidates, tuple) or not self.candidates:
                raise ValueError(f"candidates: got {self.candidates!r}, want a non-empty tuple of answers, or None")
            for candidate in self.candidates:
                check_integers("candidates", candidate, least=0)
            if len(set(self.candidates)) < len(self.candidates):
                raise ValueError(f"candidates: want distinct answers, got {self.candidates!r}")
        check_chunk(self.chunk)
        check_temperature(self.temperature)

    @property
    def reads_answer(self) -> bool:  # type: ignore[override]
        """Whether the candidates are the answers of the group, and not given."""
        return self.candidates is None

    def with_groups(self, rollout: Rollout) -> Rollout:
        """The rollout with the answers of its groups as candidates; unchanged where ``candidates`` are given.

        Raises:
            ValueError: no ``candidates`` and a rollout without ``answer_ids``.
        """
        if self.candidates is not None:
            return rollout
        return dataclasses.replace(rollout, candidates=known_candidates(rollout))

    def probe_at(
        self,
        model: nn.Module,
        rollout: Rollout,
        at: Bool[Tensor, "batch probe"],
        cache: PrefixCache | None = None,
    ) -> Float[Tensor, "batch probe"]:
        """``H_t`` in nats after each prefix at ``at``, 0 elsewhere."""
        return self._probe(model, rollout, at, cache, entropy)

    def missed_mass(
        self, model: nn.Module, rollout: Rollout, at: Bool[Tensor, "batch probe"]
    ) -> Float[Tensor, "batch probe"]:
        """``1 - sum_y p_t(y)``, the probability of answers outside the set, after each prefix at ``at``, 0 elsewhere.

        A diagnostic at the cost of a probe: where it is large, the entropy is over the wrong answers. 0 also in rows
        without candidates.
        """
        return self._probe(model, rollout, at, None, lambda likelihoods: -torch.expm1(likelihoods.logsumexp(-1)))

    def _probe(
        self,
        model: nn.Module,
        rollout: Rollout,
        at: Bool[Tensor, "batch probe"],
        cache: PrefixCache | None,
        of_likelihoods: Reduce,
    ) -> Float[Tensor, "batch probe"]:
        """``of_likelihoods`` of the candidates' log-likelihoods ``[batch, prefix, candidate]``, absent ones -inf."""
        if not all_reduce_max(int(at.any()), model):
            return torch.zeros(at.shape, dtype=torch.float32, device=at.device)
        candidates = self._candidates(rollout)
        targets, counts = candidates.targets, candidates.counts
        check_vocabulary(model, postfix_ids=candidates.postfix, candidates=targets[counts])
        branch, first = branches(candidates.postfix, targets)
        if self.guard:
            self._checked.check(model, rollout, branch.ids[:, : max(1, candidates.postfix.shape[1])])
        present = counts.any(2)

        def value(logits: Tensor) -> Tensor:
            # The first token of every candidate is predicted at the end of the postfix, the others on its branch. No
            # row of the vocabulary is copied for a candidate.
            logits = at_temperature(logits, self.temperature)
            prefixes, vocab = logits.shape[1], logits.shape[3]
            entries = rearrange(first * vocab + targets, "batch candidate answer -> batch 1 (candidate answer)")
            chosen = logits.flatten(2).gather(2, entries.expand(-1, prefixes, -1))
            total = logits.logsumexp(-1)
            tokens = chosen.unflatten(2, targets.shape[1:]) - total[:, :, first]
            likelihoods = tokens.masked_fill(~counts[:, None], 0).sum(-1)
            return of_likelihoods(likelihoods.masked_fill(~present[:, None], -torch.inf))

        return probe_prefixes(model, rollout, branch, value, at & present.any(1)[:, None], self.chunk, cache)

    def _candidates(self, rollout: Rollout) -> Candidates:
        """The candidates of every row, each with what asks for it and what ends it."""
        groups, device = rollout.group_ids.tolist(), rollout.completion_ids.device
        if self.candidates is None:
            known = known_candidates(rollout) if rollout.candidates is None else rollout.candidates
            if rollout.exit_ids is not None:
                return pack_candidates([known[group] for group in groups], device)
            answers = [known[group] for group in groups]
        else:
            answers = [self.candidates] * len(groups)
        asked = [[(self.postfix_ids, (*answer, *self.closing_ids)) for answer in each] for each in answers]
        return pack_candidates(asked, device)


def branches(
    postfix: Int[Tensor, "batch postfix"], targets: Int[Tensor, "batch candidate answer"]
) -> tuple[Block, Int[Tensor, "candidate answer"]]:
    """A postfix with one branch per candidate behind it, and which kept logits predict each candidate's tokens.

    The last token of a candidate is predicted, not fed; branches see the postfix and themselves.
    """
    count, size = targets.shape[1], targets.shape[2] - 1
    device, start = targets.device, postfix.shape[1]
    fed = rearrange(targets[:, :, :-1], "batch candidate fed -> batch (candidate fed)")
    steps = torch.arange(start, device=device)
    depths = torch.cat([steps, start + torch.arange(size, device=device).repeat(count)])
    owner = torch.cat([steps.new_full((start,), -1), torch.arange(count, device=device).repeat_interleave(size)])
    visible = (depths[:, None] >= depths) & ((owner == -1) | (owner[:, None] == owner))
    # Without a postfix nothing in the block predicts the first token of a branch.
    kept = torch.arange(max(0, start - 1), start + count * size, device=device)
    own = min(1, start) + torch.arange(count * size, device=device).reshape(count, size)
    first = torch.cat([own.new_zeros(count, 1), own], 1)
    return Block(torch.cat([postfix, fed], 1), kept, visible, depths), first
