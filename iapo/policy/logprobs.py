"""Log-probabilities and entropies of next-token distributions, in nats, reduced in fp32.

The functions of logits work in slices of positions, so that no second tensor of the size of the logits is ever held but
their gradient, and never take ``0 * -inf``: a vocabulary entry ruled out by a ``-inf`` logit has value and gradient 0.
"""

from collections.abc import Iterator
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.functional import pad

from iapo.ops.checks import check_beside, check_number
from iapo.ops.precision import widened
from iapo.ops.shapes import shape_checked
from iapo.policy.forward import positions
from iapo.policy.support import check_text
from iapo.types import Rollout

_SLICE = 2**22
"""Logits handled at once on a CPU, whose cache holds them (16 MiB in fp32)."""
_SLICE_OF_ACCELERATOR = 2**24
"""Logits handled at once elsewhere, where many small kernels would cost more than their work."""


@shape_checked
def token_logprobs(
    logits: Float[Tensor, "*axes vocab"], ids: Int[Tensor, "*axes"], temperature: float | int = 1.0
) -> Float[Tensor, "*axes"]:
    """Log-probability of ``ids`` under ``softmax(logits)``: ``logits[ids] - logsumexp(logits)``.

    Args:
        logits: unnormalized log-probabilities; ``-inf`` entries are ruled out.
        ids: one vocabulary index per distribution.
        temperature: logits are divided by it, in the precision of the result.

    Returns:
        Nats, fp32 or better. They can be differentiated once; a gradient of the gradient is an error of torch.

    Raises:
        ValueError: ``temperature`` is not positive and finite.

    Example:
        >>> import torch
        >>> token_logprobs(torch.zeros(1, 4), torch.tensor([2])).exp()
        tensor([0.2500])
    """
    flat, chosen = logits.reshape(-1, logits.shape[-1]), ids.reshape(-1, 1)
    return _TokenLogprobs.apply(flat, chosen, temperature).reshape(ids.shape)


class _TokenLogprobs(torch.autograd.Function):
    """`token_logprobs` of rows. Its backward makes the probabilities again, which autograd would keep in fp32."""

    @staticmethod
    def forward(logits: Tensor, ids: Tensor, temperature: float) -> Tensor:
        parts = []
        for part, chosen in _slices(logits, ids):
            wide = at_temperature(part, temperature)
            parts.append(wide.gather(-1, chosen).squeeze(-1) - wide.logsumexp(-1))
        return torch.cat(parts)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, float], output: Tensor) -> None:
        logits, ids, ctx.temperature = inputs
        ctx.save_for_backward(logits, ids)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        logits, ids = ctx.saved_tensors
        result, outer = torch.empty_like(logits), gradient[:, None] / ctx.temperature
        for part, chosen, factor, out in _slices(logits, ids, outer, result):
            probabilities = at_temperature(part, ctx.temperature).softmax(-1)
            out.copy_(probabilities.mul_(-factor).scatter_add_(-1, chosen, factor))
        return result, None, None


@shape_checked
def entropy(logits: Float[Tensor, "*axes vocab"], temperature: float | int = 1.0) -> Float[Tensor, "*axes"]:
    """Shannon entropy ``-sum_v p_v log p_v`` of ``p = softmax(logits)``, in nats.

    Args:
        logits: unnormalized log-probabilities; ``-inf`` entries are ruled out and add nothing.
        temperature: logits are divided by it, in the precision of the result.

    Returns:
        Nats in fp32 or better, between 0 and ``log(vocab)``.

    Raises:
        ValueError: ``temperature`` is not positive and finite.

    Example:
        >>> import torch
        >>> entropy(torch.zeros(4)) == torch.tensor(4.0).log()
        tensor(True)
    """
    flat = logits.reshape(-1, logits.shape[-1])
    parts = []
    for (part,) in _slices(flat):
        logp = at_temperature(part, temperature).log_softmax(-1)
        logp = logp.clamp(min=torch.finfo(logp.dtype).min)  # exp() of which is 0 as well, and 0 times which is 0
        parts.append(-(logp.exp() * logp).sum(-1))
    return torch.cat(parts).reshape(logits.shape[:-1])


