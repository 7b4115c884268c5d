"""Prompts with characters that the tokenizer has no tokens for: the model reads one token in place of all of them."""

import logging
from collections.abc import Sequence
from typing import Any

from iapo.tasks import Row

_SHOWN = 100
"""Characters of a prompt that are shown as the model reads it."""

_LOG = logging.getLogger(__name__)


def warn_of_unknown(
    rows: Sequence[Row], encoded: Sequence[Sequence[int]], numbers: Sequence[object], tokenizer: Any
) -> None:
    """Log a warning that counts the prompts in which the tokenizer puts its unknown token, and shows the first.

    A tokenizer without such a token, or of which it is one that begins, ends or pads texts too, knows all bytes.

    Args:
        rows: rendered.
        encoded: the token ids of each prompt.
        numbers: of the rows in the data.
        tokenizer: of the model.
    """
    unknown = tokenizer.unk_token_id
    if unknown in (None, tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id):
        return
    places = [
        place
        for place, (row, ids) in enumerate(zip(rows, encoded, strict=True))
        if unknown in ids and tokenizer.unk_token not in row["prompt"]
    ]
    if places:
        read = tokenizer.decode(encoded[places[0]])[:_SHOWN]
        _LOG.warning(
            "data: the tokenizer has no tokens for characters of %d of %d prompts, first of that of row %s, which the "
            "model reads as %r; want problems in the characters of the model, or a model that has them",
            len(places),
            len(rows),
            numbers[places[0]],
            read,
        )
