"""Completions as texts."""

from collections.abc import Collection, Sequence

from transformers import PreTrainedTokenizerBase

from iapo.types import Rollout

_LONGEST_CHARACTER = 4
"""A character of UTF-8 has at most so many bytes, so that no more byte tokens have to wait for its end."""


def decode_completions(
    tokenizer: PreTrainedTokenizerBase, rollout: Rollout, eos_ids: Collection[int] | None = None
) -> list[str]:
    """The text of each completion, without padding and without its final end-of-sequence token.

    Other special tokens stay: with some tokenizers ``<think>`` and ``<answer>`` are special, and rewards look for them.
    Padding is read from the mask, so that a padding token inside a completion stays too.

    Args:
        tokenizer: of the model that sampled.
        rollout: the completions.
        eos_ids: end-of-sequence ids; ``None``: the tokenizer's.

    Returns:
        One text per completion.
    """
    if eos_ids is None:
        eos_ids = [] if tokenizer.eos_token_id is None else [tokenizer.eos_token_id]
    rows = []
    for ids, length in zip(rollout.completion_ids.tolist(), rollout.completion_lengths.tolist(), strict=True):
        ends_itself = length > 0 and ids[length - 1] in eos_ids
        rows.append(ids[: length - ends_itself])
    return list(tokenizer.batch_decode(rows, skip_special_tokens=False, clean_up_tokenization_spaces=False))


def token_pieces(tokenizer: PreTrainedTokenizerBase, ids: Sequence[int]) -> tuple[str, ...]:
    """The text that each token adds to the text before it; together they are the decoded text.

    A character spread over several tokens belongs to its last one, the others get an empty piece. Special tokens are
    shown.

    Args:
        tokenizer: the tokenizer that the ids are from.
        ids: token ids in order.

    Returns:
        One piece per id.
    """
    pieces: list[str] = []
    context, done = 0, 0
    for end in range(1, len(ids) + 1):
        before, text = decode_ids(tokenizer, ids[context:done]), decode_ids(tokenizer, ids[context:end])
        unfinished = text.endswith("\N{REPLACEMENT CHARACTER}") and end - done < _LONGEST_CHARACTER
        if unfinished and end < len(ids):
            pieces.append("")
            continue
        # Decoded after what was there: a decoder may treat a first token in its own way (a leading space, say).
        pieces.append(text[len(before) :])
        context, done = done, end
    return tuple(pieces)


def decode_ids(tokenizer: PreTrainedTokenizerBase, ids: Sequence[int]) -> str:
    """The text of token ids, special tokens shown."""
    text = tokenizer.decode(list(ids), skip_special_tokens=False, clean_up_tokenization_spaces=False)
    assert isinstance(text, str)
    return text
