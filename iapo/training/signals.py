"""Log-probabilities, entropies and information of a rollout's tokens, measured batch by batch."""

from collections.abc import Mapping

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from iapo.interfaces import AdvantageAssigner, MIEstimator, information_between
from iapo.policy.forward import inference_mode
from iapo.policy.logprobs import completion_logprobs
from iapo.policy.ranks import own_forwards, unsynced
from iapo.training.batches import batches_on_ranks
from iapo.training.components import UpdateSettings
from iapo.training.distributed.processes import SINGLE, Processes
from iapo.types import Rollout, TokenSignals


def measure(
    model: nn.Module,
    rollout: Rollout,
    among: Bool[Tensor, " batch"],
    probed: Bool[Tensor, " batch"],
    assigner: AdvantageAssigner,
    estimator: MIEstimator,
    temperature: float,
    micro_batch: int,
    known: Mapping[str, Tensor],
    processes: Processes = SINGLE,
) -> TokenSignals:
    """The signals that the assigner requires and that are not known yet.

    Information and prefix values come from one call of the estimator. Where the assigner requires one of the two, the
    information is there: it costs nothing more.

    Args:
        model: the policy that sampled.
        rollout: the completions, with what the estimator needs of whole groups (`iapo.MIEstimator.with_groups`).
        among: the completions that signals are measured of; those of the others are 0.
        probed: of these the ones whose information is estimated; that of the others is 0 and outside the
            ``information_mask``.
        assigner: says what is required.
        estimator: measures the information.
        temperature: at which the policy sampled.
        micro_batch: completions in one forward.
        known: signals that need not be measured, by name.
        processes: those that have the same completions and divide the forwards.
    """
    requires = assigner.requires
    signals: dict[str, Tensor] = {}
    if assigner.requires_estimate:
        values = prefix_values_of(model, rollout, estimator, probed, micro_batch, processes)
        signals["information_mask"] = rollout.reasoning_mask & probed[:, None]
        signals["information"] = information_between(values, signals["information_mask"]).float()
        if "prefix_values" in requires:
            signals["prefix_values"] = values.float()
    if "policy_logprobs" in requires and rollout.sampler_logprobs is not None:
        signals["policy_logprobs"] = rollout.sampler_logprobs
    signals |= known
    missing = {"policy_logprobs", "policy_entropy"} & requires - set(signals)
    if missing:
        with_entropy = "policy_entropy" in missing
        logprobs, entropy = logprobs_and_entropy(
            model, rollout, temperature, micro_batch, with_entropy, among, processes
        )
        if "policy_logprobs" in missing:
            signals["policy_logprobs"] = logprobs
        if entropy is not None:
            signals["policy_entropy"] = entropy
    return TokenSignals(**signals)


def information_of(
    model: nn.Module,
    rollout: Rollout,
    estimator: MIEstimator,
    among: Bool[Tensor, " batch"],
    micro_batch: int,
    processes: Processes = SINGLE,
) -> Float[Tensor, "batch token"]:
    """Information (nats) of the tokens of the completions ``among``, estimated in micro-batches; 0 in the others.

    Arguments are those of `prefix_values_of`.
    """
    values = prefix_values_of(model, estimator.with_groups(rollout), estimator, among, micro_batch, processes)
    return information_between(values, rollout.reasoning_mask & among[:, None]).float()


def prefix_values_of(
    model: nn.Module,
    rollout: Rollout,
    estimator: MIEstimator,
    among: Bool[Tensor, " batch"],
    micro_batch: int,
    processes: Processes = SINGLE,
) -> Float[Tensor, "batch probe"]:
    """`iapo.MIEstimator.prefix_values` (nats, float64) of the completions ``among``, in micro-batches; 0 in the others.

    Micro-batches change nothing but rounding: what the estimator needs of whole groups is in the rollout already
    (`iapo.MIEstimator.with_groups`). Ranks with whole weights wait for each other only at the end, so that one whose
    memory runs out goes on in smaller chunks.
    """
    alone = own_forwards(model)
    count, token = rollout.completion_mask.shape
    values = torch.zeros(count, token + 1, dtype=torch.float64, device=rollout.completion_mask.device)
    with unsynced(model), processes.own_random():
        for batch in batches_on_ranks(alone, rollout, micro_batch, among, processes):
            part = rollout.select(batch.rows)
            found = estimator.prefix_values(alone, part).double()
            if batch.counts:
                values[batch.rows, : part.completion_ids.shape[1] + 1] = found
    return processes.join(values)


def logprobs_of(
    model: nn.Module, rollout: Rollout, temperature: float, settings: UpdateSettings
) -> Float[Tensor, "batch token"]:
    """Log-probabilities (nats) of a rollout's completion tokens, in the precision and micro-batches of an update."""
    with settings.autocast_context(rollout.completion_mask.device):
        return logprobs_and_entropy(model, rollout, temperature, settings.micro_batch, processes=settings.processes)[0]


def logprobs_and_entropy(
    model: nn.Module,
    rollout: Rollout,
    temperature: float,
    micro_batch: int,
    with_entropy: bool = False,
    among: Bool[Tensor, " batch"] | None = None,
    processes: Processes = SINGLE,
) -> tuple[Float[Tensor, "batch token"], Float[Tensor, "batch token"] | None]:
    """`iapo.policy.logprobs.completion_logprobs` of a rollout, nats, fp32, without gradients, in micro-batches.

    Args:
        model: a causal language model.
        rollout: the completions.
        temperature: that of sampling.
        micro_batch: completions in one forward.
        with_entropy: whether the entropy of every next-token distribution is wanted too.
        among: the completions that are read; those of the others are 0. ``None``: all.
        processes: those that have the same completions and divide the forwards.

    Returns:
        Log-probabilities and entropies (or ``None``); 0 at padding.
    """
    mask = rollout.completion_mask
    logprobs = torch.zeros(mask.shape, dtype=torch.float32, device=mask.device)
    entropy = torch.zeros_like(logprobs) if with_entropy else None
    with inference_mode(model):
        for batch in batches_on_ranks(model, rollout, micro_batch, among, processes):
            found = completion_logprobs(model, rollout.select(batch.rows), temperature, with_entropy)
            if not batch.counts:
                continue
            for values, own in zip((logprobs, entropy), found, strict=True):
                if values is not None and own is not None:
                    values[batch.rows, : own.shape[1]] = own.float()
    return processes.join(logprobs), None if entropy is None else processes.join(entropy)
