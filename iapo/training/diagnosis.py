"""What an update logs about itself beyond its own numbers: where information lies, and what becomes of the length."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from iapo.diagnostics import (
    entropy_by_correctness,
    information_by_class,
    information_slope,
    length_change,
    length_gradient,
    loss_pull,
    realized_length_change,
)
from iapo.interfaces import PolicyLoss
from iapo.policy.forward import inference_mode
from iapo.policy.logprobs import completion_logprobs
from iapo.types import AdvantageOutput, Rollout

Cast = Callable[[], AbstractContextManager[Any]]
"""A context, made anew by every call, in which forwards run in reduced precision."""


def describe(
    rollout: Rollout,
    rewards: Float[Tensor, " batch"],
    policy_entropy: Float[Tensor, "batch token"],
    correct_above: float = 0.5,
) -> dict[str, float]:
    """``iapo/diagnostics/entropy/correct`` and ``.../wrong``.

    Args:
        rollout: the completions of the update.
        rewards: of each; a completion is correct above ``correct_above``.
        policy_entropy: of the policy that sampled, nats.
        correct_above: as of `iapo.evaluation.evaluation.evaluate`.
    """
    metrics: dict[str, float] = {}
    mask, ids = rollout.completion_mask, rollout.group_ids
    for name, estimate in entropy_by_correctness(policy_entropy, mask, ids, rewards > correct_above).items():
        metrics |= estimate.metrics(f"iapo/diagnostics/entropy/{name}")
    return metrics


def describe_information(
    rollout: Rollout, information: Float[Tensor, "batch token"], labels: Sequence[Sequence[str]] | None = None
) -> dict[str, float]:
    """``iapo/diagnostics/information_slope`` and ``iapo/diagnostics/information/CLASS``, over all completions.

    All: right and wrong, whichever the assigner asks for.

    A completion without an answer of which the estimator tells nothing (0 throughout) has no part: an estimator that
    asks about the answer has measured nothing there, and such completions are the long ones that were cut off.

    Args:
        rollout: the completions of the update.
        information: of all of them before the update, nats, 0 outside the reasoning.
        labels: the class of every token of each completion; ``None``: no classes.
    """
    told = torch.ones(len(rollout), dtype=torch.bool, device=information.device)
    if rollout.answer_mask is not None:
        told = rollout.answer_mask.any(1) | (information != 0).any(1)
    measured = rollout.reasoning_mask & told[:, None]
    mask, ids = rollout.completion_mask, rollout.group_ids
    slope = information_slope(information, measured, mask, ids)
    metrics = {} if slope is None else slope.metrics("iapo/diagnostics/information_slope")
    classes = {} if labels is None else information_by_class(information, measured, mask, ids, labels)
    for name, estimate in classes.items():
        metrics |= estimate.metrics(f"iapo/diagnostics/information/{name}")
    return metrics


def length_gradients(
    model: nn.Module,
    rollout: Rollout,
    assigned: AdvantageOutput,
    loss: PolicyLoss,
    micro_batch: int,
    temperature: float,
    cast: Cast,
) -> dict[str, float]:
    """`length_gradient` of each of the advantages' terms, as ``iapo/diagnostics/length_gradient/TERM``.

    Empty for an assigner that does not split its advantages. Gradients of the optimizer's are not touched.
    """

    def logprobs(part: Rollout) -> Float[Tensor, "batch token"]:
        with cast():
            return completion_logprobs(model, part, temperature)[0]

    pulls = {name: loss_pull(loss, term, assigned.loss_mask) for name, term in (assigned.terms or {}).items()}
    if not pulls:
        return {}
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    with inference_mode(model), torch.enable_grad():
        values = length_gradient(logprobs, parameters, rollout, pulls, micro_batch)
    return {f"iapo/diagnostics/length_gradient/{name}": value for name, value in values.items()}


def length_changes(
    rollout: Rollout,
    logprobs_before: Float[Tensor, "batch token"],
    logprobs_after: Float[Tensor, "batch token"],
    fresh: Rollout,
) -> dict[str, float]:
    """Predicted and realized change: ``iapo/diagnostics/length_change/first_order``, ``exact`` and ``came``.

    Args:
        rollout: the completions of the update, so that the prediction has the bias that `length_change` tells of.
        logprobs_before: of its tokens before the update, nats.
        logprobs_after: and after it.
        fresh: completions of the same prompts, sampled after the update.
    """
    predicted = length_change(logprobs_before, logprobs_after, rollout.completion_mask, rollout.group_ids)
    came = realized_length_change(rollout.completion_mask, rollout.group_ids, fresh.completion_mask, fresh.group_ids)
    metrics = {} if predicted is None else predicted.metrics()
    return metrics | ({} if came is None else came.metrics("iapo/diagnostics/length_change/came"))


@contextmanager
def fork_rng(device: torch.device) -> Iterator[None]:
    """What is drawn inside leaves torch's generators, the CPU's and ``device``'s, as they were."""
    others = [] if device.type == "cpu" else [device]
    with torch.random.fork_rng(devices=others, device_type="cuda" if device.type == "cpu" else device.type):
        yield
