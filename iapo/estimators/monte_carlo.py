"""Information by sampling: many answers are sampled after every prefix and counted."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from iapo.estimators.answer_counts import Answer, AnswerCounts
from iapo.estimators.asked import asking_ids, read_answers, split_exits
from iapo.estimators.packed import needed_probes
from iapo.interfaces import MIEstimator, Sampler
from iapo.ops.checks import check_integer, check_integers, check_kinds
from iapo.ops.padding import unpad_rows
from iapo.types import Rollout


@dataclass(frozen=True)
class MonteCarloInformation(MIEstimator):
    """Information from answers sampled after every prefix: ``s_t = H_t - H_{t+1}``, or the gain in ``log p_t(y)``.

    ``p_t`` is the distribution of the answer after prompt and the first ``t`` completion tokens, estimated by
    ``samples`` independent samples at every probe beside a token of the reasoning span. With ``measure="entropy"`` a
    probe is its entropy (`iapo.estimators.answer_counts.miller_madow`); with ``measure="likelihood"`` the
    log-likelihood of the rollout's own answer (`iapo.estimators.answer_counts.smoothed_log_likelihood`). Both are over
    whole answers, compared as token ids.

    With ``answers="continued"`` the policy goes on from the prefix to its end and its answer is read: this is
    ``I(y; o_t | q, o_<t)`` itself, with what the policy would have found out later, and no answer is an outcome of its
    own. With ``answers="forced"`` the postfix stops the reasoning and the answer alone is sampled: what is estimated by
    `iapo.estimators.AnswerEntropy` and `iapo.estimators.AnswerLikelihood`.

    *What it estimates.* The above, in nats, under the sampler's distribution: sample at temperature 1 and without
    truncation for that of the policy.

    *Bias and noise.* The entropy is biased low where some answers are too rare to be sampled, else by an amount of
    order ``1 / samples^2``. The log-likelihood is low by ``1 / (2 samples)``, and high for an answer rarer than that.
    `standard_errors` gives the noise of each probe. Samples of two probes are independent, so the variance of ``s_t``
    is the sum of theirs.

    *Cost.* ``samples`` completions for every reasoning token: for benchmarks and tests, not for training.

    *Degenerate cases.* An empty reasoning span gives 0; so does, for the likelihood, a row without an answer. A prefix
    that holds the end of the sequence is continued like any other; keep that token out of the reasoning span.

    Args:
        sampler: makes the sampler of a model; called with the model at every call. For continued answers the sampler
            must mark answers (``answer_ids``), read them from the continuation alone (so the reasoning span must end
            before the answer begins), and let completions come to their end: what it cuts has no answer. A model with
            a table of positions must have room for the longest prefix and ``max_new_tokens``.
        samples: sampled answers at each probe.
        answers: ``"continued"`` or ``"forced"``.
        measure: ``"entropy"`` or ``"likelihood"``; decides `information_sign`.
        postfix_ids: forced answers: tokens that close the reasoning and open the answer, of rows without an exit. A row
            with one is asked with what stands in it before the answer, and samples that begin with the rest of it are
            its own answer.
        closing_ids: forced answers: the tokens, one after the other, that end the answer and do not belong to it. They
            end it wherever they come first: take none that stand inside of answers, as the brace of a box does.
        eos_ids: forced answers: tokens each of which ends the answer and does not belong to it.
        max_answer_tokens: forced answers: how many sampled tokens are read, the closing ones included; an answer that
            is not closed by then is these tokens. A sampler that samples no more than that wastes nothing.
        max_prompts: prefixes per call of the sampler; ``None``: all.

    Raises:
        ValueError: a number outside its range, an argument of forced answers missing, or given for continued ones; on a
            call, a measure or a reading that needs ``answer_ids`` where there are none.

    Example:
        >>> from iapo.rollout import ScriptedSampler
        >>> estimator = MonteCarloInformation(
        ...     lambda model: ScriptedSampler(lambda prompt, index: [index % 2]), samples=8, answers="forced",
        ...     postfix_ids=(4, 5), max_answer_tokens=1)
        >>> rollout = ScriptedSampler({(1, 2): [[3]]})([[1, 2]], group_size=1)
        >>> estimator.distributions(nn.Identity(), rollout).probes[0, 1]
        Counter({(0,): 4, (1,): 4})

    References:
        VinePPO, arXiv 2410.01679 (Monte Carlo values from every prefix); IAPO, arXiv 2602.19049 (``s_t``).
    """

    sampler: Callable[[nn.Module], Sampler]
    samples: int
    answers: Literal["continued", "forced"] = "continued"
    measure: Literal["entropy", "likelihood"] = "entropy"
    postfix_ids: tuple[int, ...] = ()
    closing_ids: tuple[int, ...] = ()
    eos_ids: tuple[int, ...] = ()
    max_answer_tokens: int | None = None
    max_prompts: int | None = None

    def __post_init__(self) -> None:
        check_kinds(self)
        if self.answers not in ("continued", "forced"):
            raise ValueError(f"answers: got {self.answers!r}, want 'continued' or 'forced'")
        object.__setattr__(self, "information_sign", measure_sign(self.measure))
        check_integer("samples", self.samples)
        check_integer("max_prompts", self.max_prompts, or_none=True)
        names = ("postfix_ids", "closing_ids", "eos_ids")
        if self.answers == "continued":
            for name in (*names, "max_answer_tokens"):
                if getattr(self, name):
                    raise ValueError(f"{name}: got {getattr(self, name)!r}, but continued answers take none")
            return
        for name in names:
            check_integers(name, getattr(self, name), least=0, or_empty=name != "postfix_ids")
        check_integer("max_answer_tokens", self.max_answer_tokens)

    @property
    def reads_answer(self) -> bool:  # type: ignore[override]
        """Whether a rollout's own answer is scored, or its exit asks for one."""
        return self.measure == "likelihood" or self.answers == "forced"

    @property
    def takes_reference(self) -> bool:
        """Whether the likelihood of one answer is measured."""
        return self.measure == "likelihood"

    def probe(self, model: nn.Module, rollout: Rollout) -> Float[Tensor, "batch probe"]:
        """``H_t`` or ``log p_t(y)`` in nats at every probe that a difference will read, 0 elsewhere."""
        at = needed_probes(rollout)
        if self.measure == "likelihood":
            asked = torch.tensor([bool(answer) for answer in read_answers(rollout)], device=at.device)
            at = at & asked.reshape(-1, 1)
        return self.values(self.distributions(model, rollout, at), rollout).to(at.device, torch.float32)

    def distributions(
        self, model: nn.Module, rollout: Rollout, at: Bool[Tensor, "batch probe"] | None = None
    ) -> AnswerCounts:
        """Sample and count the answers after each prefix.

        Args:
            model: a causal language model, handed to ``sampler``.
            rollout: the completions whose prefixes are taken.
            at: which prefixes; ``None``: those beside a token of the reasoning span.

        Returns:
            The counts, which do not depend on ``measure``: the same samples serve both.

        Raises:
            ValueError: ``at`` of another shape or beyond a completion's end, or a sampler that marks no answers.
        """
        at = needed_probes(rollout) if at is None else at
        batch, token = rollout.completion_ids.shape
        if tuple(at.shape) != (batch, token + 1):
            raise ValueError(f"at: want shape (batch, token + 1) = {(batch, token + 1)}, got {tuple(at.shape)}")
        if bool((at[:, 1:] & ~rollout.completion_mask).any()):
            raise ValueError("at: is True beyond the end of a completion")
        where = [(row, probe) for row, probe in at.nonzero().tolist()]
        asking = asking_ids(rollout, self.postfix_ids) if self.answers == "forced" else [()] * batch
        prompts = unpad_rows(rollout.prompt_ids, rollout.prompt_mask)
        completions = unpad_rows(rollout.completion_ids, rollout.completion_mask)
        prefixes = [[*prompts[row], *completions[row][:probe], *asking[row]] for row, probe in where]
        # The answers that the exits ask about: they count as what they are, however the token of a tag is cut.
        answers = [()] * batch if rollout.answer_ids is None else read_answers(rollout)
        own = [(scored, answer) for (_, scored), answer in zip(split_exits(rollout), answers, strict=True)]
        sampler = self.sampler(model)
        step = self.max_prompts or max(1, len(where))
        probes: dict[tuple[int, int], Counter[Answer]] = {probe: Counter() for probe in where}
        for start in range(0, len(where), step):
            sampled = sampler(prefixes[start : start + step], self.samples)
            rows = [where[start + prompt] for prompt in sampled.group_ids.tolist()]
            for probe, answer in zip(rows, self._answers(sampled, [own[row] for row, _ in rows]), strict=True):
                probes[probe][answer] += 1
        return AnswerCounts(probes, (batch, token + 1))

    def values(self, counts: AnswerCounts, rollout: Rollout) -> Float[Tensor, "batch probe"]:
        """The probes of `distributions`' counts by ``measure``; nats, float64, on the CPU."""
        if self.measure == "entropy":
            return counts.entropies()
        return counts.log_likelihoods(read_answers(rollout))

    def standard_errors(self, counts: AnswerCounts, rollout: Rollout) -> Float[Tensor, "batch probe"]:
        """The standard error of each of `values`; see `iapo.estimators.answer_counts` for the formulas."""
        if self.measure == "entropy":
            return counts.entropy_errors()
        return counts.log_likelihood_errors(read_answers(rollout))

    def _answers(self, sampled: Rollout, own: Sequence[tuple[Answer, Answer]]) -> list[Answer]:
        if self.answers == "continued":
            return read_answers(sampled, "what the sampler returned")
        rows = zip(unpad_rows(sampled.completion_ids, sampled.completion_mask), own, strict=True)
        return [self._forced_answer(tuple(ids[: self.max_answer_tokens]), *each) for ids, each in rows]

    def _forced_answer(self, ids: Answer, scored: Answer, answer: Answer) -> Answer:
        """The tokens before the first closing or end of sequence; the row's own answer where its exit was sampled."""
        scored = scored[: self.max_answer_tokens]
        if scored and ids[: len(scored)] == scored:
            return answer
        size = len(self.closing_ids)
        ends = (
            position
            for position, token in enumerate(ids)
            if token in self.eos_ids or (size and ids[position : position + size] == self.closing_ids)
        )
        return ids[: next(ends, len(ids))]


def measure_sign(measure: str) -> int:
    """`iapo.MIEstimator.information_sign` of a measure: -1 for an entropy, +1 for a likelihood.

    Raises:
        ValueError: another measure.
    """
    signs = {"entropy": -1, "likelihood": 1}
    if measure not in signs:
        raise ValueError(f"measure: got {measure!r}, want 'entropy' or 'likelihood'")
    return signs[measure]
