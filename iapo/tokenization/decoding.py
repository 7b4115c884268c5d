"""Completions as texts."""

import re
from collections.abc import Collection, Mapping, Sequence
from itertools import accumulate, pairwise

from jaxtyping import Bool, Int
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from iapo.ops.arguments import arguments_named
from iapo.ops.padding import unpad_rows
from iapo.types import Rollout

_REPLACED = "\N{REPLACEMENT CHARACTER}"
_LONGEST_CHARACTER = 4
"""A character of UTF-8 has at most so many bytes, so that no more byte tokens have to wait for its end."""
_BYTE = re.compile(r"<0x[0-9A-Fa-f]{2}>")
"""A token that stands for one byte, where a vocabulary of characters falls back to bytes."""
_LONGEST_RUN = 256
"""Bytes behind each other that are told apart; more belong to the last one of them."""


@arguments_named
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


@arguments_named
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
        if "".join(found[index]) != texts[index]:
            found[index] = _pieces_of_runs(tokenizer, rows[index], alone)
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


def _pieces_of_runs(
    tokenizer: PreTrainedTokenizerBase, ids: Sequence[int], alone: Mapping[int, str]
) -> tuple[str, ...]:
    """The pieces of a text with bytes that make no characters: a decoder may replace all bytes of such a run."""
    names = tokenizer.convert_ids_to_tokens(list(ids))
    is_byte = [
        _REPLACED in alone[token] or _BYTE.fullmatch(str(name)) is not None
        for token, name in zip(ids, names, strict=True)
    ]
    pieces: list[str] = []
    context = 0  # where what a run is decoded behind begins
    for start, end in _runs(is_byte):
        before = decode_ids(tokenizer, ids[context:start])
        text = decode_ids(tokenizer, ids[context:end])[len(before) :]
        told = range(start + 1, end) if end - start <= _LONGEST_RUN else ()
        sofar = decode_rows(tokenizer, [ids[context:stop] for stop in told])
        settled = [_shared(each[len(before) :], text) for each in sofar]
        untold = [0] * (end - start - len(settled))
        pieces += [text[begin:stop] for begin, stop in pairwise(accumulate([*untold, *settled, len(text)], max))]
        context = start
    return tuple(pieces)


def _runs(is_byte: Sequence[bool]) -> list[tuple[int, int]]:
    """Where runs of bytes begin and end, and each other token."""
    begins = [i for i, byte in enumerate(is_byte) if not (byte and i and is_byte[i - 1])]
    return list(zip(begins, [*begins[1:], len(is_byte)], strict=True))


def _shared(text: str, other: str) -> int:
    """How many characters two texts have in common from their beginning on."""
    return next(
        (place for place, (a, b) in enumerate(zip(text, other, strict=False)) if a != b), min(len(text), len(other))
    )


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
