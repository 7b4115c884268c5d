"""What a model takes: how many positions, which tokens, and logits that a token can be sampled from."""

import sys
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from jaxtyping import Float
from torch import Tensor

from iapo.policy.forward import unwrap


@dataclass(frozen=True)
class Limits:
    """What a model takes.

    Args:
        positions: the largest number of tokens of a text; ``None``: its config names none.
        vocabulary: token ids are below this number, that of its embeddings; very large if nothing names it.
    """

    positions: int | None
    vocabulary: int

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
    """What a model takes, wrappers taken off."""
    inner = unwrap(model)
    embeddings = inner.get_input_embeddings() if hasattr(inner, "get_input_embeddings") else None
    found = limits_of_config(inner.config)
    rows = getattr(embeddings, "num_embeddings", None)
    return Limits(found.positions, found.vocabulary if rows is None else rows)


def limits_of_config(config: Any) -> Limits:
    """What a model of this configuration takes."""
    text = config.get_text_config(decoder=True)
    positions = getattr(text, "max_position_embeddings", None)
    return Limits(
        positions if isinstance(positions, int) and positions > 0 else None, getattr(text, "vocab_size", sys.maxsize)
    )


def check_logits(logits: Float[Tensor, "*axes vocab"]) -> None:
    """Raise for logits that no token can be sampled from.

    Args:
        logits: ``-inf`` rules a token out.

    Raises:
        FloatingPointError: NaN, ``+inf``, or a row of ``-inf`` alone.
    """
    if not bool(logits.amax(-1).isfinite().all()):  # the largest of a row is NaN if one is
        raise FloatingPointError(
            "model: its logits are NaN or infinite, so that nothing can be sampled; its weights are damaged, or too "
            "large for the precision (--precision fp32; a smaller --optimizer.lr if it was trained so far)"
        )
