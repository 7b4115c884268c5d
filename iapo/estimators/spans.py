"""Spans of reasoning between boundaries, and runs of neighboring spans."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from iapo.ops.steps import steps_of


@dataclass(frozen=True, eq=False)
class SpanRuns:
    """Runs of one or more neighboring spans of each completion; ``run`` is the largest number of them in a row.

    Rows that have fewer runs are padded on the right with 0 in all four fields.

    Args:
        begins: index of the first token of each run.
        ends: index of the token behind its last one.
        spans: how many spans the run consists of.
        stops: index of the token behind the run's window, the spans that follow it. If fewer spans follow than the
            window has, this is the width of the completions, so that what stands behind the reasoning counts too.
    """

    begins: Int[Tensor, "batch run"]
    ends: Int[Tensor, "batch run"]
    spans: Int[Tensor, "batch run"]
    stops: Int[Tensor, "batch run"]

    @property
    def real(self) -> Bool[Tensor, "batch run"]:
        """``True`` at the runs, ``False`` at padding."""
        return self.spans > 0

    def select(self, rows: Int[Tensor, " rows"]) -> "SpanRuns":
        """The runs of some completions."""
        return SpanRuns(self.begins[rows], self.ends[rows], self.spans[rows], self.stops[rows])

    def smallest(self, values: Float[Tensor, "batch run"], token: int) -> Float[Tensor, "batch token"]:
        """For each token the smallest value of the runs that hold it; 0 for a token that is in none.

        Args:
            values: of the runs.
            token: the width of the completions.
        """
        sizes = (self.ends - self.begins).flatten()
        # One entry for each token that a run holds, run after run: its run, row and place.
        run = torch.repeat_interleave(sizes)
        row = run // self.begins.shape[1]
        place = self.begins.flatten()[run] + torch.arange(len(run), device=run.device) - (sizes.cumsum(0) - sizes)[run]
        found = values.new_full((len(values) * token,), torch.inf)
        found = found.scatter_reduce(0, row * token + place, values.flatten()[run], "amin").reshape(len(values), token)
        return found.masked_fill(found.isinf(), 0)


def runs_of_spans(
    mask: Bool[Tensor, "batch token"],
    boundaries: Bool[Tensor, "batch probe"],
    longest: int,
    window: int | None = None,
) -> SpanRuns:
    """All runs of up to ``longest`` neighboring spans.

    A span begins at a masked token with a boundary, or a token outside the mask, in front of it, and holds the masked
    tokens up to the next one. Spans are neighbors if no token lies between them.

    Args:
        mask: the tokens that spans are made of; the others are in none.
        boundaries: where a span may end and the next begin; entry ``t`` is in front of token ``t``.
        longest: spans of the longest run, at least 1.
        window: how many of the spans that follow a run are its window, at least 1; ``None``: all of them, and what
            stands behind them.

    Example:
        >>> mask = torch.tensor([[True, True, True, True, False]])
        >>> cuts = torch.tensor([[False, False, True, True, False, False]])
        >>> runs = runs_of_spans(mask, cuts, longest=2)
        >>> [*zip(runs.begins[0].tolist(), runs.ends[0].tolist())]
        [(0, 2), (0, 3), (2, 3), (2, 4), (3, 4)]
        >>> runs_of_spans(mask, cuts, longest=1, window=1).stops[0].tolist()
        [3, 4, 5]
    """
    steps, found = steps_of(mask, None, stops=boundaries[:, 1:]), []
    numbers = steps.real.sum(1).tolist()
    for begins, ends, number in zip(steps.begins.tolist(), steps.ends.tolist(), numbers, strict=True):
        spans = list(zip(begins, ends, strict=True))[:number]
        stops = [stop for _, stop in spans[window:]] if window else []
        stops += [mask.shape[1]] * (len(spans) - len(stops))
        runs = []
        for first, (begin, end) in enumerate(spans):
            runs.append((begin, end, 1, stops[first]))
            for count, (following, stop) in enumerate(spans[first + 1 : first + longest], 2):
                if following != end:
                    break
                end = stop
                runs.append((begin, end, count, stops[first + count - 1]))
        found.append(runs)
    width = max(1, max(map(len, found), default=0))
    rows = [runs + [(0, 0, 0, 0)] * (width - len(runs)) for runs in found]
    padded = torch.tensor(rows, dtype=torch.long, device=mask.device).reshape(len(rows), width, 4)
    return SpanRuns(*padded.unbind(2))
