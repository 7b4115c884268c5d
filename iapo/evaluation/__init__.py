"""Evaluation of a policy: Pass@k, Length@k, Ratio@k, Pass@1 and greedy, with bootstrap intervals over problems."""

from iapo.evaluation.evaluating import evaluate
from iapo.evaluation.intervals import LEVEL, RESAMPLES, Interval, interval, resample
from iapo.evaluation.pass_at import pass_at_k
from iapo.evaluation.result import EvaluationResult, change
from iapo.evaluation.table import markdown_table

__all__ = [
    "LEVEL",
    "RESAMPLES",
    "EvaluationResult",
    "Interval",
    "change",
    "evaluate",
    "interval",
    "markdown_table",
    "pass_at_k",
    "resample",
]
