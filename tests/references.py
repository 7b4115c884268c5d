"""Naive loops in float64: what the vectorized formulas must agree with."""

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
    """Discounted information to go, summed token by token over those that follow."""
    result = []
    for row, counts in zip(information, mask, strict=True):
        values = [sum(discount ** (u - t) * row[u] for u in range(t, len(row)) if counts[u]) for t in range(len(row))]
        result.append([value if counted else 0.0 for value, counted in zip(values, counts, strict=True)])
    return result


def zscore(values, mask, key, scale="std", eps=0.0, resolution=0.0):
    """Z-score over the masked entries that share ``key(row)``, population standard deviation, or centered only.

    A spread of at most ``resolution`` counts as none.
    """
    result = [[0.0] * len(row) for row in values]
    for k in {key(i) for i in range(len(values))}:
        cells = [(i, t) for i in range(len(values)) if key(i) == k for t in range(len(values[i])) if mask[i][t]]
        pool = [values[i][t] for i, t in cells]
        spread = statistics.pstdev(pool) if len(set(pool)) > 1 else 0.0
        spread = spread if spread > resolution else 0.0
        for i, t in cells:
            divisor = spread + eps if scale == "std" else 1.0
            result[i][t] = (values[i][t] - statistics.fmean(pool)) / divisor if spread else 0.0
    return result


def kl_at(policy, reference, estimator):
    """Schulman's three estimates of the KL at one token."""
    gap = reference - policy
    return {"k1": -gap, "k2": gap**2 / 2, "k3": math.exp(gap) - gap - 1}[estimator]


def clipped_loss(
    policy,
    old,
    reference,
    advantages,
    mask,
    low,
    high,
    kl_coef,
    aggregation,
    max_length,
    dual_clip,
    kl_estimator,
    sampler=None,
    cap=None,
):
    """The loss of a step as a double loop over completions and tokens."""
    rows = []
    for i in range(len(policy)):
        row = []
        for t in range(len(policy[i])):
            if mask[i][t]:
                ratio = math.exp(policy[i][t] - old[i][t])
                clipped = min(max(ratio, 1 - low), 1 + high)
                value = -min(ratio * advantages[i][t], clipped * advantages[i][t])
                if dual_clip is not None and advantages[i][t] < 0:
                    value = min(value, -dual_clip * advantages[i][t])
                if cap is not None:
                    value *= min(math.exp(old[i][t] - sampler[i][t]), cap)
                row.append(value + kl_coef * kl_at(policy[i][t], reference[i][t], kl_estimator))
        rows.append(row)
    kept = [row for row in rows if row]
    if not kept:
        return 0.0
    if aggregation == "token":
        return sum(map(sum, kept)) / sum(map(len, kept))
    if aggregation == "sequence":
        return sum(sum(row) / len(row) for row in kept) / len(kept)
    return sum(map(sum, kept)) / (len(rows) * max_length)


def members_of(groups, i):
    """Rows of the group of row ``i``."""
    return [j for j in range(len(groups)) if groups[j] == groups[i]]


def rloo(rewards, groups):
    """One advantage per completion: against the mean of the others of its group."""
    result = []
    for i in range(len(rewards)):
        others = [rewards[j] for j in members_of(groups, i) if j != i]
        result.append(rewards[i] - statistics.fmean(others) if others else 0.0)
    return result


def reinforce_plus_plus(rewards, lengths, width, discount):
    """Returns of the last token's reward, z-scored over all tokens of the batch."""
    returns, mask = [], []
    for reward, length in zip(rewards, lengths, strict=True):
        following, row = 0.0, [0.0] * width
        for t in reversed(range(length)):
            following = (reward if t == length - 1 else 0.0) + discount * following
            row[t] = following
        returns.append(row)
        mask.append([t < length for t in range(width)])
    return zscore(returns, mask, lambda i: 0)


