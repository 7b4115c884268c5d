"""Decision points: the first token of each line of a completion, where the policy chooses what kind of line it will be.

A policy gradient moves such a choice by its advantage against that of what else was chosen at the same place. A place
is where the completions of a problem could go on alike: after so many steps, behind a line of this kind. What every
completion does at a place, or what none does, no group can show to be better or worse.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

import torch
from demonstrations import read_lines
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from iapo.diagnostics import Estimate
from iapo.diagnostics.estimate import ratio_of_sums
from iapo.tokenization.decoding import token_pieces

START = "start"
"""Where no line is before."""


@dataclass(frozen=True)
class Span:
    """The tokens of a line, ``begin`` to ``end - 1`` of a completion, and what it is."""

    kind: str
    begin: int
    end: int


@dataclass(frozen=True)
class Decision:
    """What was chosen at a place.

    Args:
        row: of the completion.
        token: the first one of the line.
        kind: of the line.
        steps: how many steps there are before.
        behind: the kind of the line before; `START` at the first.
    """

    row: int
    token: int
    kind: str
    steps: int
    behind: str


@dataclass(frozen=True)
class Contrast:
    """What choosing a kind of line is worth, against what else was chosen at the same places.

    Args:
        chosen: mean of the values at the decisions for it; ``None`` where there are none.
        difference: mean over places where a group's completions chose both it and something else of the difference of
            their means, a place weighted by ``n m / (n + m)`` for ``n`` and ``m`` of them; ``None`` without such.
        push: sum of the weighted differences by completion: how far values push the choice's log-odds in all, in a
            policy that is free to choose at each place.
    """

    chosen: Estimate | None
    difference: Estimate | None
    push: Estimate


def spans_of(ids: Sequence[int], tokenizer: PreTrainedTokenizerBase) -> list[Span]:
    """The lines of a completion; a token belongs to the line that it begins in, a line break to the line it ends."""
    pieces = token_pieces(tokenizer, ids)
    lines = read_lines("".join(pieces))
    # The line of each token: how many breaks there are before its first character.
    places = torch.tensor([0, *(piece.count("\n") for piece in pieces)][:-1]).cumsum(0).tolist()
    spans = []
    for place, line in enumerate(lines):
        own = [token for token, found in enumerate(places) if found == place]
        if own:
            spans.append(Span(line.kind, own[0], own[-1] + 1))
    return spans


def decisions_of(rows: Sequence[Sequence[Span]]) -> list[Decision]:
    """All decisions of completions, given their lines."""
    found = []
    for row, spans in enumerate(rows):
        steps, behind = 0, START
        for span in spans:
            found.append(Decision(row, span.begin, span.kind, steps, behind))
            steps, behind = steps + (span.kind == "step"), span.kind
    return found


def contrast(
    values: Tensor, decisions: Sequence[Decision], groups: Sequence[int], kind: str, behind: str | None = None
) -> Contrast:
    """What choosing ``kind`` is worth by ``values``; standard errors are over groups.

    Args:
        values: of shape (batch, token), such as a term of the advantages.
        decisions: of the same completions.
        groups: of each completion.
        kind: of the line.
        behind: at places behind a line of this kind only; ``None``: at all.
    """
    names = sorted(set(groups))
    cells: dict[tuple[int, int, str], tuple[list[float], list[float]]] = defaultdict(lambda: ([], []))
    for each in decisions:
        if behind in (None, each.behind):
            cell = cells[groups[each.row], each.steps, each.behind]
            cell[each.kind != kind].append(float(values[each.row, each.token]))
    total, count, shift, weight = (dict.fromkeys(names, 0.0) for _ in range(4))
    for (group, _, _), (chosen, others) in cells.items():
        total[group] += sum(chosen)
        count[group] += len(chosen)
        if chosen and others:
            both = len(chosen) * len(others) / (len(chosen) + len(others))
            shift[group] += both * (fmean(chosen) - fmean(others))
            weight[group] += both
    sums, counts, shifts, weights = (
        torch.tensor([by_group[name] for name in names], dtype=torch.float64)
        for by_group in (total, count, shift, weight)
    )
    sizes = torch.tensor([float(list(groups).count(name)) for name in names], dtype=torch.float64)
    push = ratio_of_sums(shifts, sizes)
    assert push is not None, "every group has a completion"
    return Contrast(ratio_of_sums(sums, counts), ratio_of_sums(shifts, weights), push)
