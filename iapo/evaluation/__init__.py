"""Evaluation of a policy: accuracy and length, of right and wrong completions, at a budget of reasoning tokens, of k
samples (Pass@k, Length@k, Ratio@k) and greedy, with bootstrap intervals over problems.
"""

from iapo.evaluation.budgets import BudgetCurve, default_budgets
from iapo.evaluation.evaluating import evaluate
from iapo.evaluation.forced_answers import ForcedAnswers, accuracy_at_budgets
from iapo.evaluation.intervals import LEVEL, RESAMPLES, Interval, interval, resample
from iapo.evaluation.pass_at import pass_at_k
from iapo.evaluation.result import EvaluationResult, change
from iapo.evaluation.samples import Sample, lines_of, read_samples, samples_beside, samples_of
from iapo.evaluation.scoring import Scoring
from iapo.evaluation.table import markdown_table

__all__ = [
    "LEVEL",
    "RESAMPLES",
    "BudgetCurve",
    "EvaluationResult",
    "ForcedAnswers",
    "Interval",
    "Sample",
    "Scoring",
    "accuracy_at_budgets",
    "change",
    "default_budgets",
    "evaluate",
    "interval",
    "lines_of",
    "markdown_table",
    "pass_at_k",
    "read_samples",
    "resample",
    "samples_beside",
    "samples_of",
]