def gfpo(rewards, groups, lengths, keep, by, eps):
    """One advantage per completion, ``None`` for one that was not kept."""
    result = []
    for i in range(len(rewards)):
        cost = {j: lengths[j] if by == "length" else -rewards[j] / max(1, lengths[j]) for j in members_of(groups, i)}
        kept = sorted(cost, key=lambda j: (cost[j], j))[:keep]
        if i not in kept:
            result.append(None)
            continue
        pool = [rewards[j] for j in kept]
        flat = len(set(pool)) == 1
        result.append(0.0 if flat else (rewards[i] - statistics.fmean(pool)) / (statistics.stdev(pool) + eps))
    return result


def entropy_shaped(rewards, groups, entropy, mask, outcome_weight, entropy_weight):
    """GTPO's shaped rewards before the z-score; GRPO-S's, if a column is a whole completion."""
    shaped = [[0.0] * len(row) for row in entropy]
    for i in range(len(rewards)):
        correct = rewards[i] > 0.5
        for t in range(len(entropy[i])):
            running = [j for j in members_of(groups, i) if mask[j][t] and (rewards[j] > 0.5) == correct]
            if not mask[i][t]:
                continue
            weight = [max(entropy[j][t], 1e-6) ** (1 if correct else -1) for j in running]
            own = max(entropy[i][t], 1e-6) ** (1 if correct else -1)
            share = entropy_weight * len(running) * own / sum(weight)
            shaped[i][t] = outcome_weight * rewards[i] + share if correct else -outcome_weight - share
    return shaped


def gtpo(rewards, groups, entropy, mask, outcome_weight, entropy_weight):
    """Shaped rewards z-scored over the tokens of a group's correct, and of its wrong, completions."""
    shaped = entropy_shaped(rewards, groups, entropy, mask, outcome_weight, entropy_weight)
    return zscore(shaped, mask, lambda i: (groups[i], rewards[i] > 0.5), eps=1e-6)


def official_gtpo(rewards, entropy, mask, weight):
    """What is added to the outcome: plus or minus weight times length times the token's share of the entropy."""
    result = []
    for reward, row, counts in zip(rewards, entropy, mask, strict=True):
        total = sum(h for h, counted in zip(row, counts, strict=True) if counted)
        size = (1 if reward > 0.5 else -1) * weight * sum(counts)
        result.append([size * h / total if counted and total else 0.0 for h, counted in zip(row, counts, strict=True)])
    return result


def grpo_s(rewards, groups, entropy, mask, outcome_weight, entropy_weight):
    """The same for whole completions, by the mean entropy of their tokens."""
    rows = [[h for h, counts in zip(*pair, strict=True) if counts] for pair in zip(entropy, mask, strict=True)]
    means = [[statistics.fmean(row) if row else 0.0] for row in rows]
    return gtpo(rewards, groups, means, [[bool(row)] for row in rows], outcome_weight, entropy_weight)


def kimi_length(rewards, groups, lengths, weight):
    """Kimi k1.5's length reward."""
    result = []
    for i, reward in enumerate(rewards):
        pool = [lengths[j] for j in members_of(groups, i)]
        spread = max(pool) - min(pool)
        lam = 0.5 - (lengths[i] - min(pool)) / spread if spread else 0.0
        result.append(reward + weight * (lam if reward > 0.5 else min(0.0, lam)))
    return result


def l1_length(rewards, groups, lengths, target, weight):
    """L1-Exact."""
    return [(reward > 0.5) - weight * abs(target - n) for reward, n in zip(rewards, lengths, strict=True)]


def arora_zanette(rewards, groups, lengths, weight):
    """Correct completions, less for those that are long among the correct."""
    result = []
    for i, reward in enumerate(rewards):
        pool = [lengths[j] for j in members_of(groups, i) if rewards[j] > 0.5]
        spread = statistics.pstdev(pool) if pool else 0.0
        z = (lengths[i] - statistics.fmean(pool)) / spread if spread else 0.0
        result.append((reward > 0.5) * (1 - weight / (1 + math.exp(-z))))
    return result


def shorter_better(rewards, groups, lengths, correct_weight, weight):
    """Distance from the shortest correct completion, or from the mean length."""
    result = []
    for i, reward in enumerate(rewards):
        pool = [lengths[j] for j in members_of(groups, i)]
        right = [lengths[j] for j in members_of(groups, i) if rewards[j] > 0.5]
        target = min(right) if right else statistics.fmean(pool)
        result.append(correct_weight * (reward > 0.5) - weight * abs(lengths[i] - target))
    return result


