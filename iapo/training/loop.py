"""One update of the reference loop, from prompts to new weights, top to bottom."""

import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import Any, Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from iapo.diagnostics import classify_completions
from iapo.interfaces import AdvantageAssigner, MIEstimator, PolicyLoss, PolicyOptimizer, Reward, Sampler
from iapo.policy.forward import inference_mode
from iapo.policy.logprobs import completion_logprobs
from iapo.rewards.rollouts import score_rollout
from iapo.rewards.scores import Scores
from iapo.rewards.text import reference_answer
from iapo.rollout.collation import with_answers
from iapo.training.diagnosis import Cast, describe, describe_information, fork_rng, length_changes, length_gradients
from iapo.training.resample import Resampling, Rows, Samples
from iapo.types import Rollout, TokenSignals

Answer = Literal["own", "reference"]


def update(
    rows: Rows,
    *,
    model: nn.Module,
    tokenizer: Any,
    sampler: Sampler,
    rewards: Mapping[str, Reward],
    estimator: MIEstimator,
    assigner: AdvantageAssigner,
    loss: PolicyLoss,
    optimizer: PolicyOptimizer,
    group_size: int,
    micro_batch: int,
    epochs: int = 1,
    answer: Answer = "own",
    ref_model: nn.Module | None = None,
    autocast: torch.dtype | None = None,
    resampling: Resampling | None = None,
    diagnose: bool = False,
    classify: Callable[[str, str], Sequence[str]] | None = None,
) -> dict[str, float]:
    """Sample completions for ``rows``, score them, assign advantages, and update the policy.

    Args:
        rows: one mapping per prompt; its ``prompt`` is sampled from, all its columns go to the rewards.
        model: the policy.
        tokenizer: decodes completions for the rewards, encodes reference answers.
        sampler: draws ``group_size`` completions per prompt from the policy.
        rewards: reward functions by the name they are logged under; their sum is the reward.
        estimator: asked only if ``assigner`` requires information.
        assigner: rewards and signals to advantages.
        loss: advantages to a loss.
        optimizer: the loss to new weights.
        group_size: completions per prompt.
        micro_batch: completions per forward and backward; changes memory and speed, not the update.
        epochs: optimizer steps on the same completions; above 1 the ratio to the sampling policy moves away from 1.
        answer: what the estimator is asked about: the completion's ``own`` answer or the row's ``reference`` (its
            ``answer`` column; of a GSM8K solution what follows ``####``).
        ref_model: reference policy for the KL penalty, if the loss has one.
        autocast: reduced precision of the forwards; ``None``: as the weights are.
        resampling: replaces groups whose rewards are all equal; ``None``: they stay.
        diagnose: also measure what the update does to the length of completions and, if ``assigner`` requires
            information, where it lies in all completions (`iapo.training.diagnosis`). It takes probes, forwards,
            backwards and one more sampling of the same prompts, and changes nothing in the training.
        classify: prompt and completion, its end of sequence included, to the class of each of its tokens, such as
            `iapo.embedded.classify`; a diagnosed update then logs information by class. ``None``: no classes.

    Returns:
        Metrics of the step by name (those of TRL where TRL has them, ours under ``iapo/``). ``num_tokens`` counts all
        tokens sampled, those of replaced groups too; rewards and lengths are those of ``rows``, before anything was
        replaced, so that they compare with a run that replaces nothing. Completions that no reward could judge
        (``iapo/completions/unjudged``), and those that are then alone in their group (``.../without_baseline``), have
        no part in the update; where none is left there is no update, and no metric of one.
    """
    metrics: dict[str, float] = {}
    temperature = sampler.temperature
    # A fresh context for every block: torch.autocast cannot be entered twice, the second exit would leave it on.
    cast: Cast = partial(torch.autocast, next(model.parameters()).device.type, autocast) if autocast else nullcontext

    def draw(rows: Rows) -> Samples:
        """Completions of these prompts and what they are worth."""
        with timed(metrics, "iapo/time/sample"), cast():
            rollout = sampler([row["prompt"] for row in rows], group_size)
        with timed(metrics, "iapo/time/reward"):
            columns = [rows[group] for group in rollout.group_ids.tolist()]
            return Samples(rows, rollout, score_rollout(rollout, columns, tokenizer, rewards))

    samples = draw(rows)
    metrics |= sampling_metrics(samples.rollout, samples.scores, tokenizer)
    if resampling is not None:
        resampled = resampling(samples, draw)
        samples = resampled.samples
        metrics["num_tokens"] += resampled.tokens
        metrics |= {"iapo/resample/rounds": resampled.rounds, "iapo/resample/groups": resampled.groups}
    rollout, scores = samples.rollout, samples.scores
    judged = scores.scored.to(rollout.group_ids.device)
    alone = without_baseline(judged, rollout.group_ids)
    kept = (judged & ~alone).nonzero().flatten()
    metrics |= {
        "iapo/completions/unjudged": float((~judged).sum()),
        "iapo/completions/without_baseline": float(alone.sum()),
    }
    if answer == "reference":
        texts = [reference_answer(str(samples.rows[group]["answer"])) for group in rollout.group_ids.tolist()]
        rollout = with_answers(rollout, tokenizer(texts, add_special_tokens=False)["input_ids"])
    if len(kept) == 0:
        return metrics
    # A completion that no reward could judge leaves its group, so that it does not move the baseline; one that is left
    # alone by the others has no baseline, and goes too.
    rollout, outcome = rollout.select(kept), scores.total.to(rollout.group_ids.device)[kept]

    with timed(metrics, "iapo/time/estimate"), cast():
        batches = by_length(rollout, micro_batch)
        informed = assigner.wants_information(outcome, rollout.group_ids, rollout.completion_mask)
        if informed.dtype != torch.bool or informed.shape != outcome.shape:
            raise ValueError(
                f"{type(assigner).__name__}.wants_information: want bool of shape (batch,) = {tuple(outcome.shape)}, "
                f"got {informed.dtype} of shape {tuple(informed.shape)}"
            )
        signals = measure(model, rollout, batches, estimator, assigner.requires, informed, temperature)
        assigned = assigner(outcome, rollout.group_ids, rollout.completion_mask, signals)
    metrics |= assigned.metrics
    if diagnose:
        with timed(metrics, "iapo/time/diagnose"):
            metrics |= length_gradients(model, rollout, assigned, loss, micro_batch, temperature, cast)
            if signals.information is not None:
                # Completions that the assigner did not ask for are probed in batches of their own: in its batches they
                # would move the rounding of what it reads.
                with cast(), fork_rng(rollout.completion_ids.device):
                    others = information_of(model, rollout, estimator, ~informed, micro_batch)
                prompts = [samples.rows[group]["prompt"] for group in rollout.group_ids.tolist()]
                labels = None if classify is None else classify_completions(rollout, prompts, tokenizer, classify)
                metrics |= describe_information(rollout, signals.information + others, labels)

    with timed(metrics, "iapo/time/update"):
        old_logprobs = None if epochs == 1 else logprobs_of(model, rollout, batches, temperature, cast)
        ref_logprobs = None if ref_model is None else logprobs_of(ref_model, rollout, batches, temperature, cast)
        denominator = loss.denominator(assigned.loss_mask)
        logprobs_before = torch.zeros(rollout.completion_mask.shape, device=rollout.completion_mask.device)
        entropy_before = torch.zeros_like(logprobs_before)
        for epoch in range(epochs):
            totals: dict[str, float] = defaultdict(float)
            for index, batch in enumerate(batches):
                part = rollout.select(batch)
                with cast():
                    logprobs, entropy = completion_logprobs(model, part, temperature, with_entropy=True)
                assert entropy is not None
                if epoch == 0:
                    logprobs_before[batch, : logprobs.shape[1]] = logprobs.detach().float()
                    entropy_before[batch, : entropy.shape[1]] = entropy.float()
                output = loss(
                    policy_logprobs=logprobs,
                    old_logprobs=logprobs.detach() if old_logprobs is None else cut(old_logprobs, batch, part),
                    advantages=cut(assigned.advantages, batch, part),
                    loss_mask=cut(assigned.loss_mask, batch, part),
                    denominator=denominator,
                    ref_logprobs=None if ref_logprobs is None else cut(ref_logprobs, batch, part),
                )
                stats = optimizer(output.loss, boundary=index == len(batches) - 1)
                totals["loss"] += output.loss.item()
                totals["entropy"] += float(entropy.sum() / rollout.completion_mask.sum())
                for name, value in output.metrics.items():
                    totals[name] += value.item()
    metrics |= totals
    if stats is not None:
        metrics |= {
            "grad_norm": stats.grad_norm,
            "learning_rate": stats.learning_rate,
            "iapo/steps_skipped": float(stats.skipped),
        }
    metrics |= describe(rollout, outcome, entropy_before)
    if diagnose:
        with timed(metrics, "iapo/time/diagnose"):
            logprobs_after = logprobs_of(model, rollout, batches, temperature, cast)
            with cast(), fork_rng(rollout.completion_ids.device):
                fresh = sampler([row["prompt"] for row in samples.rows], group_size)
            metrics |= length_changes(rollout, logprobs_before, logprobs_after, fresh)
    return metrics


