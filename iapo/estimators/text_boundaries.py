"""Boundaries read from the text: where steps end, for any tokenizer."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from iapo.estimators.boundaries import Boundaries
from iapo.ops.checks import check_kinds
from iapo.ops.padding import unpad_rows
from iapo.styles import Steps
from iapo.tokenization.decoding import token_pieces
from iapo.types import Rollout


@dataclass(frozen=True)
class TextBoundaries(Boundaries):
    """A boundary where a step of the text ends, behind the token that holds the end.

    White space behind the end of a step belongs to that step if it is a token of its own. In most tokenizers one token
    holds the white space and the next word: then the boundary is in front of this token. A token that holds the last
    characters of a step and the first ones of the next, which is rare, belongs to the step that it ends.

    Args:
        tokenizer: of the policy.
        steps: where steps end; ``None``: as the style of a run's completions says
            (`iapo.styles.CompletionStyle.steps`), and behind lines and sentences where nothing does.
    """

    tokenizer: PreTrainedTokenizerBase
    steps: Steps | None = None

    def __post_init__(self) -> None:
        check_kinds(self)

    def __call__(self, rollout: Rollout) -> Bool[Tensor, "batch probe"]:
        """``True`` at the prefixes at whose end a step ends; entry ``t`` has seen ``t`` tokens."""
        batch, token = rollout.completion_ids.shape
        found = torch.zeros(batch, token + 1, dtype=torch.bool)
        for row, ids in enumerate(unpad_rows(rollout.completion_ids, rollout.completion_mask)):
            found[row, self.ends(ids)] = True
        return found.to(rollout.completion_ids.device)

    def ends(self, ids: list[int]) -> list[int]:
        """Of one completion: how many tokens there are in front of each boundary, in order."""
        pieces = token_pieces(self.tokenizer, ids)
        text = "".join(pieces)
        ends = (self.steps or Steps()).ends(text)
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
