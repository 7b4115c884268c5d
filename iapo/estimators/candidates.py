"""The sets of answers that `iapo.estimators.AnswerEntropy` compares, in tokens."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile

import torch
from einops import rearrange
from jaxtyping import Bool, Int
from torch import Tensor

from iapo.ops.padding import pad_rows
from iapo.types import Rollout

Ids = tuple[int, ...]
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


def group_answers(rollout: Rollout) -> list[Answers]:
    """The distinct non-empty answers of each row's group, in order of appearance; one entry per row.

    Raises:
        ValueError: a rollout without ``answer_ids``.
    """
    if rollout.answer_ids is None or rollout.answer_mask is None:
        raise ValueError("rollout.answer_ids: AnswerEntropy without candidates takes them from here, got None")
    lengths = rollout.answer_mask.sum(1).tolist()
    answers = [tuple(ids[:length]) for ids, length in zip(rollout.answer_ids.tolist(), lengths, strict=True)]
    groups = rollout.group_ids.tolist()
    found: dict[int, dict[Ids, None]] = {group: {} for group in groups}
    for group, answer in zip(groups, answers, strict=True):
        if answer:
            found[group][answer] = None
    return [tuple(found[group]) for group in groups]


def group_exits(rollout: Rollout) -> list[tuple[Asked, ...]]:
    """As `group_answers`, of a rollout with exits: how each distinct answer of the row's group is asked for first."""
    answers = group_answers(rollout)
    assert rollout.exit_ids is not None
    assert rollout.exit_scored is not None
    assert rollout.answer_ids is not None
    assert rollout.answer_mask is not None
    lengths = rollout.answer_mask.sum(1).tolist()
    found: dict[tuple[int, Ids], Asked] = {}
    for row, group in enumerate(rollout.group_ids.tolist()):
        scored = rollout.exit_scored[row].nonzero().flatten().tolist()
        ids = rollout.exit_ids[row].tolist()
        if lengths[row] and scored:
            answer = tuple(rollout.answer_ids[row, : lengths[row]].tolist())
            found.setdefault((group, answer), (tuple(ids[: scored[0]]), tuple(ids[scored[0] : scored[-1] + 1])))
    return [
        tuple(found[group, answer] for answer in each)
        for group, each in zip(rollout.group_ids.tolist(), answers, strict=True)
    ]


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


def known_candidates(rollout: Rollout) -> Mapping[int, tuple]:
    """By group id, what `with_groups` keeps: exits where the rollout has them, else answers."""
    rows = group_answers(rollout) if rollout.exit_ids is None else group_exits(rollout)
    return dict(zip(rollout.group_ids.tolist(), rows, strict=True))


def _alike(rows: Sequence[Ids]) -> int:
    """How many tokens all of the rows begin with."""
    return sum(1 for _ in takewhile(lambda column: len(set(column)) == 1, zip(*rows, strict=False)))
