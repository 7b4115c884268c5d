"""Results side by side."""

from collections.abc import Mapping, Sequence

from iapo.evaluation.result import EvaluationResult


def markdown_table(results: Mapping[str, EvaluationResult], ks: Sequence[int] = (1,)) -> str:
    """Results side by side, one column each, every measure with its interval, as Markdown."""
    columns = {name: result.measures(ks) for name, result in results.items()}
    names = list(next(iter(columns.values())))
    lines = [f"| | {' | '.join(columns)} |", "|---" * (len(columns) + 1) + "|"]
    lines += [f"| {name} | {' | '.join(str(column[name]) for column in columns.values())} |" for name in names]
    return "\n".join(lines)
