"""The effect of each term of the advantage on the expected length, to first order."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from iapo.diagnostics.change_of_length import covariance_weights
from iapo.interfaces import PolicyLoss
from iapo.ops.arguments import arguments_named
from iapo.ops.checks import check_integer
from iapo.ops.groups import Groups
from iapo.ops.shapes import shape_checked
from iapo.types import Rollout

Gradients = Callable[[Callable[[], Tensor], Sequence[Tensor], Sequence[Tensor]], Iterator[Sequence[Tensor]]]
"""For each of several weightings the gradient of ``sum(weights * logprobs())`` by parameters."""


def plain_gradients(
    logprobs: Callable[[], Tensor], weightings: Sequence[Tensor], parameters: Sequence[Tensor]
) -> Iterator[Sequence[Tensor]]:
    """For each weighting the gradient of ``sum(weights * logprobs())`` by parameters, of one forward.

    Args:
        logprobs: makes what the weights are multiplied with.
        weightings: of its shape.
        parameters: a gradient has 0 where nothing depends on one.
    """
    values = logprobs()
    for weights in weightings:
        weighted = (weights.to(values.dtype) * values).sum()
        found = torch.autograd.grad(weighted, parameters, retain_graph=True, allow_unused=True)
        yield [torch.zeros_like(p) if g is None else g for p, g in zip(parameters, found, strict=True)]


@arguments_named
def length_gradient(
    logprobs: Callable[[Rollout], Float[Tensor, "batch token"]],
    parameters: Sequence[Tensor],
    rollout: Rollout,
    pulls: Mapping[str, Float[Tensor, "batch token"]],
    micro_batch: int,
    gradients: Gradients = plain_gradients,
) -> dict[str, float]:
    """Change of the expected length per unit of a plain gradient step along each term (theorem 4.1, by term).

    A term that pulls at the log-probability of token ``t`` of completion ``i`` with ``a_it`` makes the step
    ``dtheta = sum_it a_it grad log pi(o_it)``. Along it the completion ``o`` gains ``S(o) = grad log p(o) . dtheta``
    nats, and the expected length changes by ``Cov(L, S) = g_L . dtheta``, with ``g_L`` the gradient of the expected
    length: ``sum_o c_o grad log p(o)``, ``c`` the weights of the covariance within groups.

    *Approximation.* First order, for a plain gradient step (SGD with learning rate 1). The value of a sum of pulls is
    the sum of their values. Multiplied by the learning rate of SGD, a value is in tokens. An optimizer that rescales
    gradients or has a state (Adam, momentum, clipping by norm) takes another step: read the signs of the values and
    their proportions then, and not their size.

    *Cross-fitting.* ``g_L`` of one half of each group's completions is multiplied with the pulls of the other half, and
    the other way round, so that no completion's gradient is multiplied with itself. This is unbiased except for the
    baselines, which both halves share.

    *Degenerate cases.* Empty unless both halves have a group of two (a group of at least four). All lengths equal: 0.

    *Cost.* Two forwards of each completion, one backward, and one more backward for each term (with ``gradients`` that
    are sharded, also one more forward); memory for three gradients.

    Args:
        logprobs: log-probabilities (nats) of a rollout's completion tokens under the policy that sampled, with a graph
            to ``parameters``.
        parameters: the tensors that the step changes.
        rollout: the completions of the update.
        pulls: derivative of the objective by each token's log-probability (`loss_pull`), by the name of the term.
        micro_batch: completions per forward; it changes memory and speed, not the values.
        gradients: as `plain_gradients`. They may be parts of the gradients, as where weights are sharded
            (`iapo.policy.sharded_gradients`): then values are parts too, and to be summed.

    Returns:
        Tokens per unit step, by term.

    Raises:
        ValueError: pulls of another shape than the rollout's completions, or ``micro_batch`` below 1.

    References:
        IAPO, arXiv 2602.19049, theorem 4.1.
    """
    for name, pull in pulls.items():
        if pull.shape != rollout.completion_mask.shape:
            want = tuple(rollout.completion_mask.shape)
            raise ValueError(f"pulls[{name!r}]: got shape {tuple(pull.shape)}, want that of the completions, {want}")
    check_integer("micro_batch", micro_batch)
    first = every_other(rollout.group_ids)
    one, two = (covariance_weights(rollout.completion_lengths, rollout.group_ids, half) for half in (first, ~first))
    if one is None or two is None:
        return {}
    values = dict.fromkeys(pulls, 0.0)
    for own, others in ((one, ~first), (two, first)):
        if not bool(own.any()):
            continue
        direction: Sequence[Tensor] = ()
        for part, cut in _parts(rollout, own != 0, micro_batch):
            weights = cut(own[:, None] * rollout.completion_mask)
            (gradient,) = gradients(partial(logprobs, part), [weights], parameters)
            direction = [d + g for d, g in zip(direction, gradient, strict=True)] if direction else gradient
        for part, cut in _parts(rollout, others, micro_batch):
            along = gradients(partial(logprobs, part), [cut(pull) for pull in pulls.values()], parameters)
            for name, gradient in zip(pulls, along, strict=True):
                values[name] += float(sum((d * g).sum() for d, g in zip(direction, gradient, strict=True)))
    return values


@shape_checked
def loss_pull(
    loss: PolicyLoss, advantages: Float[Tensor, "batch token"], loss_mask: Bool[Tensor, "batch token"]
) -> Float[Tensor, "batch token"]:
    """The derivative of the objective by each token's log-probability: ``-d loss / d log pi(o_t)``.

    It is taken at the policy that sampled. For a mean over tokens it is ``A_t / tokens``. It is linear in the
    advantages, so that the pulls of terms add up. The KL penalty does not contribute, because the reference policy is
    taken to be equal to the policy; nor does a correction of the sampler's probabilities, because those are too.

    Args:
        loss: the loss of the step.
        advantages: those of the whole step, or one of their terms.
        loss_mask: that of the whole step.

    Returns:
        Per nat, 0 outside ``loss_mask``.

    Example:
        >>> from iapo.losses import ClippedPolicyLoss
        >>> loss_pull(ClippedPolicyLoss(), torch.tensor([[1.0, -2.0]]), torch.ones(1, 2, dtype=torch.bool))
        tensor([[ 0.5000, -1.0000]])
    """
    policy = torch.zeros_like(advantages, requires_grad=True)
    same = torch.zeros_like(advantages)
    with torch.enable_grad():
        output = loss(policy, same, advantages, loss_mask, loss.denominator(loss_mask), same, same)
        return -torch.autograd.grad(output.loss, policy)[0]


@shape_checked
def every_other(group_ids: Int[Tensor, " batch"]) -> Bool[Tensor, " batch"]:
    """Marks the first, third, fifth, ... completion of each group, in the batch's order.

    Example:
        >>> every_other(torch.tensor([7, 7, 3, 7, 3])).tolist()
        [True, False, True, True, False]
    """
    return Groups.of(group_ids).rank(torch.zeros_like(group_ids)) % 2 == 0


_Cut = Callable[[Tensor], Tensor]


def _parts(rollout: Rollout, counted: Tensor, size: int) -> Iterator[tuple[Rollout, _Cut]]:
    """The counted completions, ``size`` at a time, longest first, and what cuts a tensor of all to each part."""
    rows = counted.nonzero().flatten()
    for chosen in rows[rollout.completion_lengths[rows].argsort(descending=True, stable=True)].split(size):
        part = rollout.select(chosen)

        def cut(values: Tensor, chosen: Tensor = chosen, width: int = part.completion_ids.shape[1]) -> Tensor:
            return values[chosen, :width]

        yield part, cut
