"""The choice of a method's setting from its tuning runs."""

from collections.abc import Mapping
from pathlib import Path
from statistics import fmean

from iapo.comparison.running.plan import Method, Plan, Run
from iapo.comparison.running.results import is_evaluated, read_run


def choose(plan: Plan, folder: Path) -> dict[str, str]:
    """The setting of each method: its only one, or `choose_setting` of its tuning runs.

    A setting counts if all its tuning runs are finished; a method none of whose settings counts is missing.
    """
    chosen = plan.untuned()
    for method in plan.methods:
        if method.tuned and (scores := tuning_scores(plan, folder, method)):
            accuracies = {setting: accuracy for setting, (accuracy, _) in scores.items()}
            lengths = {setting: length for setting, (_, length) in scores.items()}
            chosen[method.name] = choose_setting(accuracies, lengths, plan.tuning.tolerance)
    return chosen


def choose_setting(accuracies: Mapping[str, float], lengths: Mapping[str, float], tolerance: float) -> str:
    """The shortest setting whose accuracy is at least the best one's minus a tolerance; a tie goes to the accurate.

    Args:
        accuracies: by setting.
        lengths: mean tokens by setting.
        tolerance: accuracy that may be given up for fewer tokens.

    Raises:
        ValueError: no settings.

    Example:
        >>> choose_setting({"weak": 0.96, "strong": 0.95, "wild": 0.7}, {"weak": 30, "strong": 25, "wild": 9}, 0.02)
        'strong'
    """
    if not accuracies:
        raise ValueError("accuracies: got none, want at least one setting")
    enough = max(accuracies.values()) - tolerance
    eligible = [name for name, accuracy in accuracies.items() if accuracy >= enough]
    return min(eligible, key=lambda name: (lengths[name], -accuracies[name]))


def tuning_scores(plan: Plan, folder: Path, method: Method) -> dict[str, tuple[float, float]]:
    """Accuracy and mean length on the tuning problems, mean over seeds, of each setting whose runs are all finished."""
    scores = {}
    for setting in method.settings:
        runs = [Run(method, setting, seed, "validation") for seed in plan.tuning.seeds]
        results = [read_run(folder, run) for run in runs if is_evaluated(folder, run.folder, run.split)]
        if len(results) == len(runs):
            evaluations = [result.evaluation for result in results]
            accuracy = fmean(float(evaluation.correct.double().mean()) for evaluation in evaluations)
            scores[setting] = accuracy, fmean(float(evaluation.lengths.double().mean()) for evaluation in evaluations)
    return scores
