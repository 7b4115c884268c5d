"""Finds the tokens of a completion's reasoning and answer, whatever the tokenizer made of its text.

A mark has no fixed tokens: a byte-pair encoding may write ``</think><answer>-7`` as ``</``, ``think``, ``><``,
``answer``, ``>-``, ``7``. So a completion is read as text (`iapo.styles`), the text that each token adds to the ones
before it says which characters it holds, and characters are mapped back to tokens. Where a token holds characters of an
answer and of what stands beside it, the answer is encoded anew.
"""

from bisect import bisect_right
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from jaxtyping import Bool, Int
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from iapo.ops.padding import pad_rows
from iapo.ops.shapes import shape_checked
from iapo.styles import USUAL_STYLE, Asked, CompletionStyle
from iapo.tokenization.continuation import Continued, continue_texts, ends_of, tokens_before
from iapo.tokenization.decoding import pieces_of_rows, rows_of_text


@dataclass(frozen=True, eq=False)
class Exits:
    """The texts that force each completion's answer, in tokens; the fields of the same names of `iapo.Rollout`.

    Args:
        answer_ids: the tokens of the answers alone, right-padded.
        answer_mask: ``True`` at them; an empty row means that there is no answer to ask about.
        exit_ids: the text that asks for the answer, the answer, and the text that ends it, right-padded.
        exit_scored: ``True`` at every token that holds a character of the answer or of what ends it.
    """

    answer_ids: Int[Tensor, "batch answer"]
    answer_mask: Bool[Tensor, "batch answer"]
    exit_ids: Int[Tensor, "batch exit"]
    exit_scored: Bool[Tensor, "batch exit"]


@dataclass(frozen=True, eq=False)
class Spans:
    """Where the completions reason and what they answer.

    Args:
        reasoning_mask: ``True`` at the tokens of the reasoning.
        exits: of each completion's own answer.
    """

    reasoning_mask: Bool[Tensor, "batch token"]
    exits: Exits


@shape_checked
def mark_spans(
    completion_ids: Int[Tensor, "batch token"],
    completion_mask: Bool[Tensor, "batch token"],
    tokenizer: PreTrainedTokenizerBase,
    style: CompletionStyle = USUAL_STYLE,
    eos_ids: Collection[int] | None = None,
    unread: Int[Tensor, " batch"] | None = None,
) -> Spans:
    """Mark the reasoning and the own answer of each completion, where ``style`` reads them.

    Reasoning: the tokens from the first one that holds a character of it, up to, not including, the first one that
    holds a character of what ends it. A final end-of-sequence token is never part of it, and no part of the text unless
    it closes a tag (`iapo.tokenization.decoding.rows_of_text`).

    Answer: its own tokens where these hold nothing else, else those that the tokenizer writes it with. The exit is the
    completion's own tokens if it wrote the whole of it, from the end of its reasoning on, in tokens that hold nothing
    else; otherwise those with which the tokenizer continues the reasoning.

    Args:
        completion_ids: token ids, right-padded.
        completion_mask: ``True`` at the completions' tokens.
        tokenizer: decodes the ids.
        style: how the completions reason and answer.
        eos_ids: end-of-sequence ids; ``None``: the tokenizer's.
        unread: characters at the end of each completion that are no part of its text (`iapo.Rollout`); a token that
            holds one of them is no reasoning.

    Returns:
        Masks and answers on the device of ``completion_ids``.
    """
    rows = rows_of_text(tokenizer, completion_ids, completion_mask, eos_ids)
    reasoning = torch.zeros(completion_mask.shape, dtype=torch.bool)
    exits = ExitTokens(tokenizer)
    left_out = [0] * len(rows) if unread is None else unread.tolist()
    for index, (row, pieces) in enumerate(zip(rows, pieces_of_rows(tokenizer, rows), strict=True)):
        whole, ends = "".join(pieces), ends_of(pieces)
        text = whole[: len(whole) - left_out[index]]
        reading = style.read(text)
        first = bisect_right(ends, reading.reasoning.start) if reading.reasoning.start else 0
        # What ends the reasoning begins in this token; behind the last one if nothing ends it.
        last = bisect_right(ends, reading.reasoning.stop) if reading.reasoning.stop < len(whole) else len(row)
        reasoning[index, min(first, last) : last] = True
        asked = style.asked_in(text, reading)
        if asked is None or reading.answer is None or reading.exit is None:
            exits.none()
            continue
        context = "".join(pieces[:last])
        own_answer = _own(row, ends, reading.answer)
        own_exit = _own(row, ends, reading.exit) if text[reading.exit] == asked.text else None
        exits.add(context, asked, own_answer, own_exit)
    return Spans(reasoning.to(completion_ids.device), exits.padded(completion_ids.device))


