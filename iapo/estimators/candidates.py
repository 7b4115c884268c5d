"""The sets of answers that `iapo.estimators.AnswerEntropy` compares, in tokens."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile

import torch
from einops import rearrange
from jaxtyping import Bool, Int
from torch import Tensor

from iapo.estimators.asked import Ids, read_answers, split_exits
from iapo.ops.padding import pad_rows
from iapo.types import Rollout

Answers = tuple[Ids, ...]

Asked = tuple[Ids, Ids]
"""The tokens that ask for an answer, and those that are scored: the answer and what ends it."""


@dataclass(frozen=True, eq=False)
class Candidates:
    """The answers of every row behind the tokens with which all of them are asked for.

    Args:
        postfix: tokens that all answers of a row begin with.
        targets: what follows for each of them, padded to one shape.
        counts: which of it is scored.
    """

    postfix: Int[Tensor, "batch postfix"]
    targets: Int[Tensor, "batch candidate answer"]
    counts: Bool[Tensor, "batch candidate answer"]


def known_candidates(rollout: Rollout) -> dict[int, tuple]:
    """The distinct answers of each group, by group id and in order of appearance; rows without an answer have none.

    An answer is its tokens or, of a rollout with exits, how the first row that gives it is asked for it (`Asked`).

    Raises:
        ValueError: a rollout without ``answer_ids``.
    """
    answers = read_answers(rollout)
    candidates = answers if rollout.exit_ids is None else split_exits(rollout)
    found: dict[int, dict[Ids, tuple]] = {group: {} for group in rollout.group_ids.tolist()}
    for group, answer, candidate in zip(rollout.group_ids.tolist(), answers, candidates, strict=True):
        if answer:
            found[group].setdefault(answer, candidate)
    return {group: tuple(own.values()) for group, own in found.items()}


def pack_candidates(rows: Sequence[Sequence[Asked]], device: torch.device) -> Candidates:
    """Candidates of rows as tensors: the tokens that all of a row's share once, the rest for each.

    Where candidates are asked for with other tokens (a tag and an answer in one token), the rest begins with what asks.
    It is scored from where the candidates of the row differ, at the latest from the answer.

    Args:
        rows: the candidates of each row.
        device: that of the tensors.
    """
    wholes = [[before + scored for before, scored in row] for row in rows]
    shared = [
        min(_alike(each), *(len(before) for before, _ in row)) if row else None
        for row, each in zip(rows, wholes, strict=True)
    ]
    start = min((each for each in shared if each is not None), default=1)
    postfix = [list(each[0][:start]) if each else [0] * start for each in wholes]
    most = max((len(row) for row in rows), default=0) or 1
    flat = [ids[start:] for each in wholes for ids in [*each, *[()] * (most - len(each))]]
    ids, mask = pad_rows(flat, 0, device=device)
    targets, counts = (
        rearrange(x, "(batch candidate) answer -> batch candidate answer", candidate=most) for x in (ids, mask)
    )
    # The first of all tokens is predicted by the prefix alone, which is not run again: it is never scored.
    given = torch.tensor([max(1, each or 1) - start for each in shared], device=device, dtype=torch.long)
    steps = torch.arange(targets.shape[2], device=device)
    counts = counts & (steps >= given[:, None, None])
    return Candidates(torch.tensor(postfix, device=device, dtype=torch.long).reshape(len(rows), start), targets, counts)


def _alike(rows: Sequence[Ids]) -> int:
    """How many tokens all of the rows begin with."""
    return sum(1 for _ in takewhile(lambda column: len(set(column)) == 1, zip(*rows, strict=False)))
