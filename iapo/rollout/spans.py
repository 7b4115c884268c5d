"""Finds the tokens of a completion's reasoning and answer, whatever the tokenizer made of its text.

A mark has no fixed tokens: a byte-pair encoding may write ``</think><answer>-7`` as ``</``, ``think``, ``><``,
``answer``, ``>-``, ``7``. So a completion is read as text (`iapo.styles`), the text that each token adds to the ones
before it says which characters it holds, and characters are mapped back to tokens. Where a token holds characters of an
answer and of what stands beside it, the answer is encoded anew.
"""

from bisect import bisect_right
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

import torch
from jaxtyping import Bool, Int
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from iapo.ops.padding import pad_rows
from iapo.rollout.continuation import Continued, continue_texts, ends_of, tokens_before
from iapo.rollout.text import pieces_of_rows, rows_of_text
from iapo.styles import USUAL_STYLE, Asked, CompletionStyle
from iapo.types import shape_checked


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
    it closes a tag (`iapo.rollout.text.rows_of_text`).

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


@dataclass
class ExitTokens:
    """Collects the exits of completions and encodes at once what has no tokens yet.

    Args:
        tokenizer: encodes.
    """

    tokenizer: PreTrainedTokenizerBase
    _rows: list[Asked | None] = field(default_factory=list)
    _contexts: list[str] = field(default_factory=list)
    _answers: list[Continued | None] = field(default_factory=list)
    _exits: list[Continued | None] = field(default_factory=list)

    def none(self) -> None:
        """A completion without an answer."""
        self._add(None, "", None, None)

    def add(self, context: str, asked: Asked, answer: Continued | None = None, exit: Continued | None = None) -> None:
        """A completion that is asked about an answer.

        Args:
            context: the completion up to the end of its reasoning.
            asked: the texts that force the answer; an answer of white space is none.
            answer: the answer's tokens, if they are known.
            exit: those of all three texts, if they are known.
        """
        self._add(asked if asked.answer.strip() else None, context, answer, exit)

    def _add(self, asked: Asked | None, context: str, answer: Continued | None, exit: Continued | None) -> None:
        self._rows.append(asked)
        self._contexts.append(context)
        self._answers.append(answer)
        self._exits.append(exit)

    def padded(self, device: torch.device) -> Exits:
        """The exits as tensors."""
        asked = [(index, each) for index, each in enumerate(self._rows) if each is not None]
        answers = self._known(self._answers, [(index, each.postfix, each.answer) for index, each in asked])
        exits = self._known(self._exits, [(index, self._contexts[index], each.text) for index, each in asked])
        scored: list[int] = [0] * len(exits)
        for index, each in asked:
            # Tokens in which there is nothing but the text that asks.
            scored[index] = bisect_right(exits[index].ends, len(each.postfix))
            if scored[index] == 0 and each.postfix:
                # Its only token is shared with the answer; without one of its own there is nothing to read after.
                parts = continue_texts(self.tokenizer, ["", ""], [each.postfix, each.answer + each.closing])
                exits[index] = Continued(parts[0].ids + parts[1].ids, [])
                scored[index] = len(parts[0].ids)
        answer_ids, answer_mask = pad_rows([answer.ids for answer in answers], 0, device=device)
        exit_ids, exit_mask = pad_rows([each.ids for each in exits], 0, device=device)
        begin = torch.tensor(scored, device=device, dtype=torch.long)[:, None]
        exit_scored = exit_mask & (torch.arange(exit_ids.shape[1], device=device) >= begin)
        return Exits(answer_ids, answer_mask, exit_ids, exit_scored)

    def _known(self, known: Sequence[Continued | None], wanted: Sequence[tuple[int, str, str]]) -> list[Continued]:
        """What is known, and the rest encoded behind its context; empty where nothing is wanted."""
        found = [Continued([], []) for _ in known]
        missing = []
        for index, context, text in wanted:
            each = known[index]
            if each is None:
                missing.append((index, context, text))
            else:
                found[index] = each
        encoded = continue_texts(self.tokenizer, [each[1] for each in missing], [each[2] for each in missing])
        for (index, _, _), each in zip(missing, encoded, strict=True):
            found[index] = each
        return found


def _own(row: Sequence[int], ends: Sequence[int], part: slice) -> Continued | None:
    """The tokens that hold a part of a text; ``None`` if one of them holds characters of something else."""
    (first, opens), (last, closes) = tokens_before(ends, part.start), tokens_before(ends, part.stop)
    if not (opens and closes):
        return None
    return Continued(list(row[first:last]), [end - part.start for end in ends[first:last]])
