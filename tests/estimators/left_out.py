"""What a span is worth to the text behind it, by whole forwards in a loop: what `LeaveOut` must agree with."""

import itertools

import torch

from iapo import Rollout
from iapo.estimators import LeaveOut


def log_likelihood(model, text: list[int], given_text: list[int]) -> float:
    """Of ``text`` behind ``given_text``, by one forward over both, summed token by token in float64."""
    with torch.no_grad():
        logits = model(torch.tensor([given_text + text])).logits[0].double().log_softmax(-1)
    return sum(float(logits[len(given_text) + i - 1, token]) for i, token in enumerate(text))


def spans_of(row: list[bool], cuts: list[bool]) -> list[tuple[int, int]]:
    """Cut by walking over the tokens."""
    spans, begin = [], None
    for t in range(len(row) + 1):
        counts = t < len(row) and row[t]
        if begin is not None and (not counts or cuts[t]):
            spans.append((begin, t))
            begin = None
        if counts and begin is None:
            begin = t
    return spans


def naive_leave_out(model, rollout: Rollout, estimator: LeaveOut) -> tuple[torch.Tensor, float]:
    """The value of each token, and the largest log-likelihood that was taken, for the tolerance."""
    values, largest = torch.zeros(rollout.completion_ids.shape, dtype=torch.float64), 1.0
    cuts = estimator.boundaries(rollout).tolist()
    for i in range(len(rollout)):
        prompt = rollout.prompt_ids[i][rollout.prompt_mask[i]].tolist()
        completion = rollout.completion_ids[i][rollout.completion_mask[i]].tolist()
        spans = spans_of(rollout.reasoning_mask[i].tolist(), cuts[i])
        smallest = [float("inf")] * len(completion)
        for first in range(len(spans)):
            for count in range(1, estimator.runs + 1):
                held = spans[first : first + count]
                if len(held) < count or any(x[1] != y[0] for x, y in itertools.pairwise(held)):
                    continue
                a, e = held[0][0], held[-1][1]
                behind = [] if estimator.window is None else spans[first + count :][: estimator.window]
                stop = behind[-1][1] if behind and len(behind) == estimator.window else len(completion)
                rest = completion[e:stop][: estimator.tokens]
                with_span = log_likelihood(model, rest, prompt + completion[:e])
                without = log_likelihood(model, rest, prompt + completion[:a])
                largest = max(largest, abs(with_span), abs(without))
                for t in range(a, e):
                    smallest[t] = min(smallest[t], with_span - without)
        for t, value in enumerate(smallest):
            values[i, t] = 0.0 if value == float("inf") else value
    return values, largest
