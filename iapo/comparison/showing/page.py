"""A comparison as one HTML page without any outside resource; every number leads to the folder it comes from."""

from importlib.resources import files

from iapo.comparison.showing import method_charts, method_tables, run_tables
from iapo.comparison.showing.summary import Summary
from iapo.inspection.markup import escaped, policy_source


def render_page(summary: Summary) -> str:
    """The page: accuracy against length, methods, budgets, k, difficulty, classes, learning, tuning, and every run.

    It loads nothing and has no script; a content security policy allows its own style alone, by its hash. Numbers over
    several runs lead to the table of runs, those of one run to its folder. Equal summaries give equal pages.

    Returns:
        The page, to be written as UTF-8 into the folder of the comparison.
    """
    style = files(__package__).joinpath("page.css").read_text(encoding="utf-8")
    metadata = "".join(f"<dt>{escaped(name)}</dt><dd>{escaped(value)}</dd>" for name, value in summary.metadata.items())
    sections = [
        _section("Accuracy against length", _FRONT, method_charts.front(summary)),
        _section("Methods", _METHODS, method_tables.methods(summary)),
        _section(f"Against {summary.reference}", _AGAINST, method_tables.differences(summary)),
        _section("Accuracy at a budget", _BUDGET, method_charts.by_budget(summary)),
        _section("Right and wrong", _LENGTHS, method_tables.lengths(summary)),
        _section("Several samples", _K, method_charts.by_k(summary)),
        _section("By difficulty", _DIFFICULTY, method_charts.by_difficulty(summary)),
        _section("What the tokens do", _CLASSES, method_charts.classes(summary)),
        _section("Learning", _LEARNING, method_charts.learning(summary)),
        _section("Tuning", "", run_tables.tuning(summary)),
        _section("Runs", _RUNS, run_tables.runs(summary)),
        _section("Not finished", "", run_tables.unfinished(summary)),
    ]
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src {policy_source(style)}; \
base-uri 'none'; form-action 'none'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Comparison of {len(summary.methods)} methods</title>
<style>{style}</style>
</head>
<body>
<h1>Comparison</h1>
<dl class="metadata">{metadata}</dl>
{"".join(sections)}
</body>
</html>
"""


_METHODS = (
    "95% bootstrap intervals over seeds and problems. † on the Pareto front of accuracy and mean length. Tokens and "
    "seconds are what a run sampled and took in training, mean over runs. Above shortest: mean tokens above those of "
    "the shortest completion that reasons sufficiently, where the task knows it."
)
_FRONT = "Discs with bars: methods with their intervals. Rings: single runs. The line joins the Pareto front."
_AGAINST = "Differences with their intervals, problems paired. Those of length are shares of the reference's length."
_BUDGET = (
    "Reasoning is cut after so many tokens and the answer asked for there; a completion that reasons no longer keeps "
    "its own. The area is the mean accuracy over all budgets from 0 to the largest (linear axis, trapezoid rule)."
)
_LENGTHS = (
    "Mean tokens of all completions, of all right ones and of all wrong ones. Truncated: the share that was cut before "
    "its end."
)
_K = "Pass@k: at least one of k samples is right (unbiased). Length@k: mean length. Ratio@k: one divided by the other."
_CLASSES = (
    "Mean tokens of each class in a completion, as the task labels them. Of the embedded task: needed (part of a "
    "single step), filler (a word without content), repeated (part of a step written again), check (part of a check "
    "that changed nothing), catch (part of one that put a result right), shortcut (several steps at once), slip (a "
    "result that does not follow), format (tags, end), answer, other."
)
_LEARNING = "Against the completion tokens sampled so far: the mean over seeds, and each seed thinly."
_DIFFICULTY = "By the level that the data give a problem; methods stand side by side at each level."
_RUNS = "Every finished run, also as rows of results.json; each number comes from the folder that it leads to."


def _section(title: str, note: str, content: str) -> str:
    if not content:
        return ""
    return f"<section><h2>{escaped(title)}</h2>{f'<p>{escaped(note)}</p>' if note else ''}{content}</section>\n"
