"""The row of a run in ``results.json``."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from iapo.comparison.running.results import RunResult
from iapo.comparison.showing.statistics import hardest_third
from iapo.evaluation import BudgetCurve


def result_row(run: RunResult, ks: Sequence[int]) -> dict[str, Any]:
    """A run as a row of ``results.json``; what the data do not have is ``None``.

    Args:
        run: a finished run.
        ks: of Pass@k, Length@k and Ratio@k; those above the number of its samples are left out.
    """
    accuracy, length = float(run.accuracy.mean()), float(run.length.mean())
    found = run.evaluation
    truncated, curve = found.truncated, found.at_budget
    samples = found.correct.shape[1]
    passed = {k: float(run.passed(k).mean()) for k in ks if k <= samples}
    hard = None if run.difficulty is None else float(run.accuracy[hardest_third(run.difficulty)].mean())
    return {
        "method": run.method,
        "preset": run.preset,
        "setting": run.setting,
        "seed": run.seed,
        "split": run.split,
        "accuracy": accuracy,
        "mean_length": length,
        "length_right": _mean(found.lengths[found.correct]),
        "length_wrong": _mean(found.lengths[~found.correct]),
        "truncated": None if truncated is None else _mean(truncated),
        "pass_at_k": {str(k): value for k, value in passed.items()},
        "length_at_k": {str(k): length for k in passed},
        "ratio_at_k": {str(k): value / length if length else None for k, value in passed.items()},
        "accuracy_hard": hard,
        "greedy_accuracy": float(found.greedy_correct.double().mean()),
        "greedy_length": float(found.greedy_lengths.double().mean()),
        "accuracy_at_budget": None if curve is None else _by_budget(curve),
        "budget_area": None if curve is None else float(curve.area.mean()),
        "shortest_length": None if run.shortest is None else float(run.shortest.mean()),
        "token_classes": {kind: float(tokens.mean()) for kind, tokens in run.classes.items()} or None,
        "problems": len(run.accuracy),
        "samples": samples,
        "tokens_sampled": run.tokens_sampled,
        "seconds": run.seconds,
        "run": run.folder,
    }


def _mean(values: Tensor) -> float | None:
    return float(values.double().mean()) if values.numel() else None


def _by_budget(curve: BudgetCurve) -> dict[str, float]:
    return dict(zip(map(str, curve.budgets), curve.accuracy.mean(0).tolist(), strict=True))