def check_temperature(temperature: float) -> None:
    """Raise ``ValueError`` unless ``temperature`` is positive and finite."""
    check_number("temperature", temperature, "a positive number", lambda x: x > 0)


def check_prompts(rollout: Rollout) -> None:
    """Raise ``ValueError`` unless every row has a prompt token, behind which its completion stands."""
    lacking = (~rollout.prompt_mask.any(1)).nonzero().flatten().tolist()
    if lacking:
        raise ValueError(f"rollout.prompt_mask: row {lacking[0]} has no prompt token, want at least one")


def at_temperature(logits: Tensor, temperature: float) -> Tensor:
    """``logits / temperature`` in fp32 or better: those of the distribution that a sampler at this temperature has."""
    check_temperature(temperature)
    wide = widened(logits)
    return wide if temperature == 1 else wide / temperature


@shape_checked
def completion_logprobs(
    model: nn.Module, rollout: Rollout, temperature: float | int = 1.0, with_entropy: bool = False
) -> tuple[Float[Tensor, "batch token"], Float[Tensor, "batch token"] | None]:
    """Log-probabilities of a rollout's completion tokens under a model, by one forward.

    Gradients flow if they are enabled. Left padding and its width change nothing (explicit positions). Logits are made
    for completion positions only; split a large rollout with `Rollout.select`.

    Args:
        model: a causal language model, possibly wrapped.
        rollout: the completions.
        temperature: logits are divided by it; use the sampler's.
        with_entropy: also return the entropy of every next-token distribution (without gradient).

    Returns:
        Log-probabilities and entropies (or ``None``), both nats; 0 at padding. Without a row the model is not called.

    Raises:
        ValueError: ``temperature`` is not positive and finite, the model lies on an accelerator and the rollout does
            not, the model lies on the meta device, or a row has no prompt token, so that nothing says how likely its
            first token is.
        iapo.policy.forward.UnsupportedModelError: the model is not causal, its positions start at an offset, its
            rotations change within the texts, or it takes left padding for text; see `iapo.policy.support`.
    """
    check_temperature(temperature)
    if len(rollout) == 0:
        empty = torch.zeros(rollout.completion_mask.shape, dtype=torch.float32, device=rollout.completion_mask.device)
        return empty, empty if with_entropy else None
    check_beside(model, rollout.completion_ids.device)
    ids, mask = texts_of(rollout)
    check_text(model, mask)
    check_prompts(rollout)
    token = rollout.completion_ids.shape[1]
    logits = model(
        input_ids=ids,
        attention_mask=mask.long(),
        position_ids=positions(mask),
        use_cache=False,
        logits_to_keep=token + 1,
    ).logits
    # Nothing follows the last token. Its logits are read all the same: leaving them out would copy all others.
    following, padding = pad(ids[:, ids.shape[1] - token :], (0, 1)), ~rollout.completion_mask
    logprobs = token_logprobs(logits, following, temperature)[:, :-1].masked_fill(padding, 0)
    if not with_entropy:
        return logprobs, None
    return logprobs, entropy(logits.detach(), temperature)[:, :-1].masked_fill(padding, 0)


def texts_of(rollout: Rollout) -> tuple[Int[Tensor, "batch text"], Bool[Tensor, "batch text"]]:
    """The tokens of prompts and completions, and where they are real.

    Padding is the token 0, which every model embeds, as it may not a padding token that was added to a tokenizer.
    """
    ids = torch.cat([rollout.prompt_ids, rollout.completion_ids], 1)
    mask = torch.cat([rollout.prompt_mask, rollout.completion_mask], 1)
    return ids.masked_fill(~mask, 0), mask


def _slices(logits: Tensor, *beside: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """Some rows of the logits at once, and the same rows of what belongs to them."""
    most = _SLICE if logits.device.type == "cpu" else _SLICE_OF_ACCELERATOR
    size = max(1, most // max(1, logits.shape[-1]))
    return zip(*(each.split(size) for each in (logits, *beside)), strict=True)
