"""Completions as texts."""

from collections.abc import Collection, Mapping, Sequence
from itertools import pairwise

from jaxtyping import Bool, Int
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from iapo.ops.padding import unpad_rows
from iapo.types import Rollout

_REPLACED = "\N{REPLACEMENT CHARACTER}"
_LONGEST_CHARACTER = 4
"""A character of UTF-8 has at most so many bytes, so that no more byte tokens have to wait for its end."""


def decode_completions(
    tokenizer: PreTrainedTokenizerBase, rollout: Rollout, eos_ids: Collection[int] | None = None
) -> list[str]:
    """The text of each completion, without padding, without its final end-of-sequence token (`rows_of_text`), and
    without the stop text that ended it (``rollout.unread``).

    Other special tokens stay: with some tokenizers ``<think>`` and ``<answer>`` are special, and rewards look for them.
    Padding is read from the mask, so that a padding token inside a completion stays too.

    Args:
        tokenizer: of the model that sampled.
        rollout: the completions.
        eos_ids: end-of-sequence ids; ``None``: the tokenizer's.

    Returns:
        One text per completion.
    """
    texts = decode_rows(tokenizer, rows_of_text(tokenizer, rollout.completion_ids, rollout.completion_mask, eos_ids))
    if rollout.unread is None:
        return texts
    return [text[: len(text) - unread] for text, unread in zip(texts, rollout.unread.tolist(), strict=True)]


def rows_of_text(
    tokenizer: PreTrainedTokenizerBase,
    completion_ids: Int[Tensor, "batch token"],
    completion_mask: Bool[Tensor, "batch token"],
    eos_ids: Collection[int] | None = None,
) -> list[list[int]]:
    """The tokens of each completion's text: without padding, and without a final end-of-sequence token.

    An end-of-sequence token that closes a tag which the completion has opened (``</answer>``, on which a model was
    told to stop) is a part of the text.

    Args:
        tokenizer: of the model that sampled.
        completion_ids: token ids, right-padded.
        completion_mask: ``True`` at the completions' tokens.
        eos_ids: end-of-sequence ids; ``None``: the tokenizer's.
    """
    if eos_ids is None:
        eos_ids = [] if tokenizer.eos_token_id is None else [tokenizer.eos_token_id]
    rows = unpad_rows(completion_ids, completion_mask)
    ended = [index for index, row in enumerate(rows) if row and row[-1] in eos_ids]
    opened_by = {token: decode_ids(tokenizer, [token]).strip() for token in {rows[index][-1] for index in ended}}
    opened_by = {token: text.replace("/", "", 1) for token, text in opened_by.items() if "/" in text}
    closing = [index for index in ended if rows[index][-1] in opened_by]
    texts = dict(zip(closing, decode_rows(tokenizer, [rows[index][:-1] for index in closing]), strict=True))
    for index in ended:
        if index not in texts or opened_by[rows[index][-1]] not in texts[index]:
            rows[index] = rows[index][:-1]
    return rows


def token_pieces(tokenizer: PreTrainedTokenizerBase, ids: Sequence[int]) -> tuple[str, ...]:
    """The text that each token adds to the text before it; together they are the decoded text.

    A character spread over several tokens belongs to its last one, the others get an empty piece, and so does a token
    that ends one character and begins the next. Special tokens are shown.

    Args:
        tokenizer: the tokenizer that the ids are from.
        ids: token ids in order.

    Returns:
        One piece per id.
    """
    return pieces_of_rows(tokenizer, [ids])[0]


def pieces_of_rows(tokenizer: PreTrainedTokenizerBase, rows: Sequence[Sequence[int]]) -> list[tuple[str, ...]]:
    """`token_pieces` of many texts.

    Most tokens add what they decode to by themselves, or behind the token before them (where a decoder drops a first
    space, say); each such token and pair is decoded once. What is left, pieces of characters, is decoded in its place.
    """
    texts = decode_rows(tokenizer, rows)
    tokens = sorted({token for row in rows for token in row})
    alone = dict(zip(tokens, decode_rows(tokenizer, [[token] for token in tokens]), strict=True))
    found = [tuple(alone[token] for token in row) for row in rows]
    odd = [index for index, pieces in enumerate(found) if "".join(pieces) != texts[index]]
    pairs = sorted({pair for index in odd for pair in pairwise(rows[index])})
    behind = dict(zip(pairs, decode_rows(tokenizer, pairs), strict=True))
    for index in odd:
        found[index] = _pieces_in_place(tokenizer, rows[index], alone, behind)
    return found


def _pieces_in_place(
    tokenizer: PreTrainedTokenizerBase,
    ids: Sequence[int],
    alone: Mapping[int, str],
    behind: Mapping[tuple[int, int], str],
) -> tuple[str, ...]:
    """The pieces of one text, from single tokens and pairs as far as these are whole characters."""
    pieces: list[str] = []
    context, done = 0, 0
    length, grew = 0, 0  # whole characters behind the first `done` tokens, and the tokens up to the last of them
    for end in range(1, len(ids) + 1):
        if done == end - 1 > 0 and not any(_REPLACED in alone[token] for token in ids[end - 2 : end]):
            before, text = alone[ids[end - 2]], behind[ids[end - 2], ids[end - 1]]
        else:
            before, text = decode_ids(tokenizer, ids[context:done]), decode_ids(tokenizer, ids[context:end])
            whole = len(text.rstrip(_REPLACED)) - len(before)
            if whole > length:
                length, grew = whole, end
            if text.endswith(_REPLACED) and end - grew < _LONGEST_CHARACTER and end < len(ids):
                pieces.append("")
                continue
        # Decoded after what was there: a decoder may treat a first token in its own way (a leading space, say).
        pieces.append(text[len(before) :])
        context, done, length, grew = done, end, 0, end
    return tuple(pieces)


def decode_rows(tokenizer: PreTrainedTokenizerBase, rows: Sequence[Sequence[int]]) -> list[str]:
    """The texts of rows of token ids, special tokens shown."""
    if not rows:
        return []
    return list(
        tokenizer.batch_decode(
            [list(row) for row in rows], skip_special_tokens=False, clean_up_tokenization_spaces=False
        )
    )


def decode_ids(tokenizer: PreTrainedTokenizerBase, ids: Sequence[int]) -> str:
    """The text of token ids, special tokens shown."""
    return decode_rows(tokenizer, [ids])[0]
