"""Where the numbers of a page lead to, and what its colors mean."""

from urllib.parse import quote

from iapo.comparison.running.results import RunResult
from iapo.comparison.showing.figures import color_class
from iapo.comparison.showing.method_summary import MethodSummary
from iapo.comparison.showing.summary import Summary
from iapo.inspection.markup import escaped


def anchor(method: MethodSummary) -> str:
    """The link to the runs of a method."""
    return f"#runs-{method.name}"


def href(run: RunResult) -> str:
    """The link to the folder of a run."""
    return f"{quote(run.folder)}/"


def run_name(run: RunResult) -> str:
    """The name of a run, shown where the pointer rests on its mark."""
    return f"{run.name}, seed {run.seed}"


def legend(summary: Summary) -> str:
    """The methods in the order and the colors of the charts."""
    items = "".join(
        f'<li class="{color_class(index)}">{escaped(method.name)}</li>' for index, method in enumerate(summary.methods)
    )
    return f'<ul class="legend">{items}</ul>'
