"""One update of the reference loop, from prompts to new weights: `prepare`, then `optimise`."""

from collections import defaultdict
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from iapo.ops.arguments import arguments_named
from iapo.policy.logprobs import completion_logprobs
from iapo.rewards.columns import check_rows, read_references
from iapo.rewards.scores import Scores
from iapo.rollout.collation import ask_about
from iapo.rollout.ends import eos_ids_of, style_of
from iapo.training.assigning import assign
from iapo.training.batches import batches_of_update
from iapo.training.components import Components, UpdateSettings, check_answer_is_read
from iapo.training.distributed.divided import divided, divided_scores
from iapo.training.distributed.synchronised import loss_scale, synced
from iapo.training.gradient_checkpointing import checkpointing
from iapo.training.known_signals import known_signals
from iapo.training.lacking import lacking_answers, lacking_spans
from iapo.training.learning import denominator_of, learned_from
from iapo.training.metrics import check_names, sampler_metrics, sampling_metrics, timed
from iapo.training.resample import Resampling, Rows, Samples, uninformative
from iapo.training.signals import logprobs_of
from iapo.training.step_loss import StepLoss
from iapo.types import AdvantageOutput, Rollout, TokenSignals


@dataclass(frozen=True, eq=False)
class TrainingBatch:
    """Completions with their advantages: what `prepare` returns and `optimise` learns from.

    Args:
        rows: one mapping per prompt; ``rollout.group_ids`` are indices into it.
        rollout: the completions that take part in the update; none if no reward could score any.
        rewards: of each completion.
        scores: those by function, of the same completions.
        probed: the completions whose information was estimated.
        signals: what the assigner required.
        assigned: advantages and loss mask.
        metrics: of sampling, scoring and assigning, by name.
    """

    rows: Rows
    rollout: Rollout
    rewards: Float[Tensor, " batch"]
    scores: Scores
    probed: Bool[Tensor, " batch"]
    signals: TokenSignals
    assigned: AdvantageOutput
    metrics: dict[str, float]


@dataclass(frozen=True, eq=False)
class PolicyUpdate:
    """What `optimise` returns.

    Args:
        metrics: of the loss and of the optimizer step, by name.
        policy_logprobs: of the completions' tokens before the update, nats.
        policy_entropy: of the next-token distributions before the update, nats.
    """

    metrics: dict[str, float]
    policy_logprobs: Float[Tensor, "batch token"]
    policy_entropy: Float[Tensor, "batch token"]


@arguments_named
def update(
    rows: Rows,
    model: nn.Module,
    tokenizer: Any,
    components: Components,
    settings: UpdateSettings,
    ref_model: nn.Module | None = None,
    resampling: Resampling | None = None,
) -> dict[str, float]:
    """Sample completions of ``rows``, score them, assign advantages and update the policy.

    This is `prepare` followed by `optimise`; arguments and errors are theirs.

    Returns:
        The metrics of both by name: those of TRL where TRL has them, ours under ``iapo/``.
    """
    batch = prepare(rows, model, tokenizer, components, settings, resampling)
    return batch.metrics | optimise(batch, model, components, settings, ref_model).metrics


@arguments_named
def prepare(
    rows: Rows,
    model: nn.Module,
    tokenizer: Any,
    components: Components,
    settings: UpdateSettings,
    resampling: Resampling | None = None,
) -> TrainingBatch:
    """Sample completions of ``rows``, score them, and assign an advantage to each of their tokens.

    A completion that no reward can score (``iapo/completions/unscored``) leaves its group, so that it does not move the
    group's baseline. A completion that is then alone in its group has no baseline (``.../without_baseline``) and leaves
    too. The metric ``num_tokens`` counts all tokens that were sampled, those of replaced groups too; rewards and
    lengths are those of ``rows`` before any group was replaced, so that they compare with a run that replaces nothing.

    Args:
        rows: one mapping per prompt; its ``prompt`` is sampled from, and all its columns go to the rewards.
        model: the policy.
        tokenizer: decodes completions for the rewards, and encodes reference answers.
        components: the sampler, the rewards, the estimator and the assigner are used.
        settings: how they are called.
        resampling: replaces groups whose rewards are all equal; ``None``: they stay.

    Raises:
        ValueError: no rows, a row without a prompt, or as the components raise it.
    """
    check_rows(rows)
    check_answer_is_read(settings.answer, components.estimator)
    metrics: dict[str, float] = {}
    sampler = divided(components.sampler, model, settings.processes)
    score = divided_scores(settings.processes, settings.reward_time_limit, settings.correct_above)

    def sample(rows: Rows) -> Samples:
        """Completions of these prompts with their scores."""
        device = next(model.parameters()).device
        with timed(metrics, "iapo/time/sample"), settings.autocast_context(device):
            rollout = sampler([row["prompt"] for row in rows], settings.group_size).to(device)
        with timed(metrics, "iapo/time/reward"):
            columns = [rows[group] for group in rollout.group_ids.tolist()]
            return Samples(rows, rollout, score(rollout, columns, tokenizer, components.rewards, eos_ids))

    eos_ids = eos_ids_of(components.sampler, tokenizer)
    samples = sample(rows)
    metrics |= sampling_metrics(samples.rollout, samples.scores, eos_ids)
    metrics["iapo/groups/equal_rewards"] = len(uninformative(samples)) / len(rows)
    metrics |= lacking_answers(samples.rollout, samples.scores.columns[:, 0], eos_ids)
    if resampling is not None:
        resampled = resampling(samples, sample)
        samples = resampled.samples
        metrics["num_tokens"] += resampled.tokens
        metrics |= {"iapo/resample/rounds": resampled.rounds, "iapo/resample/groups": resampled.groups}
    rollout, scores = samples.rollout, samples.scores
    columns = [samples.rows[group] for group in rollout.group_ids.tolist()]
    if settings.answer == "reference":
        references = read_references(samples.rows)
        texts = [references[group] for group in rollout.group_ids.tolist()]
        rollout = ask_about(rollout, texts, tokenizer, style_of(components.sampler))
    device = rollout.completion_mask.device
    rewards = scores.total.masked_fill(~scores.scored, torch.nan).to(device)
    with timed(metrics, "iapo/time/estimate"), settings.autocast_context(device):
        assigned = assign(
            model,
            rollout,
            rewards,
            scores.correct.to(device),
            components.assigner,
            components.estimator,
            components.sampler.temperature,
            settings.micro_batch,
            known_signals(components.assigner.requires, rollout, columns, scores.columns),
            processes=settings.processes,
        )
    check_names(components.assigner, "assign", assigned.output.metrics)
    metrics |= assigned.metrics | assigned.output.metrics
    if assigned.signals.information is not None:
        rewarded = assigned.probed & ((rewards > 0) | scores.correct.to(device))
        lacking = lacking_spans(rollout, assigned.signals.information, rewarded, components.sampler)
        metrics |= lacking.metrics
        lacking.warn()
    kept = assigned.kept.nonzero().flatten()
    rollout = rollout.select(kept)
    assigned, rewards = assigned.select(kept, rollout.completion_ids.shape[1]), rewards[kept]
    scores = scores.select(kept.tolist())
    return TrainingBatch(
        samples.rows, rollout, rewards, scores, assigned.probed, assigned.signals, assigned.output, metrics
    )


