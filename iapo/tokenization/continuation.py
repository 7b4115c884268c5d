"""Encodes a text as the continuation of another one, without what a tokenizer puts at the beginning of a text.

Encoded by itself, a text may get a space in front (SentencePiece's dummy prefix) or a token that begins a sequence.
Encoded behind another one, its first sign may end up in a token with what stands before it. So both texts are encoded
together, and where a token begins with the second one, the tokens from there on are its own. Where none does, the text
is encoded behind a neutral one.
"""

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from typing import Any, NamedTuple

from transformers import PreTrainedTokenizerBase

from iapo.ops.arguments import arguments_named
from iapo.tokenization.decoding import decode_ids, pieces_of_rows

_NEUTRAL = ("a", "\n", ".", "0", ")", " ")
"""Texts that another one is encoded behind where its own context merges with it, tried one after the other."""


class Continued(NamedTuple):
    """The tokens of a text, and where in it each of them ends.

    Args:
        ids: token ids.
        ends: characters of the text up to the end of each token; all pieces of a character end with it.
    """

    ids: list[int]
    ends: list[int]


def continue_texts(
    tokenizer: PreTrainedTokenizerBase, contexts: Sequence[str], texts: Sequence[str]
) -> list[Continued]:
    """The tokens of each text behind its context.

    Args:
        tokenizer: encodes.
        contexts: what stands before each text; empty where nothing does that is known.
        texts: the texts.
    """
    found: list[Continued | None] = [None] * len(texts)
    for before in (contexts, *([neutral] * len(texts) for neutral in _NEUTRAL)):
        left = [index for index, each in enumerate(found) if each is None and before[index]]
        if left:
            some = _behind(tokenizer, [before[index] for index in left], [texts[index] for index in left])
            for index, each in zip(left, some, strict=True):
                found[index] = each
    alone = _encoded(tokenizer, [text for text, each in zip(texts, found, strict=True) if each is None])
    return [each if each is not None else next(alone) for each in found]


@arguments_named
def continuation_ids(tokenizer: PreTrainedTokenizerBase, text: str) -> tuple[int, ...]:
    """The tokens of a text that stands behind another one, whichever that is."""
    return tuple(continue_texts(tokenizer, [""], [text])[0].ids)


def _behind(
    tokenizer: PreTrainedTokenizerBase, contexts: Sequence[str], texts: Sequence[str]
) -> list[Continued | None]:
    """The texts' own tokens behind their contexts, ``None`` where a token holds characters of both."""
    wholes = _encoded(tokenizer, [context + text for context, text in zip(contexts, texts, strict=True)])
    befores = _encoded(tokenizer, contexts)
    found: list[Continued | None] = []
    for context, whole, before in zip(contexts, wholes, befores, strict=True):
        first = len(before.ids)
        if whole.ids[:first] != before.ids:
            first = bisect_right(whole.ends, len(context))
            if first == 0 or decode_ids(tokenizer, whole.ids[:first]) != decode_ids(tokenizer, before.ids):
                found.append(None)
                continue
        found.append(Continued(whole.ids[first:], [max(0, end - len(context)) for end in whole.ends[first:]]))
    return found


def _encoded(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str]) -> Any:
    """An iterator over the tokens of texts, no special tokens added."""
    if not texts:
        return iter(())
    options = {"return_offsets_mapping": True} if tokenizer.is_fast else {}
    encoded = tokenizer(list(texts), add_special_tokens=False, verbose=False, **options)
    rows = encoded["input_ids"]
    if tokenizer.is_fast:
        ends = [[end for _, end in offsets] for offsets in encoded["offset_mapping"]]
    else:
        ends = [ends_of(pieces) for pieces in pieces_of_rows(tokenizer, rows)]
    return (Continued(list(ids), list(accumulate(each, max))) for ids, each in zip(rows, ends, strict=True))


def ends_of(pieces: Sequence[str]) -> list[int]:
    """Where each of the pieces of a text ends; an empty one, a part of a character, ends with the character.

    Example:
        >>> ends_of(["ab", "", "é", "c"])
        [2, 3, 3, 4]
    """
    ends = list(accumulate(map(len, pieces)))
    for index in range(len(pieces) - 2, -1, -1):
        if not pieces[index]:
            ends[index] = ends[index + 1]
    return ends


def tokens_before(ends: Sequence[int], character: int) -> tuple[int, bool]:
    """How many tokens hold what stands before a character, and whether they hold nothing behind it.

    Args:
        ends: where the tokens end, as in `Continued`.
        character: its position.

    Example:
        >>> tokens_before([2, 3, 3, 5], 3), tokens_before([2, 3, 3, 5], 4)
        ((3, True), (4, False))
    """
    count = bisect_right(ends, character)
    clean = character <= 0 or (count > 0 and ends[count - 1] == character)
    return (count, True) if clean else (min(count + 1, len(ends)), False)