def without_baseline(judged: Bool[Tensor, " batch"], group_ids: Int[Tensor, " batch"]) -> Bool[Tensor, " batch"]:
    """Judged completions whose group had others, none of them judged. One that came alone is not left alone.

    Example:
        >>> without_baseline(torch.tensor([True, False, True, True, True]), torch.tensor([0, 0, 1, 1, 2])).tolist()
        [True, False, False, False, False]
    """
    _, group, size = group_ids.unique(return_inverse=True, return_counts=True)
    remaining = torch.zeros_like(size).index_add(0, group, judged.to(size.dtype))
    return judged & ((remaining == 1) & (size > 1))[group]


def measure(
    model: nn.Module,
    rollout: Rollout,
    batches: Sequence[Int[Tensor, " rows"]],
    estimator: MIEstimator,
    requires: frozenset[str],
    informed: Bool[Tensor, " batch"],
    temperature: float,
) -> TokenSignals:
    """The signals that an assigner requires, and no others, measured batch by batch; information where ``informed``."""
    signals: dict[str, Tensor] = {}
    shape, device = rollout.completion_mask.shape, rollout.completion_mask.device
    if "information" in requires:
        signals["information"] = information_of(model, rollout, estimator, informed, len(batches[0]))
        signals["information_mask"] = rollout.reasoning_mask & informed[:, None]
    if "policy_logprobs" in requires and rollout.sampler_logprobs is not None:
        signals["policy_logprobs"] = rollout.sampler_logprobs
    missing = {"policy_logprobs", "policy_entropy"} & requires - set(signals)
    if missing:
        signals |= {name: torch.zeros(shape, device=device) for name in missing}
        for batch in batches:
            part = rollout.select(batch)
            with inference_mode(model):
                logprobs, entropy = completion_logprobs(model, part, temperature, "policy_entropy" in missing)
            for name, values in (("policy_logprobs", logprobs), ("policy_entropy", entropy)):
                if name in missing and values is not None:
                    signals[name][batch, : values.shape[1]] = values.float()
    return TokenSignals(**signals)