@arguments_named
def optimise(
    batch: TrainingBatch,
    model: nn.Module,
    components: Components,
    settings: UpdateSettings,
    ref_model: nn.Module | None = None,
) -> PolicyUpdate:
    """Update the policy on completions with advantages; an empty batch changes nothing and has no metrics.

    Args:
        batch: of `prepare`, or made by another loop.
        model: the policy.
        components: the loss and the optimizer are used, and the sampler's temperature.
        settings: micro-batches, epochs and precision.
        ref_model: reference policy for the KL penalty, if the loss has one.

    Raises:
        ValueError: a loss without a gradient, from which nothing would be learned; or as the components raise it.
    """
    rollout, assigned, temperature = batch.rollout, batch.assigned, components.sampler.temperature
    processes, scale = settings.processes, loss_scale(model, settings.processes)
    shape, device = rollout.completion_mask.shape, rollout.completion_mask.device
    logprobs_before = torch.zeros(shape, dtype=torch.float32, device=device)
    entropy_before = torch.zeros_like(logprobs_before)
    if len(rollout) == 0:
        return PolicyUpdate({}, logprobs_before, entropy_before)
    metrics: dict[str, float] = {}
    with timed(metrics, "iapo/time/update"):
        step_loss = StepLoss(
            components.loss,
            assigned.advantages,
            assigned.loss_mask,
            denominator=denominator_of(components.loss, assigned.loss_mask),
            old_logprobs=None if settings.epochs == 1 else logprobs_of(model, rollout, temperature, settings),
            ref_logprobs=None if ref_model is None else logprobs_of(ref_model, rollout, temperature, settings),
            sampler_logprobs=rollout.sampler_logprobs if components.loss.requires_sampler else None,
        )
        learns = learned_from(components.loss, assigned.advantages, assigned.loss_mask)
        batches = batches_of_update(model, rollout, settings.micro_batch, learns, processes)
        for epoch in range(settings.epochs):
            totals: dict[str, float] = defaultdict(float)
            for index, each in enumerate(batches):
                part, last = rollout.select(each.rows), index == len(batches) - 1
                with synced(model, last, each.learns), checkpointing(model, settings.gradient_checkpointing):
                    with settings.autocast_context(device), torch.set_grad_enabled(each.learns):
                        logprobs, entropy = completion_logprobs(model, part, temperature, with_entropy=True)
                    assert entropy is not None
                    with processes.together(), torch.enable_grad():
                        output, loss = step_loss(each, logprobs)
                        loss = scale * loss
                    if each.learns:
                        stats = components.optimizer(loss, boundary=last)
                if not each.counts:
                    continue
                if epoch == 0:
                    logprobs_before[each.rows, : logprobs.shape[1]] = logprobs.detach().float()
                    entropy_before[each.rows, : entropy.shape[1]] = entropy.float()
                totals["loss"] += output.loss.item()
                totals["entropy"] += float(entropy.sum() / rollout.completion_mask.sum().clamp(min=1))
                check_names(components.loss, "compute", output.metrics)
                for name, value in output.metrics.items():
                    totals[name] += value.item()
            totals = processes.add(totals)
    logprobs_before, entropy_before = processes.join(logprobs_before), processes.join(entropy_before)
    assert stats is not None  # of the last micro-batch
    metrics |= totals | sampler_metrics(rollout, logprobs_before)
    metrics |= {"grad_norm": stats.grad_norm, "learning_rate": stats.learning_rate}
    metrics["iapo/steps_skipped"] = float(stats.skipped)
    return PolicyUpdate(metrics, logprobs_before, entropy_before)