def think_prune(rewards, groups, lengths, limit):
    """Correct within a limit."""
    return [float(reward > 0.5 and n <= limit) for reward, n in zip(rewards, lengths, strict=True)]


def soft_overlong(rewards, groups, lengths, max_length, buffer, weight):
    """DAPO's soft overlong punishment, its three cases."""
    result = []
    for reward, n in zip(rewards, lengths, strict=True):
        if n <= max_length - buffer:
            penalty = 0.0
        elif n <= max_length:
            penalty = (max_length - buffer - n) / buffer
        else:
            penalty = -1.0
        result.append(reward + weight * penalty)
    return result


def laser(rewards, groups, lengths, target, weight):
    """LASER: a bonus for correct completions within the target."""
    return [reward + weight * (reward > 0.5 and n <= target) for reward, n in zip(rewards, lengths, strict=True)]


def laser_d(rewards, groups, lengths, thresholds, weight, exploring_weight, expected_correct):
    """LASER-D and -DE, with the share of completions within a threshold taken from the batch."""

    def solved(i):
        return sum(rewards[j] > 0.5 for j in members_of(groups, i)), len(members_of(groups, i))

    def difficulty(i):
        right, size = solved(i)
        return 2 if right / size > 2 / 3 - 1e-9 else 1 if right / size > 1 / 3 - 1e-9 else 0

    result = []
    for i, reward in enumerate(rewards):
        size = solved(i)[1]
        sure = {2: math.floor(2 * size / 3 + 1e-9), 1: math.floor(size / 3 + 1e-9), 0: 1}[difficulty(i)]
        pool = [lengths[j] for j in range(len(rewards)) if difficulty(j) == difficulty(i)]
        enough = [
            threshold
            for threshold in thresholds
            if sum(n <= threshold for n in pool) / len(pool) * sure > expected_correct - 1e-9
        ]
        target = min([*enough, max(lengths)])
        if reward > 0.5:
            result.append(reward + weight * (lengths[i] <= target))
        else:
            result.append(reward + exploring_weight * (lengths[i] > target))
    return result


def adaptive_penalty(rewards, groups, lengths, weight):
    """ALP: the price of a token by the share of the prompt's completions that are correct."""
    result = []
    for i, reward in enumerate(rewards):
        members = members_of(groups, i)
        share = sum(rewards[j] > 0.5 for j in members) / len(members)
        result.append(reward - weight * max(share, 1 / len(members)) * lengths[i])
    return result


def group_rescaling(rewards, groups, lengths, weight):
    """GR3: the reward by what grows with the length."""
    result = []
    for i, reward in enumerate(rewards):
        mean = statistics.fmean(lengths[j] for j in members_of(groups, i))
        result.append(reward / (1 + weight * lengths[i] / mean) if mean else reward)
    return result


def pace_length(rewards, groups, lengths, weight):
    """PACE: the length reward by the prompt's difficulty."""
    result = []
    for i, reward in enumerate(rewards):
        members = members_of(groups, i)
        share = sum(rewards[j] > 0.5 for j in members) / len(members)
        shortest, longest = min(lengths[j] for j in members), max(lengths[j] for j in members)
        gain = 0.0 if longest == shortest else 0.5 - (lengths[i] - shortest) / (longest - shortest)
        scaled = weight * (1 - math.cos(share * math.pi / 2)) * gain
        result.append(reward + (scaled if reward > 0.5 else min(0.0, scaled)))
    return result


def released_term(values):
    """The released code's normalization of a row: mean by standard deviation subtracted, then unit norm."""
    spread = statistics.stdev(values) if len(set(values)) > 1 else 0.0
    offset = statistics.fmean(values) / spread if spread else 0.0
    shifted = [value - offset for value in values]
    norm = math.sqrt(sum(value * value for value in shifted))
    return [value / norm if norm else 0.0 for value in shifted]
