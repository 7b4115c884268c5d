"""Naive loops in float64: what the vectorised formulas must agree with."""

import math
import statistics


def group_relative(rewards, groups, eps):
    """One advantage per completion (GRPO, sample standard deviation)."""
    result = []
    for reward, group in zip(rewards, groups, strict=True):
        members = [r for r, g in zip(rewards, groups, strict=True) if g == group]
        flat = all(member == members[0] for member in members)
        result.append(0.0 if flat else (reward - statistics.fmean(members)) / (statistics.stdev(members) + eps))
    return result


def to_go(information, mask, discount):
    """Discounted information to go, token by token from the end."""
    result = []
    for row, counts in zip(information, mask, strict=True):
        following, values = 0.0, [0.0] * len(row)
        for t in reversed(range(len(row))):
            following = (row[t] if counts[t] else 0.0) + discount * following
            values[t] = following if counts[t] else 0.0
        result.append(values)
    return result


def zscore(values, mask, key):
    """Z-score over the masked entries that share ``key(row)``, population standard deviation."""
    result = [[0.0] * len(row) for row in values]
    for k in {key(i) for i in range(len(values))}:
        cells = [(i, t) for i in range(len(values)) if key(i) == k for t in range(len(values[i])) if mask[i][t]]
        pool = [values[i][t] for i, t in cells]
        spread = statistics.pstdev(pool) if len(set(pool)) > 1 else 0.0
        for i, t in cells:
            result[i][t] = (values[i][t] - statistics.fmean(pool)) / spread if spread else 0.0
    return result


def clipped_loss(policy, old, reference, advantages, mask, low, high, kl_coef, aggregation, max_length):
    """The loss of a step as a double loop over completions and tokens."""
    rows = []
    for i in range(len(policy)):
        row = []
        for t in range(len(policy[i])):
            if mask[i][t]:
                ratio = math.exp(policy[i][t] - old[i][t])
                clipped = min(max(ratio, 1 - low), 1 + high)
                value = -min(ratio * advantages[i][t], clipped * advantages[i][t])
                gap = reference[i][t] - policy[i][t]
                row.append(value + kl_coef * (math.exp(gap) - gap - 1))
        rows.append(row)
    kept = [row for row in rows if row]
    if not kept:
        return 0.0
    if aggregation == "token":
        return sum(map(sum, kept)) / sum(map(len, kept))
    if aggregation == "sequence":
        return sum(sum(row) / len(row) for row in kept) / len(kept)
    return sum(map(sum, kept)) / (len(kept) * max_length)
