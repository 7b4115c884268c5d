"""The diagnosis of an update: where information lies, and what the update does to the length of completions.

It stands outside of the update: `Diagnosis.before` is called between `iapo.training.loop.prepare` and
`iapo.training.loop.optimise`, and `Diagnosis.after` afterwards. It changes nothing in the training.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from iapo.diagnostics import (
    classify_completions,
    entropy_by_correctness,
    information_by_class,
    information_slope,
    length_change,
    length_gradient,
    loss_pull,
    realized_length_change,
)
from iapo.diagnostics.gradient_of_length import plain_gradients
from iapo.ops.groups import Groups
from iapo.ops.random_state import fork_rng
from iapo.policy.forward import inference_mode
from iapo.policy.logprobs import completion_logprobs
from iapo.policy.ranks import unsynced
from iapo.policy.sharded_gradients import sharded_gradients
from iapo.policy.whole_weights import fsdp_modules, own_shards, whole_weights
from iapo.tasks.interface import Classifier
from iapo.training.components import Components, UpdateSettings
from iapo.training.distributed.divided import divided
from iapo.training.interruption import Interrupted
from iapo.training.loop import PolicyUpdate, TrainingBatch, optimise, prepare
from iapo.training.metrics import timed
from iapo.training.resample import Resampling, Rows
from iapo.training.signals import information_of, logprobs_of
from iapo.types import Rollout

SKIPPED = "iapo/diagnostics/skipped"
"""The metric of an update that was to be diagnosed, and in which all groups had equal rewards."""


@dataclass(frozen=True)
class Diagnosis:
    """What is measured around an update, at the cost of probes, forwards, backwards and one more sampling.

    An empty batch has no metrics.

    Args:
        model: the policy.
        tokenizer: decodes completions for ``classifier``.
        components: those of the update.
        settings: those of the update.
        classifier: labels the tokens of completions, so that information is logged by class; ``None``: no classes.
    """

    model: nn.Module
    tokenizer: Any
    components: Components
    settings: UpdateSettings
    classifier: Classifier | None = None

    def before(self, batch: TrainingBatch) -> dict[str, float]:
        """The pull of each term of the advantage on the length, and where information lies in all completions.

        Information is described only if the assigner requires it, but then over right and wrong completions alike,
        whichever the assigner asks for.
        """
        if len(batch.rollout) == 0:
            return {}
        metrics = self._length_gradients(batch)
        if batch.signals.information is None:
            return metrics
        device = batch.rollout.completion_ids.device
        # Completions that the assigner did not ask for are probed in micro-batches of their own: in the assigner's
        # micro-batches they would change the rounding of what it reads.
        with self.settings.autocast_context(device), fork_rng(device):
            others = information_of(
                self.model,
                batch.rollout,
                self.components.estimator,
                ~batch.probed,
                self.settings.micro_batch,
                self.settings.processes,
            )
        labels = None
        if self.classifier is not None:
            prompts = [batch.rows[group]["prompt"] for group in batch.rollout.group_ids.tolist()]
            labels = classify_completions(batch.rollout, prompts, self.tokenizer, self.classifier)
        return metrics | describe_information(batch.rollout, batch.signals.information + others, labels)

    def after(self, batch: TrainingBatch, done: PolicyUpdate) -> dict[str, float]:
        """The change of length: predicted from the update's completions, and realized in newly sampled ones."""
        if len(batch.rollout) == 0:
            return {}
        temperature, device = self.components.sampler.temperature, batch.rollout.completion_ids.device
        logprobs = logprobs_of(self.model, batch.rollout, temperature, self.settings)
        with self.settings.autocast_context(device), fork_rng(device):
            sampler = divided(self.components.sampler, self.model, self.settings.processes)
            fresh = sampler([row["prompt"] for row in batch.rows], self.settings.group_size)
        return length_changes(batch.rollout, done.policy_logprobs, logprobs, fresh)

    def _length_gradients(self, batch: TrainingBatch) -> dict[str, float]:
        """`length_gradient` of each term of the advantages; empty for an assigner that does not split them.

        Gradients that the optimizer holds stay as they are. On several processes each computes it of all completions,
        where FSDP2 shards weights by its own shards.
        """
        temperature, assigned = self.components.sampler.temperature, batch.assigned

        def logprobs(part: Rollout) -> Float[Tensor, "batch token"]:
            with self.settings.autocast_context(part.completion_ids.device):
                return completion_logprobs(self.model, part, temperature)[0]

        pulls = {
            name: loss_pull(self.components.loss, term, assigned.loss_mask)
            for name, term in (assigned.terms or {}).items()
        }
        if not pulls:
            return {}
        size, is_sharded = self.settings.micro_batch, bool(fsdp_modules(self.model))
        gradients = sharded_gradients if is_sharded else plain_gradients
        # Gradients by weights of ZeRO-3 need whole ones.
        gathered = nullcontext() if is_sharded else whole_weights(self.model)
        with gathered, inference_mode(self.model), torch.enable_grad(), unsynced(self.model):
            values = length_gradient(logprobs, own_shards(self.model), batch.rollout, pulls, size, gradients)
        if is_sharded:
            values = self.settings.processes.add(values)
        return {f"iapo/diagnostics/length_gradient/{name}": value for name, value in values.items()}