def information_of(
    model: nn.Module, rollout: Rollout, estimator: MIEstimator, among: Bool[Tensor, " batch"], size: int
) -> Float[Tensor, "batch token"]:
    """Information (nats) of the tokens of the completions ``among``, in batches of ``size``; 0 in the others."""
    information = torch.zeros(rollout.completion_mask.shape, device=rollout.completion_mask.device)
    for batch in by_length(rollout, size, among):
        part = rollout.select(batch)
        information[batch, : part.completion_ids.shape[1]] = estimator(model, part).float()
    return information


def logprobs_of(
    model: nn.Module,
    rollout: Rollout,
    batches: Sequence[Int[Tensor, " rows"]],
    temperature: float,
    cast: Cast,
) -> Float[Tensor, "batch token"]:
    """Log-probabilities (nats) of a rollout's completion tokens, without gradients, batch by batch."""
    logprobs = torch.zeros(rollout.completion_mask.shape, device=rollout.completion_mask.device)
    with inference_mode(model), cast():
        for batch in batches:
            part = rollout.select(batch)
            logprobs[batch, : part.completion_ids.shape[1]] = completion_logprobs(model, part, temperature)[0].float()
    return logprobs


def by_length(rollout: Rollout, size: int, among: Bool[Tensor, " batch"] | None = None) -> list[Int[Tensor, " rows"]]:
    """Rows in batches of ``size``, longest completions first, so that little of a batch is padding.

    Args:
        rollout: the completions.
        size: rows of a batch.
        among: the rows that are wanted; ``None``: all.

    Raises:
        ValueError: ``size`` below 1.
    """
    if size < 1:
        raise ValueError(f"micro_batch: got {size}, want at least 1")
    order = rollout.completion_lengths.argsort(descending=True, stable=True)
    if among is not None:
        order = order[among[order]]
    return [batch for batch in order.split(size) if len(batch)]


def cut(values: Tensor, batch: Int[Tensor, " rows"], part: Rollout) -> Tensor:
    """The rows of ``values`` that ``part`` selected, as wide as ``part``."""
    return values[batch, : part.completion_ids.shape[1]]


def sampling_metrics(rollout: Rollout, scores: Scores, tokenizer: Any) -> dict[str, float]:
    """What was sampled and how it was scored."""
    lengths = rollout.completion_lengths.float()
    finished = ends_in(rollout, tokenizer.eos_token_id)
    metrics = {
        "completions/mean_length": float(lengths.mean()),
        "completions/min_length": float(lengths.min()),
        "completions/max_length": float(lengths.max()),
        "completions/clipped_ratio": float((~finished).float().mean()),
        "num_tokens": float(lengths.sum()),
        "reward": float(scores.total[scores.scored].mean()) if bool(scores.scored.any()) else 0.0,
    }
    for name, values in scores.by_function.items():
        known = [value for value in values if value is not None]
        if known:
            metrics[f"rewards/{name}/mean"] = sum(known) / len(known)
    return metrics


def ends_in(rollout: Rollout, token: int) -> Bool[Tensor, " batch"]:
    """Whether the last token of each completion is ``token``; ``False`` for an empty completion."""
    last = (rollout.completion_lengths - 1).clamp(min=0)
    return (rollout.completion_ids.gather(1, last[:, None])[:, 0] == token) & (rollout.completion_lengths > 0)


@contextmanager
def timed(metrics: dict[str, float], name: str) -> Iterator[None]:
    """Add the seconds that the block took to ``metrics[name]``."""
    start = time.perf_counter()
    yield
    metrics[name] = metrics.get(name, 0.0) + time.perf_counter() - start
