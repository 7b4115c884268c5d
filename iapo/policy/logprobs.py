"""Log-probabilities and entropies of next-token distributions, in nats, reduced in fp32.

The functions of logits work in slices of positions, so that no second tensor of the size of the logits is ever held,
and never take ``0 * -inf``: a vocabulary entry ruled out by a ``-inf`` logit has value 0 and gradient 0.
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from iapo.ops.checks import check_beside, check_number
from iapo.ops.precision import widened
from iapo.ops.shapes import shape_checked
from iapo.policy.forward import positions
from iapo.policy.support import check_text
from iapo.types import Rollout

_SLICE = 2**24
"""Logits handled at once by the functions below: 64 MiB in fp32."""


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
        Nats, fp32 or better.

    Raises:
        ValueError: ``temperature`` is not positive and finite.

    Example:
        >>> import torch
        >>> token_logprobs(torch.zeros(1, 4), torch.tensor([2])).exp()
        tensor([0.2500])
    """
    flat, chosen = logits.reshape(-1, logits.shape[-1]), ids.reshape(-1, 1)
    parts = [
        rows.gather(-1, index).squeeze(-1) - rows.logsumexp(-1)
        for rows, index in (
            (at_temperature(part, temperature), chosen[start:stop]) for part, start, stop in _slices(flat)
        )
    ]
    return _join(parts, ids.shape, flat)


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
    for part, _, _ in _slices(flat):
        wide = at_temperature(part, temperature)
        logp = wide.log_softmax(-1)
        # Fill before the product: filling after it would leave 0 * inf in the gradient.
        logp = logp.masked_fill(logp == -torch.inf, 0) if bool((logp == -torch.inf).any()) else logp
        p = logp.exp().masked_fill(wide == -torch.inf, 0)
        parts.append(-(p * logp).sum(-1))
    return _join(parts, logits.shape[:-1], flat)


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
    ).logits[:, :-1]
    padding = ~rollout.completion_mask
    logprobs = token_logprobs(logits, ids[:, ids.shape[1] - token :], temperature).masked_fill(padding, 0)
    if not with_entropy:
        return logprobs, None
    return logprobs, entropy(logits.detach(), temperature).masked_fill(padding, 0)


def texts_of(rollout: Rollout) -> tuple[Int[Tensor, "batch text"], Bool[Tensor, "batch text"]]:
    """The tokens of prompts and completions, and where they are real.

    Padding is the token 0, which every model embeds, as it may not a padding token that was added to a tokenizer.
    """
    ids = torch.cat([rollout.prompt_ids, rollout.completion_ids], 1)
    mask = torch.cat([rollout.prompt_mask, rollout.completion_mask], 1)
    return ids.masked_fill(~mask, 0), mask


def _slices(flat: Tensor) -> list[tuple[Tensor, int, int]]:
    size = max(1, _SLICE // max(1, flat.shape[-1]))
    return [(flat[start : start + size], start, start + size) for start in range(0, flat.shape[0], size)]


def _join(parts: list[Tensor], shape: torch.Size, flat: Tensor) -> Tensor:
    return torch.cat(parts).reshape(shape) if parts else widened(flat).sum(-1).reshape(shape)