def diagnosed_update(
    rows: Rows,
    model: nn.Module,
    tokenizer: Any,
    components: Components,
    settings: UpdateSettings,
    ref_model: nn.Module | None = None,
    resampling: Resampling | None = None,
    diagnosis: Diagnosis | None = None,
    leaving: Callable[[], AbstractContextManager[Any]] = nullcontext,
    see: Callable[[TrainingBatch], None] | None = None,
) -> dict[str, float]:
    """`iapo.training.loop.update` with the entropy on right and wrong completions, and measured by ``diagnosis``.

    Without a diagnosis, only its metrics are missing; the update is the same. Where all groups have equal rewards,
    nothing is diagnosed: the metric ``iapo/diagnostics/skipped`` is 1, and the cost is saved.

    Args:
        leaving: makes a context that may raise `iapo.training.interruption.Interrupted`. Before the update it ends the
            call, and nothing of the policy has changed; after the update only the rest of the diagnosis is left out.
        see: gets the completions of the update and their advantages.
    """
    with leaving():
        batch = prepare(rows, model, tokenizer, components, settings, resampling)
        if see is not None:
            see(batch)
        metrics = dict(batch.metrics)
        if diagnosis is not None and not rewards_differ(batch):
            diagnosis = None
            metrics[SKIPPED] = 1.0
        if diagnosis is not None:
            with timed(metrics, "iapo/time/diagnose"):
                metrics |= diagnosis.before(batch)
    done = optimise(batch, model, components, settings, ref_model)
    metrics |= done.metrics | describe_entropy(batch, done)
    if diagnosis is not None:
        with timed(metrics, "iapo/time/diagnose"), suppress(Interrupted), leaving():
            metrics |= diagnosis.after(batch, done)
    return metrics


def rewards_differ(batch: TrainingBatch) -> bool:
    """Whether there is a group whose completions have different rewards."""
    return not bool(Groups.of(batch.rollout.group_ids).constant(batch.rewards).all())


def describe_entropy(batch: TrainingBatch, done: PolicyUpdate) -> dict[str, float]:
    """Entropy of the policy on right and on wrong completions: ``iapo/diagnostics/entropy/correct`` and ``.../wrong``.

    Args:
        batch: the completions of the update; the first reward says which are right (`iapo.rewards.Scores.correct`).
        done: has the entropy of the policy that sampled, nats.
    """
    metrics: dict[str, float] = {}
    mask, ids = batch.rollout.completion_mask, batch.rollout.group_ids
    correct = batch.scores.correct.to(mask.device)
    for name, estimate in entropy_by_correctness(done.policy_entropy, mask, ids, correct).items():
        metrics |= estimate.metrics(f"iapo/diagnostics/entropy/{name}")
    return metrics


def describe_information(
    rollout: Rollout, information: Float[Tensor, "batch token"], labels: Sequence[Sequence[str]] | None = None
) -> dict[str, float]:
    """``iapo/diagnostics/information_slope`` and ``iapo/diagnostics/information/CLASS``, over all completions.

    A completion without an answer in which every token has information 0 is left out: an estimator that asks about the
    answer has measured nothing there, and such completions are the long ones that were cut off.

    Args:
        rollout: the completions of the update.
        information: of all of them before the update, nats, 0 outside the reasoning.
        labels: the class of every token of each completion; ``None``: no classes.
    """
    known = torch.ones(len(rollout), dtype=torch.bool, device=information.device)
    if rollout.answer_mask is not None:
        known = rollout.answer_mask.any(1) | (information != 0).any(1)
    measured = rollout.reasoning_mask & known[:, None]
    mask, ids = rollout.completion_mask, rollout.group_ids
    slope = information_slope(information, measured, mask, ids)
    metrics = {} if slope is None else slope.metrics("iapo/diagnostics/information_slope")
    classes = {} if labels is None else information_by_class(information, measured, mask, ids, labels)
    for name, estimate in classes.items():
        metrics |= estimate.metrics(f"iapo/diagnostics/information/{name}")
    return metrics


def length_changes(
    rollout: Rollout,
    logprobs_before: Float[Tensor, "batch token"],
    logprobs_after: Float[Tensor, "batch token"],
    fresh: Rollout,
) -> dict[str, float]:
    """Predicted and realized change: ``iapo/diagnostics/length_change/first_order``, ``exact`` and ``realized``.

    Args:
        rollout: the completions of the update, so that the prediction has the bias that `length_change` describes.
        logprobs_before: of its tokens before the update, nats.
        logprobs_after: of its tokens after the update, nats.
        fresh: completions of the same prompts, sampled after the update.
    """
    predicted = length_change(logprobs_before, logprobs_after, rollout.completion_mask, rollout.group_ids)
    came = realized_length_change(rollout.completion_mask, rollout.group_ids, fresh.completion_mask, fresh.group_ids)
    metrics = {} if predicted is None else predicted.metrics()
    return metrics | ({} if came is None else came.metrics("iapo/diagnostics/length_change/realized"))
