"""A reward function for verl's configuration: 1 for the right answer, and little more for a short text."""

from iapo.rewards import ExactAnswer


def compute_score(data_source, solution_str, ground_truth, extra_info=None, **_):
    right = ExactAnswer()([""], [solution_str], [[]], answer=[ground_truth])[0]
    return {"score": right - len(solution_str) / 1000, "right": right}
