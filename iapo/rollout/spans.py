"""Finds the reasoning and the answer of a completion by text markers, whatever the tokenizer made of them.

A marker has no fixed tokens: a byte-pair encoding may write ``</think><answer>`` as ``</``, ``think``, ``><``,
``answer``, ``>``. So every token is decoded to its own piece of text, markers are searched in the joined pieces, and
characters are mapped back to tokens. A token that holds part of a character decodes to replacement characters, which
stay inside its own piece: nothing after it moves.
"""

from bisect import bisect_right
from collections.abc import Collection, Sequence
from dataclasses import dataclass, fields
from itertools import accumulate
from typing import NamedTuple

import torch
from jaxtyping import Bool, Int
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from iapo.ops.padding import pad_rows
from iapo.types import shape_checked


@dataclass(frozen=True)
class Markers:
    """The texts between which a completion reasons and answers.

    Args:
        reasoning_start: text that opens the reasoning.
        reasoning_end: text that closes it.
        answer_start: text that opens the answer.
        answer_end: text that closes it.

    Raises:
        ValueError: an empty marker; the message names it.
    """

    reasoning_start: str = "<think>"
    reasoning_end: str = "</think>"
    answer_start: str = "<answer>"
    answer_end: str = "</answer>"

    def __post_init__(self) -> None:
        for field in fields(self):
            if not getattr(self, field.name):
                raise ValueError(f"{field.name}: got an empty text, want the marker")


DEFAULT_MARKERS = Markers()
"""``<think>...</think><answer>...</answer>``."""


@dataclass(frozen=True, eq=False)
class Spans:
    """Where the completions reason and what they answer; the fields of the same names of `iapo.Rollout`.

    Args:
        reasoning_mask: ``True`` at the tokens of the reasoning.
        answer_ids: the tokens of each completion's own answer, right-padded.
        answer_mask: ``True`` at them; an empty row means that the completion gives no answer.
    """

    reasoning_mask: Bool[Tensor, "batch token"]
    answer_ids: Int[Tensor, "batch answer"]
    answer_mask: Bool[Tensor, "batch answer"]


class Span(NamedTuple):
    """Tokens ``start``, ..., ``stop - 1``."""

    start: int
    stop: int


@shape_checked
def mark_spans(
    completion_ids: Int[Tensor, "batch token"],
    completion_mask: Bool[Tensor, "batch token"],
    tokenizer: PreTrainedTokenizerBase,
    markers: Markers = DEFAULT_MARKERS,
    eos_ids: Collection[int] | None = None,
) -> Spans:
    """Mark the reasoning and the own answer of each completion.

    Reasoning: the tokens that hold text after ``reasoning_start``, if the completion begins with it (white space
    aside), else all from the first; up to, not including, the first token that holds a character of ``reasoning_end``.
    A completion that never closes its reasoning is reasoning to its end, a final end-of-sequence token excepted.

    Answer: every token that holds at least one character of the last closed ``answer_start`` ... ``answer_end`` after
    the reasoning. It is missing if the reasoning was not closed, the block not there or not closed, or nothing in it.

    Args:
        completion_ids: token ids, right-padded.
        completion_mask: ``True`` at the completions' tokens.
        tokenizer: decodes the ids.
        markers: the texts that open and close reasoning and answer.
        eos_ids: end-of-sequence ids; ``None``: the tokenizer's.

    Returns:
        Masks and answers on the device of ``completion_ids``.
    """
    if eos_ids is None:
        eos_ids = [] if tokenizer.eos_token_id is None else [tokenizer.eos_token_id]
    lengths = completion_mask.sum(1).tolist()
    rows = [ids[:length] for ids, length in zip(completion_ids.tolist(), lengths, strict=True)]
    pieces = decode_pieces(rows, tokenizer)
    reasoning = torch.zeros(completion_mask.shape, dtype=torch.bool)
    answers = []
    for index, row in enumerate(rows):
        texts = [pieces[token] for token in row]
        ends_itself = bool(row) and row[-1] in eos_ids
        span, answer = find_spans(texts, ends_itself, markers)
        reasoning[index, span.start : span.stop] = True
        answers.append(row[answer.start : answer.stop])
    device = completion_ids.device
    answer_ids, answer_mask = pad_rows(answers, 0, device=device)
    return Spans(reasoning_mask=reasoning.to(device), answer_ids=answer_ids, answer_mask=answer_mask)


def find_spans(pieces: Sequence[str], ends_itself: bool, markers: Markers) -> tuple[Span, Span]:
    """The spans of one completion, from the texts of its tokens, by the rules of `mark_spans`.

    Args:
        pieces: the text of each token.
        ends_itself: whether the last token is an end-of-sequence token.
        markers: the texts that open and close reasoning and answer.

    Returns:
        The reasoning and the answer, each possibly empty.

    Example:
        >>> find_spans(["7", "</", "think", "><", "answer", ">", "1", "2<", "/answer>"], False, Markers())
        (Span(start=0, stop=1), Span(start=6, stop=8))
    """
    text = "".join(pieces)
    ends = list(accumulate(map(len, pieces)))

    def token_of(character: int) -> int:
        """The token that holds a character: the first that ends after it."""
        return bisect_right(ends, character)

    opening = len(text) - len(text.lstrip())
    begin = opening + len(markers.reasoning_start) if text.startswith(markers.reasoning_start, opening) else 0
    first = token_of(begin) if begin else 0
    close = text.find(markers.reasoning_end, begin)
    if close < 0:
        last = len(pieces) - ends_itself
        return Span(min(first, last), last), Span(0, 0)
    last = token_of(close)
    reasoning = Span(min(first, last), last)

    behind = close + len(markers.reasoning_end)
    answer_stop = text.rfind(markers.answer_end, behind)
    if answer_stop < 0:
        return reasoning, Span(0, 0)
    answer_open = text.rfind(markers.answer_start, behind, answer_stop)
    answer_begin = answer_open + len(markers.answer_start)
    if answer_open < 0 or answer_begin == answer_stop:
        return reasoning, Span(0, 0)
    return reasoning, Span(token_of(answer_begin), token_of(answer_stop - 1) + 1)


def decode_pieces(rows: Sequence[Sequence[int]], tokenizer: PreTrainedTokenizerBase) -> dict[int, str]:
    """The text of every distinct token of ``rows``, decoded by itself, special tokens included."""
    tokens = sorted({token for row in rows for token in row})
    return {
        token: str(tokenizer.decode([token], skip_special_tokens=False, clean_up_tokenization_spaces=False))
        for token in tokens
    }
