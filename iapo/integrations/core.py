"""From an engine's texts and tensors to token advantages: what the integration of every engine calls."""

import dataclasses
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from iapo.interfaces import AdvantageAssigner, MIEstimator
from iapo.ops.checks import check_integer, check_number, check_one_device
from iapo.ops.correct import CORRECT_ABOVE, correct_by
from iapo.ops.shapes import shape_checked
from iapo.policy.logprobs import check_temperature
from iapo.rewards.columns import read_references
from iapo.rollout.collation import ask_about, read_anew
from iapo.styles import USUAL_STYLE, CompletionStyle
from iapo.training.assigning import Assigned, assign
from iapo.training.components import Answer, check_answer_is_read, check_same_temperature, warn_of_nothing_measured
from iapo.training.distributed.ranks import ALONE, Ranks
from iapo.training.known_signals import known_signals
from iapo.training.lacking import lacking_answers, lacking_spans
from iapo.types import Rollout, TokenSignals


@dataclass(frozen=True, eq=False)
class Credited:
    """Token advantages as an engine gets them back: tensors have the rows and the width that it gave.

    Args:
        advantages: of each token; 0 outside of the loss mask.
        loss_mask: the tokens that enter the loss. An engine must take it over: it can be smaller than the completion.
        information: nats, of each token; 0 where it was not measured. ``None``: the assigner reads none.
        metrics: scalars over all processes, by names that begin with ``iapo/``.
    """

    advantages: Float[Tensor, "batch token"]
    loss_mask: Bool[Tensor, "batch token"]
    information: Float[Tensor, "batch token"] | None
    metrics: dict[str, float]


@dataclass(frozen=True)
class TokenAdvantages:
    """Token advantages of completions that an engine sampled and scored, by the pieces of the reference loop.

    On the same completions and rewards they are those of `iapo.training.loop.prepare`.

    Args:
        tokenizer: of the policy.
        estimator: measures the information.
        assigner: turns it into advantages. One that wraps `iapo.advantages.GivenOutcome` adds to those of the engine.
        temperature: at which the engine samples.
        micro_batch: completions in one forward.
        eos_ids: end-of-sequence ids.
        style: how the completions reason and answer.
        max_new_tokens: the engine's limit of a completion.
        answer: what the estimator is asked about; of the ``reference``, `read` must be given references.
        correct_above: a completion is right if the reward that says so is above this.

    Raises:
        ValueError: a ``correct_above`` that is no finite number, a ``temperature`` that is not positive and finite, an
            estimator that measures at another, ``micro_batch`` below 1, or references that nobody asks about.
    """

    tokenizer: Any
    estimator: MIEstimator
    assigner: AdvantageAssigner
    temperature: float = 1.0
    micro_batch: int = 8
    eos_ids: Collection[int] = ()
    style: CompletionStyle = USUAL_STYLE
    max_new_tokens: float = math.inf
    answer: Answer = "own"
    correct_above: float = CORRECT_ABOVE

    def __post_init__(self) -> None:
        check_number("correct_above", self.correct_above)
        check_temperature(self.temperature)
        check_same_temperature(self.estimator, self.assigner, self.temperature)
        warn_of_nothing_measured(self.estimator, self.assigner)
        check_answer_is_read(self.answer, self.estimator, self.assigner)
        check_integer("micro_batch", self.micro_batch)

    @property
    def takes_outcome(self) -> bool:
        """Whether the assigner builds on the engine's advantages; otherwise it computes its own from the rewards."""
        return "outcome_advantages" in self.assigner.requires

    @shape_checked
    def read(
        self,
        prompt_ids: Int[Tensor, "batch prompt"],
        prompt_mask: Bool[Tensor, "batch prompt"],
        completion_ids: Int[Tensor, "batch token"],
        completion_mask: Bool[Tensor, "batch token"],
        group_ids: Int[Tensor, " batch"],
        written: Bool[Tensor, "batch token"] | None = None,
        references: Sequence[Any] | None = None,
    ) -> Rollout:
        """The completions with their reasoning and the answers that the estimator is asked about.

        Args:
            prompt_ids: left-padded.
            prompt_mask: ``True`` at their tokens.
            completion_ids: right-padded.
            completion_mask: ``True`` at their tokens.
            group_ids: of the prompts, over all processes.
            written: the tokens that the policy wrote; no others, such as the output of a tool, are probed. ``None``:
                those of the completion mask.
            references: of each completion the entry of the data set's column of answers, which are asked about in place
                of the completions' own.

        Raises:
            jaxtyping.TypeCheckError: wrong shapes or dtypes; the message names the argument and the sizes.
            ValueError: not one reference for each completion, or one that no answer can be read of.
        """
        rollout = Rollout(
            prompt_ids=prompt_ids,
            prompt_mask=prompt_mask,
            completion_ids=completion_ids,
            completion_mask=completion_mask,
            reasoning_mask=completion_mask,
            group_ids=group_ids,
        )
        rollout = read_anew(rollout, self.tokenizer, self.style, self.eos_ids)
        if references is not None:
            if isinstance(references, str) or len(references) != len(rollout):
                got = f"the text {references!r:.80}" if isinstance(references, str) else f"{len(references)} entries"
                raise ValueError(f"references: got {got}, want one entry for each of {len(rollout)} completions")
            texts = read_references([{"answer": reference} for reference in references])
            rollout = ask_about(rollout, texts, self.tokenizer, self.style)
        if written is None:
            return rollout
        return dataclasses.replace(rollout, reasoning_mask=rollout.reasoning_mask & written)

    @shape_checked
    def __call__(
        self,
        model: nn.Module,
        rollout: Rollout,
        rewards: Float[Tensor, " batch"],
        outcome: Float[Tensor, "batch token"],
        written: Bool[Tensor, "batch token"] | None = None,
        columns: Sequence[Mapping[str, Any]] = (),
        known: Mapping[str, Tensor] | None = None,
        progress: float | int = 0.0,
        ranks: Ranks = ALONE,
    ) -> Credited:
        """The advantages of the tokens of this process.

        A completion whose reward is NaN is in no statistic. It keeps the engine's advantages if the assigner builds on
        them, and leaves the loss otherwise.

        Args:
            model: the policy that sampled.
            rollout: of `read`.
            rewards: what says which completions are right. An assigner that computes an outcome of its own computes it
                from them.
            outcome: the engine's advantages.
            written: as in `read`; the tokens that the engine's loss counts.
            columns: of each completion the row of the data set, for assigners that require columns of it.
            known: signals that the engine has measured, by name.
            progress: share of the training that is done, for schedules.
            ranks: the processes that share the batch; all of them call this function.

        Raises:
            jaxtyping.TypeCheckError: wrong shapes or dtypes; the message names the argument and the sizes.
            ValueError: tensors of other rows or another width than the rollout's, or on several devices, written tokens
                outside of the completions, or others than `read` was given, or a known signal that there is not.
            FloatingPointError: the assigner builds on the outcome, which is not finite at a written token.
        """
        known = known or {}
        written = rollout.completion_mask if written is None else written
        _check_beside(rollout, rewards, outcome, written, known)
        assigner = self.assigner.at(progress)
        outcome = outcome.detach().masked_fill(~written, 0)
        if self.takes_outcome:
            _check_outcome(outcome, ranks)
        signals = known_signals(assigner.requires, rollout, columns, rewards[:, None])
        if self.takes_outcome:
            signals["outcome_advantages"] = outcome
        signals |= {name: values for name, values in known.items() if name in assigner.requires}
        correct = correct_by(rewards, self.correct_above)
        assigned = assign(
            model,
            rollout,
            rewards,
            correct,
            assigner,
            self.estimator,
            self.temperature,
            self.micro_batch,
            signals,
            written,
            ranks,
        )
        advantages, loss_mask = assigned.output.advantages, assigned.output.loss_mask
        if self.takes_outcome:
            advantages = torch.where(assigned.kept[:, None], advantages, outcome)
            loss_mask = torch.where(assigned.kept[:, None], loss_mask, written)
        metrics = _metrics(assigned) | lacking_answers(rollout, rewards, self.eos_ids, ranks)
        information = assigned.signals.information
        if information is not None:
            rewarded = assigned.probed & ((rewards > 0) | correct)
            lacking = lacking_spans(rollout, information, rewarded, self, ranks)
            lacking.warn()
            metrics |= lacking.metrics
            metrics["iapo/completions/probed"] = float(ranks.gather(assigned.probed).sum())
        return Credited(advantages, loss_mask, information, metrics)


