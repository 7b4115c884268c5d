"""Boundaries read from the text: the ends of lines and of sentences, for any tokenizer."""

import re
from dataclasses import dataclass

import torch
from jaxtyping import Bool
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from iapo.estimators.boundaries import Boundaries
from iapo.rollout.text import token_pieces
from iapo.types import Rollout

_LINE = re.compile(r"\n\s*(?=\S)")
"""The end of a line, empty lines behind it included."""
_SENTENCE = re.compile(r"(?<!\n\d)(?<!\n\d\d)[.?!]['\")\]*]*\s+(?=\S)|[。？！]")
"""The end of a sentence: its mark, closing quotes and brackets, and white space, which ``3.14`` does not have.

The number of a list entry (``2. Then``) ends none.
"""


@dataclass(frozen=True)
class TextBoundaries(Boundaries):
    """A boundary where a line or a sentence ends, behind the token that holds the end.

    White space behind the end belongs to the line or the sentence before it, if it is a token of its own; of a token
    that holds the white space and the first word behind it, as most do, the boundary is in front. A token that holds
    an end and more than one character behind it, which few do, is followed by the boundary.

    Args:
        tokenizer: of the policy.
        lines: whether lines are parts.
        sentences: whether sentences are parts.

    Raises:
        ValueError: neither lines nor sentences.
    """

    tokenizer: PreTrainedTokenizerBase
    lines: bool = True
    sentences: bool = True

    def __post_init__(self) -> None:
        if not self.lines and not self.sentences:
            raise ValueError("lines and sentences: got False for both, want at least one, else there is no boundary")

    def __call__(self, rollout: Rollout) -> Bool[Tensor, "batch probe"]:
        """``True`` at the prefixes at whose end a line or a sentence ends; entry ``t`` has seen ``t`` tokens."""
        batch, token = rollout.completion_ids.shape
        found = torch.zeros(batch, token + 1, dtype=torch.bool)
        lengths = rollout.completion_lengths.tolist()
        for row, (ids, length) in enumerate(zip(rollout.completion_ids.tolist(), lengths, strict=True)):
            found[row, self.ends(ids[:length])] = True
        return found.to(rollout.completion_ids.device)

    def ends(self, ids: list[int]) -> list[int]:
        """Of one completion: how many tokens there are in front of each boundary, in order."""
        pieces = token_pieces(self.tokenizer, ids)
        text = "".join(pieces)
        patterns = [pattern for pattern, wanted in ((_LINE, self.lines), (_SENTENCE, self.sentences)) if wanted]
        ends = sorted({match.end() for pattern in patterns for match in pattern.finditer(text)})
        found, seen, due = [], 0, iter([*ends, len(text) + 1])
        end = next(due)
        for index, piece in enumerate(pieces):
            begun = seen
            seen += len(piece)
            while end <= seen:
                # In front of a token that holds white space and the next word; behind one that ends there.
                behind = end == seen or text[begun:end].strip() != ""
                found.append(index + 1 if behind else index)
                end = next(due)
        return sorted(set(found))
