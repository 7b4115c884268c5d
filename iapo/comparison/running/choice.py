"""The choice of a method's setting from its tuning runs."""

from collections.abc import Mapping, Sequence
from statistics import fmean

from iapo.comparison.running.plan import Method, Plan
from iapo.comparison.running.results import RunResult

_ROUNDING = 1e-9
"""What a difference of accuracies may be off by: 0.26 - 0.02 is more than 0.24."""


def choose(plan: Plan, tuning: Sequence[RunResult]) -> dict[str, str]:
    """The setting of each method: its only one, or `choose_setting` of its tuning runs.

    A setting counts if all its tuning runs are finished; a method none of whose settings counts is missing.

    Args:
        plan: of the comparison.
        tuning: its finished tuning runs.

    Returns:
        The names of settings by those of methods.
    """
    chosen = plan.untuned()
    for method in plan.methods:
        if method.tuned and (scores := tuning_scores(plan, method, tuning)):
            accuracies = {setting: accuracy for setting, (accuracy, _) in scores.items()}
            lengths = {setting: length for setting, (_, length) in scores.items()}
            chosen[method.name] = choose_setting(accuracies, lengths, plan.tuning.tolerance)
    return chosen


def choose_setting(accuracies: Mapping[str, float], lengths: Mapping[str, float], tolerance: float) -> str:
    """The setting of the shortest completions among those that lose at most ``tolerance`` of the best accuracy.

    Of equally short ones it is the most accurate.

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
    enough = max(accuracies.values()) - tolerance - _ROUNDING
    eligible = [name for name, accuracy in accuracies.items() if accuracy >= enough]
    return min(eligible, key=lambda name: (lengths[name], -accuracies[name]))


def tuning_scores(plan: Plan, method: Method, results: Sequence[RunResult]) -> dict[str, tuple[float, float]]:
    """Accuracy and mean length on the tuning problems, mean over seeds, of each setting whose runs are all finished.

    Args:
        plan: of the comparison.
        method: one that is tuned.
        results: finished runs; those of other methods and those that report do not count.
    """
    scores = {}
    for setting in method.settings:
        found = [each for each in results if each.is_of(method.name, setting, "validation")]
        if len(found) == len(plan.tuning.seeds):
            accuracy = fmean(float(each.evaluation.correct.double().mean()) for each in found)
            scores[setting] = accuracy, fmean(float(each.evaluation.lengths.double().mean()) for each in found)
    return scores