def _metrics(assigned: Assigned) -> dict[str, float]:
    """Those of the assigner, and how many completions were left out, by names that begin with ``iapo/``."""
    return {
        name if name.startswith("iapo/") else f"iapo/{name}": value
        for name, value in (assigned.metrics | assigned.output.metrics).items()
    }


def _check_beside(
    rollout: Rollout, rewards: Tensor, outcome: Tensor, written: Tensor, known: Mapping[str, Tensor]
) -> None:
    """Raise ``ValueError`` unless what an engine hands over belongs to the completions."""
    completion_mask = rollout.completion_mask
    names = {each.name for each in dataclasses.fields(TokenSignals)}
    if unknown := sorted(set(known) - names):
        raise ValueError(f"known: got {unknown}, want names of signals, some of {sorted(names)}")
    tensors = {"rewards": rewards, "outcome": outcome, "written": written}
    check_one_device("TokenAdvantages", {**tensors, **known, "rollout.completion_mask": completion_mask})
    for name, values in tensors.items():
        want = completion_mask.shape[: values.ndim]
        if values.shape != want:
            raise ValueError(f"{name}: got shape {tuple(values.shape)}, want {tuple(want)}, as the rollout has")
    if bool((written & ~completion_mask).any()):
        rows = (written & ~completion_mask).any(1).nonzero().flatten().tolist()
        raise ValueError(f"written: True outside of the completions in rows {rows}, want tokens of theirs only")
    if bool((rollout.reasoning_mask & ~written).any()):
        rows = (rollout.reasoning_mask & ~written).any(1).nonzero().flatten().tolist()
        raise ValueError(f"written: False at tokens of the reasoning in rows {rows}, want what `read` was given")


def _check_outcome(outcome: Float[Tensor, "batch token"], ranks: Ranks) -> None:
    """Raise ``FloatingPointError``, on all processes, for advantages of the engine that are not finite."""
    bad = ranks.gather(~outcome.isfinite().all(1))
    if bool(bad.any()):
        rows = bad.nonzero().flatten().tolist()
        raise FloatingPointError(f"outcome: NaN or infinite advantage in rows {rows} of the batch of all processes")