class _Exit(NamedTuple):
    """What a completion is asked with: its text up to the end of its reasoning, the texts, their tokens if known."""

    context: str
    asked: Asked
    answer: Continued | None
    exit: Continued | None


@dataclass
class ExitTokens:
    """Collects the exits of completions and encodes at once what has no tokens yet.

    Args:
        tokenizer: encodes.
    """

    tokenizer: PreTrainedTokenizerBase
    _rows: list[_Exit | None] = field(default_factory=list)

    def none(self) -> None:
        """A completion without an answer."""
        self._rows.append(None)

    def add(self, context: str, asked: Asked, answer: Continued | None = None, exit: Continued | None = None) -> None:
        """A completion that is asked about an answer.

        Args:
            context: the completion up to the end of its reasoning.
            asked: the texts that force the answer; an answer of white space is none.
            answer: the answer's tokens, if they are known.
            exit: those of all three texts, if they are known.
        """
        self._rows.append(_Exit(context, asked, answer, exit) if asked.answer.strip() else None)

    def padded(self, device: torch.device) -> Exits:
        """The exits as tensors; of a completion without an answer the rows are empty."""
        asked = {row: each for row, each in enumerate(self._rows) if each is not None}
        answers = self._encoded(
            {row: (each.answer, each.asked.postfix, each.asked.answer) for row, each in asked.items()}
        )
        exits = self._encoded({row: (each.exit, each.context, each.asked.text) for row, each in asked.items()})
        begins = [0] * len(self._rows)
        for row, each in asked.items():
            texts = each.asked
            # Tokens in which there is nothing but the text that asks.
            begins[row] = bisect_right(exits[row].ends, len(texts.postfix))
            if begins[row] == 0 and texts.postfix:
                # Its only token is shared with the answer; without one of its own there is nothing to read after.
                parts = continue_texts(self.tokenizer, ["", ""], [texts.postfix, texts.answer + texts.closing])
                exits[row] = Continued(parts[0].ids + parts[1].ids, [])
                begins[row] = len(parts[0].ids)

        def in_rows(found: Mapping[int, Continued]) -> tuple[Tensor, Tensor]:
            rows = [found[row].ids if row in found else [] for row in range(len(self._rows))]
            return pad_rows(rows, 0, device=device)

        (answer_ids, answer_mask), (exit_ids, exit_mask) = in_rows(answers), in_rows(exits)
        begin = torch.tensor(begins, device=device, dtype=torch.long)[:, None]
        exit_scored = exit_mask & (torch.arange(exit_ids.shape[1], device=device) >= begin)
        return Exits(answer_ids, answer_mask, exit_ids, exit_scored)

    def _encoded(self, parts: Mapping[int, tuple[Continued | None, str, str]]) -> dict[int, Continued]:
        """Of each row the tokens of a text: those that are known, or else as it is encoded behind its context."""
        missing = {row: (context, text) for row, (known, context, text) in parts.items() if known is None}
        contexts, texts = ([pair[part] for pair in missing.values()] for part in (0, 1))
        encoded = dict(zip(missing, continue_texts(self.tokenizer, contexts, texts), strict=True))
        return encoded | {row: known for row, (known, _, _) in parts.items() if known is not None}


def _own(row: Sequence[int], ends: Sequence[int], part: slice) -> Continued | None:
    """The tokens that hold a part of a text; ``None`` if one of them holds characters of something else."""
    (first, opens), (last, closes) = tokens_before(ends, part.start), tokens_before(ends, part.stop)
    if not (opens and closes):
        return None
    return Continued(list(row[first:last]), [end - part.start for end in ends[first:last]])
