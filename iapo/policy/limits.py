"""The limits of a model: its positions, its tokens, and the logits that a token can be sampled from."""

import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from jaxtyping import Bool, Float
from torch import Tensor

from iapo.policy.forward import unwrap

_POSITIONS = (
    "max_position_embeddings",
    "n_positions",
    "max_seq_len",
    "seq_length",
    "model_max_length",
    "max_sequence_length",
    "max_seq_length",
)
"""Names that configurations have for the number of positions, the first of which counts."""


@dataclass(frozen=True)
class Limits:
    """The limits of a model: how many tokens of a text it takes, and which token ids.

    Args:
        positions: the largest number of tokens of a text; ``None``: its config names none.
        vocabulary: token ids are below this number, that of its embeddings; very large if nothing names it.
        turning: the tokens beyond which the model rotates all keys by other angles (`turning_length`); ``None``: it
            never does.
    """

    positions: int | None
    vocabulary: int
    turning: int | None = None

    @property
    def scored(self) -> "Limits":
        """What it takes where the log-probabilities of texts are needed: none beyond `turning`."""
        found = [each for each in (self.positions, self.turning) if each is not None]
        return replace(self, positions=min(found, default=None))

    def check_tokens(self, ids: Iterable[int], tokenizer: Any, what: object) -> None:
        """Raise for a token that the model has no embedding of.

        Args:
            ids: token ids.
            tokenizer: names the token.
            what: they are, for the message; its text is asked for only then.

        Raises:
            ValueError: an id of ``vocabulary`` or above.
        """
        beyond = next((token for token in ids if token >= self.vocabulary), None)
        if beyond is not None:
            name = None if tokenizer is None else tokenizer.convert_ids_to_tokens(beyond)
            raise ValueError(
                f"{what}: the token {name!r} has the id {beyond}, but the model has embeddings for ids below "
                f"{self.vocabulary} only; after adding tokens, call model.resize_token_embeddings(len(tokenizer)) and "
                "save the model and the tokenizer again"
            )


def limits_of(model: Any) -> Limits:
    """The limits of a model, whose wrappers are taken off."""
    inner = unwrap(model)
    embeddings = inner.get_input_embeddings() if hasattr(inner, "get_input_embeddings") else None
    found = limits_of_config(inner.config)
    rows = getattr(embeddings, "num_embeddings", None)
    return found if rows is None else replace(found, vocabulary=rows)


def limits_of_config(config: Any) -> Limits:
    """The limits of a model of this configuration.

    Positions are ``max_position_embeddings``, or what MPT and models whose code comes with them call them, times the
    factor of ``linear`` scaling, or what ``yarn`` scaling makes of those that the model was trained on.
    """
    text = config.get_text_config(decoder=True)
    named = (getattr(text, name, None) for name in _POSITIONS)
    positions = next((each for each in named if isinstance(each, int) and each > 0), None)
    if positions is None:
        return Limits(None, getattr(text, "vocab_size", sys.maxsize))
    rope = getattr(text, "rope_parameters", None) or {}
    if rope.get("rope_type") == "linear":
        positions = int(rope["factor"] * positions)
    # By kind of layer in some models (of which Gemma 3, with linear scaling of some layers, has multiplied already).
    for each in [rope, *(inner for inner in rope.values() if isinstance(inner, dict))]:
        if each.get("rope_type") == "yarn" and "original_max_position_embeddings" in each:
            positions = max(positions, int(each["factor"] * each["original_max_position_embeddings"]))
    return Limits(positions, getattr(text, "vocab_size", sys.maxsize), turning_length(text))


def table_of_positions(config: Any) -> int | None:
    """How many positions a model has learned one by one: behind them an index is out of range.

    ``None`` where positions are computed (rotations, ALiBi, sinusoids): a model was not trained on more, and runs on.
    """
    text = config.get_text_config(decoder=True)
    if getattr(text, "rope_parameters", None) or getattr(text, "alibi", False) or text.model_type in ("xglm", "bloom"):
        return None
    return limits_of_config(config).positions


def turning_length(config: Any) -> int | None:
    """Positions beyond which all rotary angles change; ``None``: they never do.

    They do with ``dynamic`` scaling, and with ``longrope`` scaling unless both of its factors are the same.
    """
    found = getattr(config, "rope_parameters", None) or getattr(config, "rope_scaling", None) or {}
    settings = [found, *(each for each in found.values() if isinstance(each, dict))]
    lengths = [
        each.get("original_max_position_embeddings")
        or getattr(config, "original_max_position_embeddings", None)
        or config.max_position_embeddings
        for each in settings
        if each.get("rope_type", each.get("type")) in ("dynamic", "longrope") and not _same_factors(each)
    ]
    return min(lengths, default=None)


def check_room(
    prompt_ids: Sequence[Sequence[int]],
    max_new_tokens: int,
    positions: int | None,
    remedy: str = "take a model with more positions",
) -> None:
    """Raise for a prompt that leaves no room for ``max_new_tokens``.

    Args:
        prompt_ids: token ids, one row a prompt.
        max_new_tokens: how many may follow.
        positions: of a prompt with its completion; ``None``: as many as they like.
        remedy: how there are more, for the message.

    Raises:
        ValueError: the prompt, its length, the new tokens and the positions are named.
    """
    for index, ids in enumerate(prompt_ids):
        if positions is not None and len(ids) + max_new_tokens > positions:
            room = positions - max(map(len, prompt_ids))
            help_ = f"lower max_new_tokens to {room}" if room > 0 else "give shorter prompts"
            raise ValueError(
                f"prompts[{index}]: has {len(ids)} tokens, which with max_new_tokens ({max_new_tokens}) are more than "
                f"{positions} positions; {help_}, or {remedy}"
            )


def sampleable(logits: Float[Tensor, "batch vocab"]) -> Bool[Tensor, " batch"]:
    """From which rows of logits a token can be sampled: not where one is NaN or ``+inf``, nor where all are ``-inf``.

    Example:
        >>> import torch
        >>> sampleable(torch.tensor([[0.0, -torch.inf], [-torch.inf, -torch.inf], [0.0, torch.nan]]))
        tensor([ True, False, False])
    """
    return logits.amax(-1).isfinite()  # the largest of a row is NaN if one is


def check_sampleable(rows: Iterable[int]) -> None:
    """Raise ``FloatingPointError`` unless all rows of logits were `sampleable`."""
    if not all(rows):
        raise FloatingPointError(
            "model: its logits are NaN or infinite, so that nothing can be sampled; its weights are damaged, or too "
            "large for the precision (--precision fp32; a smaller --optimizer.lr if it was trained so far)"
        )


def _same_factors(settings: dict[str, Any]) -> bool:
    short, long = settings.get("short_factor"), settings.get("long_factor")
    return short is not None and short == long
