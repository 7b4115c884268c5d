"""Texts that end a completion: found while it is sampled, and cut off where it is read."""

from bisect import bisect_left
from collections import deque
from collections.abc import Collection, Sequence
from itertools import accumulate
from typing import NamedTuple

from transformers import PreTrainedTokenizerBase

from iapo.tokenization.decoding import decode_ids, decode_rows, pieces_of_rows

_REPLACED = "\N{REPLACEMENT CHARACTER}"
_BYTES = 4
"""Tokens that one character may be spread over."""


class Ending(NamedTuple):
    """Where a completion ends.

    Args:
        length: its tokens, up to the one that completes the stop text or is an end of sequence.
        finished: whether one of these ended it.
        unread: characters at the end of its text that are no part of it: the stop text, unless it closes a tag that the
            completion has opened (``</answer>``), and what the last token holds behind it.
    """

    length: int
    finished: bool
    unread: int = 0


def stop_texts(stop: str | Sequence[str]) -> tuple[str, ...]:
    """Stop texts as a sampler keeps them.

    Raises:
        ValueError: an empty one.

    Example:
        >>> stop_texts("\\n\\n"), stop_texts(["a", "b"])
        (('\\n\\n',), ('a', 'b'))
    """
    texts = (stop,) if isinstance(stop, str) else tuple(stop)
    if not all(texts):
        raise ValueError(f"stop: got {texts!r}, want texts of at least one character")
    return texts


def endings(
    tokenizer: PreTrainedTokenizerBase,
    rows: Sequence[Sequence[int]],
    eos_ids: Collection[int],
    stop: Sequence[str] = (),
) -> list[Ending]:
    """Where each completion ends: at its first end-of-sequence token, or at the first token that completes a stop text.

    Args:
        tokenizer: decodes.
        rows: sampled tokens, meaningless behind a first end.
        eos_ids: tokens that end a completion.
        stop: texts that end one.
    """
    found = [_first_eos(row, eos_ids) for row in rows]
    if not stop:
        return found
    kept = [list(row[: each.length - each.finished]) for row, each in zip(rows, found, strict=True)]
    for index, pieces in enumerate(pieces_of_rows(tokenizer, kept)):
        text = "".join(pieces)
        places = [(at + len(each), at, each) for each in stop if (at := text.find(each)) >= 0]
        if places:
            end, at, each = min(places)
            lengths = list(accumulate(map(len, pieces)))
            length = bisect_left(lengths, end) + 1
            closes = "/" in each and each.replace("/", "", 1) in text[:at]
            found[index] = Ending(length, True, lengths[length - 1] - (end if closes else at))
    return found


class StopWatch:
    """Sees the tokens of completions one by one as they are sampled, and says which has just completed a stop text.

    It decodes the last few tokens alone, as many as can hold a stop text, and the whole completion only where these do.
    These begin behind a whole character, as some decoders replace all bytes of a run that begins within one.

    Args:
        tokenizer: decodes.
        stop: texts that end a completion.
        rows: how many completions there are.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, stop: Sequence[str], rows: int) -> None:
        self.tokenizer, self.stop = tokenizer, tuple(stop)
        self._window = _BYTES * max(map(len, self.stop), default=0)
        self._seen: list[list[int]] = [[] for _ in range(rows)]
        self._whole = [deque([0]) for _ in range(rows)]  # how many tokens ended with a whole character

    def see(self, rows: Sequence[int], tokens: Sequence[int]) -> list[bool]:
        """Whether each of these completions holds a stop text with the token that comes to it now.

        Args:
            rows: which completions.
            tokens: the next token of each.
        """
        if not self.stop:
            return [False] * len(rows)
        for row, token in zip(rows, tokens, strict=True):
            self._seen[row].append(token)
        texts = decode_rows(self.tokenizer, [self._last(row) for row in rows])
        for row, text in zip(rows, texts, strict=True):
            if not text.endswith(_REPLACED):
                self._whole[row].append(len(self._seen[row]))
        return [
            self._holds(text) and self._is_whole(decode_ids(self.tokenizer, self._seen[row]))
            for row, text in zip(rows, texts, strict=True)
        ]

    def _last(self, row: int) -> list[int]:
        """The tokens of a completion that can hold a stop text, from the end of a whole character on."""
        seen, whole = self._seen[row], self._whole[row]
        while len(whole) > 1 and whole[1] <= len(seen) - self._window:
            whole.popleft()
        return seen[whole[0] :]

    def _is_whole(self, text: str) -> bool:
        """Whether a completion holds a stop text, and its last token does not begin a character as well."""
        return self._holds(text) and not text.endswith(_REPLACED)

    def _holds(self, text: str) -> bool:
        return any(each in text for each in self.stop)


def _first_eos(row: Sequence[int], eos_ids: Collection[int]) -> Ending:
    at = next((position for position, token in enumerate(row) if token in eos_ids), None)
    return Ending(len(row), False) if at is None else Ending(at + 1, True)
