"""Results side by side."""

from collections.abc import Mapping, Sequence

from iapo.evaluation.result import EvaluationResult
from iapo.ops.arguments import arguments_named


@arguments_named
def markdown_table(results: Mapping[str, EvaluationResult], ks: Sequence[int] = (1,)) -> str:
    """Results side by side, one column each, every measure with its interval, as Markdown.

    A result that lacks a measure which another one has (it has no wrong completions, say) has a dash there.
    """
    columns = {name: result.measures(ks) for name, result in results.items()}
    names = dict.fromkeys(name for column in columns.values() for name in column)
    lines = [f"| | {' | '.join(columns)} |", "|---" * (len(columns) + 1) + "|"]
    lines += [f"| {name} | {' | '.join(str(column.get(name, '–')) for column in columns.values())} |" for name in names]
    return "\n".join(lines)
