"""What an estimator appends to a prefix to ask about a rollout's answer."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Int
from torch import Tensor, nn

from iapo.estimators.packed import check_vocabulary
from iapo.ops.padding import unpad_rows
from iapo.types import Rollout

Ids = tuple[int, ...]
"""Token ids of one text."""


@dataclass(frozen=True, eq=False)
class AskedAnswers:
    """Tokens appended to every prefix of a row: what asks for the answer, the answer, and what ends it.

    Args:
        ids: right-padded.
        scored: ``True`` at every token that holds a part of the answer or of what ends it; the last one is the row's
            last token. A row without an answer has none. The first token of a row is never scored.
        first: the first column in which a token of any row is scored; at least 1.
        named: all token ids, by where they come from.
    """

    ids: Int[Tensor, "batch exit"]
    scored: Bool[Tensor, "batch exit"]
    first: int
    named: Mapping[str, Tensor | Ids]

    @property
    def targets(self) -> Int[Tensor, "batch answer"]:
        """The tokens from `first` on."""
        return self.ids[:, self.first :]

    @property
    def counts(self) -> Bool[Tensor, "batch answer"]:
        """Which of the targets are scored."""
        return self.scored[:, self.first :]

    def check(self, model: nn.Module) -> None:
        """Raise ``ValueError`` for a token that the model does not have."""
        check_vocabulary(model, **self.named)


def asked_answers(owner: str, rollout: Rollout, postfix_ids: Ids, closing_ids: Ids = ()) -> AskedAnswers:
    """What a rollout's answers are asked with: its own exits if it has them, else tokens around its ``answer_ids``.

    Args:
        owner: begins messages.
        rollout: the completions.
        postfix_ids: close the reasoning and open the answer, in a rollout without exits.
        closing_ids: end the answer, in a rollout without exits.

    Raises:
        ValueError: a rollout without ``answer_ids``, or an exit whose first token is scored.
    """
    ids, mask = rollout.answer_ids, rollout.answer_mask
    if ids is None or mask is None:
        raise ValueError(f"rollout.answer_ids: want the answers to ask about, {owner} needs them, got None")
    if rollout.exit_ids is not None and rollout.exit_scored is not None:
        scored = rollout.exit_scored & mask.any(1, keepdim=True)
        exits = rollout.exit_ids.masked_fill(~(scored.flip(1).cumsum(1).flip(1) > 0), 0)
        if bool(scored[:, :1].any()):
            row = int(scored[:, 0].nonzero()[0])
            raise ValueError(f"rollout.exit_scored: the first token of row {row} is scored, want one before the answer")
        first = int(scored.any(0).int().argmax()) if bool(scored.any()) else exits.shape[1] - 1
        # Two columns at least, for ranks that have no answer while others do.
        more = max(0, 2 - exits.shape[1])
        exits, scored = (nn.functional.pad(each, (0, more)) for each in (exits, scored))
        return AskedAnswers(exits, scored, max(1, first), {"rollout.exit_ids": exits})
    lengths, closing = mask.sum(1), len(closing_ids)
    # One column at least, for ranks that have no answer while others do.
    ids = nn.functional.pad(ids.masked_fill(~mask, 0), (0, max(closing, 1 - ids.shape[1])))
    named: dict[str, Tensor | Ids] = {
        "postfix_ids": postfix_ids,
        "closing_ids": closing_ids,
        "rollout.answer_ids": ids,
    }
    for offset, token in enumerate(closing_ids):
        ids = ids.scatter(1, (lengths + offset)[:, None], token)
    lengths = torch.where(lengths > 0, lengths + closing, 0)
    scored = torch.arange(ids.shape[1], device=ids.device) < lengths[:, None]
    postfix = torch.tensor(postfix_ids, device=ids.device).expand(len(ids), -1)
    scored = nn.functional.pad(scored, (len(postfix_ids), 0))
    return AskedAnswers(torch.cat([postfix, ids], 1), scored, len(postfix_ids), named)


def read_answers(rollout: Rollout, name: str = "rollout") -> list[Ids]:
    """The tokens of each row's answer; empty where there is none.

    Args:
        rollout: completions with ``answer_ids``.
        name: what the rollout is called in the error.

    Raises:
        ValueError: a rollout without ``answer_ids``.
    """
    if rollout.answer_ids is None or rollout.answer_mask is None:
        raise ValueError(f"{name}: want answer_ids, the answers to be counted, compared or asked about, got None")
    return [tuple(ids) for ids in unpad_rows(rollout.answer_ids, rollout.answer_mask)]


def split_exits(rollout: Rollout) -> list[tuple[Ids, Ids]]:
    """The two parts of each row's exit: the tokens that ask for the answer, and the scored ones behind them.

    Both are empty in a row without an answer, and in all rows of a rollout without exits.
    """
    if rollout.exit_ids is None or rollout.exit_scored is None:
        return [((), ())] * len(rollout)
    scored = rollout.exit_scored
    asking = (scored.cumsum(1) == 0) & scored.any(1, keepdim=True)
    parts = (unpad_rows(rollout.exit_ids, mask) for mask in (asking, scored))
    return [(tuple(before), tuple(behind)) for before, behind in zip(*parts, strict=True)]


def asking_ids(rollout: Rollout, postfix_ids: Ids) -> list[Ids]:
    """What asks for the answer of each row: of its exit the tokens in front of the scored ones.

    A row without an answer, and all rows of a rollout without exits, are asked with ``postfix_ids``.

    Args:
        rollout: the completions.
        postfix_ids: close the reasoning and open the answer.

    Raises:
        ValueError: an exit whose first token is scored.
    """
    exits = split_exits(rollout)
    for row, (before, scored) in enumerate(exits):
        if scored and not before:
            raise ValueError(f"rollout.exit_scored: the first token of row {row} is scored, want one before the answer")
    return [before or postfix_ids for before, _ in exits]
