"""Tables of a page about single runs and settings."""

from iapo.comparison.running.results import evaluation_file
from iapo.comparison.showing.links import href
from iapo.comparison.showing.rows import result_row
from iapo.comparison.showing.summary import Summary, TuningRow
from iapo.comparison.showing.tables import Cell, html_table, linked, number_cell
from iapo.inspection.markup import escaped


def tuning(summary: Summary) -> str:
    """Every setting of every grid; empty if nothing was tuned."""

    def row(entry: TuningRow) -> list[Cell]:
        runs = " ".join(linked(href(run), f"seed {run.seed}") for run in entry.runs)
        first = href(entry.runs[0]) if entry.runs else ""
        return [
            (escaped(entry.name), "text"),
            (escaped(entry.setting), "text"),
            ("not finished" if entry.accuracy is None else linked(first, f"{entry.accuracy:.3f}"), ""),
            ("–" if entry.length is None else linked(first, f"{entry.length:.1f}"), ""),
            ("chosen" if entry.chosen else "", "text"),
            (runs, "text"),
        ]

    head = ["method", "setting", "accuracy", "mean length", "", "runs"]
    marked = [entry.chosen for entry in summary.tuning]
    return html_table(head, [row(entry) for entry in summary.tuning], text=2, marked=marked) if summary.tuning else ""


def runs(summary: Summary) -> str:
    """Every finished run, one a row; the numbers of the methods link to these rows."""
    k = summary.ks[-1]
    rows, ids, seen = [], [], set[tuple[str, str]]()
    for run in summary.results:
        row, folder = result_row(run, summary.ks), href(run)
        ids.append("" if run.split != "test" or (run.name, run.split) in seen else f"runs-{run.name}")
        seen.add((run.name, run.split))
        numbers = [
            f"{row['accuracy']:.3f}",
            f"{row['mean_length']:.2f}",
            "–" if row["accuracy_hard"] is None else f"{row['accuracy_hard']:.3f}",
            number_cell(row["pass_at_k"].get(str(k)), ".3f"),
            number_cell(row["ratio_at_k"].get(str(k)), ".4f"),
            f"{row['greedy_accuracy']:.3f}",
            f"{row['greedy_length']:.2f}",
            number_cell(row["budget_area"], ".3f"),
        ]
        spent = number_cell(row["tokens_sampled"], ",.0f"), number_cell(row["seconds"], ",.0f")
        texts = [run.name, run.method, run.preset, run.setting]
        cells = [(escaped(text), "text") for text in texts] + [(linked(folder, str(run.seed)), ""), (run.split, "text")]
        rows.append(cells + [(linked(folder + evaluation_file(run.split), number), "") for number in numbers])
        rows[-1] += [(linked(folder, number), "") for number in spent]
    head = ["entry", "method", "preset", "setting", "seed", "split", "accuracy", "mean length", "hardest third"]
    head += [
        f"Pass@{k}",
        f"Ratio@{k}",
        "greedy accuracy",
        "greedy length",
        "area over budgets",
        "tokens sampled",
        "seconds",
    ]
    return html_table(head, rows, text=4, ids=ids) if rows else ""


def unfinished(summary: Summary) -> str:
    """Runs that are not finished, and how those ended that failed just now; empty if all is well."""
    listed = "".join(f"<li>{escaped(name)}</li>" for name in summary.missing)
    failed = "".join(f"<p>{escaped(n)}</p><pre>{escaped(message)}</pre>" for n, message in summary.failures.items())
    return (f"<ul>{listed}</ul>" if listed else "") + failed
