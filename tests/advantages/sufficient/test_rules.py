"""Each credit rule against a loop over completions and tokens, and its degenerate cases."""

import dataclasses
import math
import statistics

import pytest
import torch
from curve_loops import curves, first_there, gains_of, measured_prefixes, rows_of, stays_from, steps_of, there_at
from hypothesis import given
from hypothesis import strategies as st

from iapo import AdvantageInputs, TokenSignals
from iapo.advantages import GFPO, RLOO, GroupRelative, InformationAware
from iapo.advantages.normalization import normalize
from iapo.advantages.sufficient import (
    BudgetReturns,
    Crop,
    Drift,
    FirstCorrectChunk,
    RecordGain,
    SerialExits,
    StepPotential,
    TailPenalty,
    TurnGain,
)

THRESHOLDS = st.sampled_from([0.2, 0.5, 0.9])
SIZES = st.sampled_from([1, 2, 3, 100])
AFTER = st.sampled_from([(), (0, 1, 2, 3)])
RELATIVE = st.sampled_from(["certainty", "end"])
FIND = {"first": first_there, "stays": stays_from}
ANCHORS = st.sampled_from([*FIND])
CENTERED = GroupRelative(scale="none")


def call(assigner, batch, rewards=None):
    rewards = batch.rewards if rewards is None else torch.tensor(rewards)
    return assigner(rewards, batch.group_ids, batch.completion_mask, batch.signals)


def close(found, expected):
    torch.testing.assert_close(found.double(), torch.as_tensor(expected).double(), atol=1e-5, rtol=1e-5)


def outcome_of(batch, rewards=None, outcome=CENTERED):
    return call(outcome, batch, rewards).advantages.double().tolist()


def add_up(output):
    """The terms sum to the advantages and none is outside the loss."""
    close(torch.stack(list(output.terms.values())).sum(0), output.advantages)
    assert not any(bool(term.masked_fill(output.loss_mask, 0).any()) for term in output.terms.values())


def ids_of(batch, row):
    return batch.signals.completion_ids[row].tolist()


def correct(batch):
    return [reward > 0.5 for reward in batch.rewards.tolist()]


@given(curves(), THRESHOLDS, RELATIVE, st.sampled_from(["all", "correct"]), st.sampled_from(["completion", "tail"]))
def test_tail_penalty(batch, threshold, relative_to, applies_to, paid_by):
    rule = TailPenalty(CENTERED, 0.3, threshold, relative_to, applies_to, paid_by)
    output, rewards, paid = call(rule, batch), batch.rewards.double().tolist(), []
    for i, (values, mask) in enumerate(rows_of(batch)):
        anchor = stays_from(there_at(values, mask, threshold, relative_to))
        behind = [m and anchor is not None and t >= anchor for t, m in enumerate(mask)]
        if applies_to == "correct" and not correct(batch)[i]:
            behind = [False] * len(mask)
        paid.append([0.3 * b for b in behind])
        if paid_by == "completion" and any(mask):
            rewards[i] -= 0.3 * sum(behind) / sum(mask)
    expected = torch.tensor(outcome_of(batch, rewards))
    if paid_by == "tail":
        expected -= torch.tensor(paid)
        add_up(output)
    close(output.advantages, expected)
    assert torch.equal(output.loss_mask, batch.completion_mask)


def test_equal_rewards_leave_the_tails_to_differ():
    values = torch.tensor([[-4.0, -0.1, -0.1, -0.1], [-4.0, -4.0, -4.0, -0.1], [-4.0, -4.0, -4.0, -4.0]])
    mask, signals = torch.ones(3, 3, dtype=torch.bool), TokenSignals(prefix_values=values)
    output = TailPenalty(CENTERED, weight=0.3)(torch.ones(3), torch.zeros(3, dtype=torch.long), mask, signals)
    close(output.advantages[:, 0], [-0.2 * 2 / 3, 0.2 / 3, 0.2 / 3])
    assert output.metrics["iapo/sufficient/found"] == pytest.approx(2 / 3)


@given(curves(), THRESHOLDS, RELATIVE, ANCHORS)
def test_crop(batch, threshold, relative_to, anchor):
    output = call(Crop(CENTERED, 0.7, 0.4, threshold, relative_to, anchor), batch)
    right, ids, rewards = correct(batch), batch.group_ids.tolist(), batch.rewards.double().tolist()
    lengths, kept, closing = [], [], []
    for i, (values, mask) in enumerate(rows_of(batch)):
        first = FIND[anchor](there_at(values, mask, threshold, relative_to))
        cut = [right[i] and m and first is not None and t >= first for t, m in enumerate(mask)]
        completion = batch.completion_mask[i].tolist()
        lengths.append(sum(completion) - sum(cut))
        kept.append([c and not x for c, x in zip(completion, cut, strict=True)])
        extra = [0.0] * len(mask)
        end = measured_prefixes(mask)[-1] if any(mask) else None
        if right[i] and end is not None and end < len(mask) and completion[end]:
            extra[end] = -0.4 if first is None else 0.4 * sum(cut) / sum(mask)
        closing.append(extra)
    for i, length in enumerate(lengths):
        longest = max((lengths[j] for j in range(len(ids)) if right[j] and ids[j] == ids[i]), default=0)
        rewards[i] += 0.7 * (1 - length / longest) if right[i] and longest else 0.0
    assert output.loss_mask.tolist() == kept
    close(output.advantages, (torch.tensor(outcome_of(batch, rewards)) + torch.tensor(closing)) * torch.tensor(kept))
    add_up(output)


def test_a_lost_answer_is_charged_where_the_reasoning_of_right_completions_closes():
    mask = torch.ones(3, 3, dtype=torch.bool)
    closes = [True, True, False]
    signals = TokenSignals(
        prefix_values=torch.full((3, 4), -4.0), information_mask=torch.tensor([closes, [True] * 3, closes])
    )
    output = Crop(CENTERED)(torch.tensor([1.0, 1.0, 0.0]), torch.tensor([0, 0, 0]), mask, signals)
    close(output.advantages, [[1 / 3, 1 / 3, 1 / 3 - 1], [1 / 3] * 3, [-2 / 3] * 3])
    assert output.loss_mask.all()


@given(curves(), SIZES, THRESHOLDS, st.sampled_from([0.0, 0.5, 1.0]), ANCHORS, AFTER)
def test_first_correct_chunk(batch, size, threshold, decay, anchor, after):
    rule = FirstCorrectChunk(CENTERED, 0.3, 0.2, 0.1, decay, size, threshold, anchor, after_ids=after)
    output, expected = call(rule, batch), outcome_of(batch)
    for i, (values, mask) in enumerate(rows_of(batch)):
        first = FIND[anchor](there_at(values, mask, threshold))
        if first is None or not correct(batch)[i]:
            continue
        chunks = steps_of(mask, size, ids_of(batch, i), after)
        reached = max((k for k, (begin, _) in enumerate(chunks) if begin < first), default=-1)
        for k, (begin, end) in enumerate(chunks):
            for t in range(begin, end):
                position = (t - begin) / (end - begin - 1) if end - begin > 1 else 0.0
                charge = -0.1 * (1 - decay * position)
                expected[i][t] += 0.2 if k < reached else 0.3 if k == reached else charge
    close(output.advantages, expected)
    add_up(output)


def test_known_before_the_first_token_all_chunks_are_behind():
    mask, signals = torch.ones(2, 3, dtype=torch.bool), TokenSignals(prefix_values=torch.full((2, 4), -0.1))
    output = FirstCorrectChunk(decay=0.0, step=1)(torch.ones(2), torch.tensor([0, 0]), mask, signals)
    close(output.advantages, torch.full((2, 3), -0.1))


@given(curves(), SIZES, st.sampled_from([-0.5, 0.0, 0.6]), AFTER)
def test_step_potential(batch, size, threshold, after):
    rule = StepPotential(CENTERED, 0.75, 0.3, threshold, size, after)
    output, expected = call(rule, batch), outcome_of(batch)
    for i, (values, mask) in enumerate(rows_of(batch)):
        potential = [2 * math.exp(value) - 1 for value in values]
        steps = steps_of(mask, size, ids_of(batch, i), after)
        gains = gains_of(potential, steps)
        for k, (begin, end) in enumerate(steps):
            saturated = any(potential[b] >= threshold for _, b in steps[:k])
            for t in range(begin, end):
                share = 0.25 if saturated and expected[i][t] > 0 else 1.0
                expected[i][t] = share * expected[i][t] + 0.3 * gains[k]
    close(output.advantages, expected)
    add_up(output)


def test_a_potential_as_high_as_the_threshold_is_enough():
    """That of a certain answer is 1, which is the highest threshold too."""
    mask, values = torch.ones(2, 3, dtype=torch.bool), torch.tensor([[-1.0, 0, 0, 0], [-1.0, -1, -1, -1]])
    rule = StepPotential(CENTERED, saturation=0.75, difference=0.0, threshold=1.0, step=1)
    output = rule(torch.tensor([1.0, 0.0]), torch.tensor([0, 0]), mask, TokenSignals(prefix_values=values))
    close(output.advantages, [[0.5, 0.125, 0.125], [-0.5, -0.5, -0.5]])
    assert output.metrics["iapo/sufficient/found"] == 0.5
    assert output.metrics["iapo/sufficient/length"] == pytest.approx(1 / 3)


@given(curves(), st.integers(2, 6), THRESHOLDS, st.sampled_from([0.5, 0.8, 1.0]))
def test_serial_exits(batch, exits, threshold, decay):
    output = call(SerialExits(exits, decay, threshold), batch)
    expected = []
    for i, (values, mask) in enumerate(rows_of(batch)):
        tokens = [t for t, counted in enumerate(mask) if counted]
        counts = sorted({math.ceil(len(tokens) * j / exits) for j in range(1, exits)} - {0, len(tokens)})
        places = [tokens[count - 1] + 1 for count in counts]
        right = [there_at(values, mask, threshold)[p] for p in places] + [correct(batch)[i]]
        rewards = [c * decay ** (sum(right[: j + 1]) - 1) if c else 0.0 for j, c in enumerate(right)]
        advantages = [reward - statistics.fmean(rewards) for reward in rewards]
        held = [[t < p for p in places] + [True] for t in range(len(mask))]
        expected.append(
            [
                sum(a for a, h in zip(advantages, exits_of_t, strict=True) if h) / len(rewards) * bool(c)
                for exits_of_t, c in zip(held, batch.completion_mask[i].tolist(), strict=True)
            ]
        )
    close(output.advantages, expected)
    assert torch.equal(output.loss_mask, batch.completion_mask)


def test_serial_exits_of_short_and_wrong_completions():
    mask = torch.tensor([[True, False], [True, True], [True, True]])
    signals = TokenSignals(prefix_values=torch.tensor([[-4.0, -0.1, 0.0], [-4.0, -4.0, -4.0], [0.0, 0.0, 0.0]]))
    output = SerialExits(exits=4)(torch.tensor([1.0, 0.0, 1.0]), torch.tensor([0, 0, 0]), mask, signals)
    assert not output.advantages.any()


@given(curves(), SIZES, st.sampled_from(["completion", "group", "batch"]), st.sampled_from(["std", "none"]), AFTER)
def test_record_gain(batch, size, center, scale, after):
    output = call(RecordGain(CENTERED, 0.7, size, center, scale, after), batch)
    gains = []
    for i, (values, mask) in enumerate(rows_of(batch)):
        steps, row = steps_of(mask, size, ids_of(batch, i), after), [0.0] * len(mask)
        for k, (begin, end) in enumerate(steps):
            highest = max([values[steps[0][0]]] + [values[b] for _, b in steps[:k]])
            row[begin:end] = [max(0.0, values[end] - highest)] * (end - begin)
        gains.append(row)
    measured = torch.tensor([mask for _, mask in rows_of(batch)])
    term = normalize(torch.tensor(gains, dtype=torch.float64), measured, batch.group_ids, center, scale)
    close(output.advantages, torch.tensor(outcome_of(batch)) + 0.7 * term)
    add_up(output)


@given(
    curves(),
    st.sampled_from([1, 2, None]),
    st.sampled_from([0.0, 0.5, 1.0]),
    st.sampled_from(["rewards", "returns"]),
    st.booleans(),
    AFTER,
)
def test_turn_gain(batch, size, discount, centers, scaled, after):
    output = call(TurnGain(size, discount, centers, "std" if scaled else "none", 0.1, after), batch)
    ids, turns = batch.group_ids.tolist(), []
    for i, (values, mask) in enumerate(rows_of(batch)):
        steps = steps_of(mask, size, ids_of(batch, i), after)
        turns.append([*gains_of([math.exp(value) for value in values], steps), float(batch.rewards[i])])

    def returns(rewards):
        return [sum(discount ** (u - k) * rewards[u] for u in range(k, len(rewards))) for k in range(len(rewards))]

    def centered(rows, pools):
        result = []
        for row, own in zip(rows, ids, strict=True):
            pool = [value for values, group in zip(pools, ids, strict=True) if group == own for value in values]
            spread = statistics.stdev(pool) if len(pool) > 1 else 0.0
            result.append([(v - statistics.fmean(pool)) / (spread + 0.1 if scaled else 1.0) for v in row])
        return result

    if centers == "rewards":
        by_turn = [returns(row) for row in centered(turns, turns)]
    else:
        whole = [returns(row) for row in turns]
        by_turn = centered(whole, [row[:1] for row in whole])
    expected = []
    for i, (_, mask) in enumerate(rows_of(batch)):
        steps, completion = steps_of(mask, size, ids_of(batch, i), after), batch.completion_mask[i].tolist()
        turn = [sum(end <= t for _, end in steps) for t in range(len(mask))]
        expected.append([by_turn[i][k] * c for k, c in zip(turn, completion, strict=True)])
    close(output.advantages, expected)


@given(
    curves(),
    st.sampled_from([(1,), (2, 3), (1, 2, 4), (3, 20)]),
    st.sampled_from([None, "linear"]),
)
def test_budget_returns(batch, budgets, weights):
    weights = None if weights is None else tuple(float(b) for b in budgets)
    output = call(BudgetReturns(budgets, weights, CENTERED), batch)
    prior = [w / sum(weights) for w in weights] if weights else [1 / len(budgets)] * len(budgets)
    ids, size, rows, right = batch.group_ids.tolist(), len(budgets), rows_of(batch), []
    for values, mask in rows:
        tokens = [t for t, counted in enumerate(mask) if counted]
        places = [tokens[min(b, len(tokens)) - 1] + 1 for b in budgets] if tokens else None
        right.append(places and [math.exp(values[place]) for place in places])

    def future(r, s):
        return sum(prior[k] * r[k] for k in range(s, size))

    expected = outcome_of(batch)
    for i, (_, mask) in enumerate(rows):
        used = 0
        for t, counted in enumerate(mask):
            if not counted:
                continue
            s, used = sum(used >= b for b in budgets), used + 1
            if s == size:
                expected[i][t] = 0.0
                continue
            others = [future(right[j], s) for j in range(len(ids)) if ids[j] == ids[i] and right[j]]
            past = sum(2**k * right[i][k] for k in range(s)) / sum(2**k for k in range(s)) if s else 0.0
            baseline = s / size * past * sum(prior[s:]) + (size - s) / size * statistics.fmean(others)
            expected[i][t] = future(right[i], s) - baseline
    close(output.advantages, expected)
    known = [r for r in right if r]
    if known:
        mean = statistics.fmean(future(r, 0) for r in known)
        assert output.metrics["iapo/accuracy_at_budgets"] == pytest.approx(mean, abs=1e-6)


@given(curves(), SIZES, THRESHOLDS, AFTER)
def test_drift(batch, size, threshold, after):
    output, expected = call(Drift(CENTERED, 0.3, size, threshold, after), batch), outcome_of(batch)
    for i, (values, mask) in enumerate(rows_of(batch)):
        there = there_at(values, mask, threshold)
        for begin, end in steps_of(mask, size, ids_of(batch, i), after):
            for t in range(begin, end):
                expected[i][t] += 0.3 if there[end] else -0.3
    close(output.advantages, expected)
    add_up(output)


NEUTRAL = [
    TailPenalty(RLOO(), weight=0.0),
    FirstCorrectChunk(RLOO(), first=0.0, before=0.0, behind=0.0),
    StepPotential(RLOO(), saturation=0.0, difference=0.0),
    RecordGain(RLOO(), weight=0.0),
    Drift(RLOO(), weight=0.0),
]


@given(curves())
def test_without_weight_it_is_the_outcome(batch):
    expected = call(RLOO(), batch)
    for rule in NEUTRAL:
        assert torch.equal(call(rule, batch).advantages, expected.advantages)


WRAPPING = [
    TailPenalty(RLOO()),
    TailPenalty(RLOO(), paid_by="tail"),
    Crop(RLOO(), length_weight=0.0),
    FirstCorrectChunk(RLOO()),
    StepPotential(RLOO()),
    RecordGain(RLOO()),
    Drift(RLOO()),
    BudgetReturns((2, 4), outcome=RLOO()),
]


@given(curves())
def test_without_a_measured_prefix_it_is_the_outcome(batch):
    batch.signals.prefix_values.zero_()
    expected = call(RLOO(), batch)
    for rule in WRAPPING:
        output = call(rule, batch)
        assert torch.equal(output.advantages, expected.advantages)
        assert torch.equal(output.loss_mask, expected.loss_mask)
        assert not output.metrics


@given(curves(ties=False))
def test_what_the_outcome_leaves_out_stays_out(batch):
    for rule in WRAPPING:
        output = call(dataclasses.replace(rule, outcome=GFPO(2)), batch)
        kept = output.loss_mask.any(1)
        assert not output.advantages[~kept].any()
        for group in batch.group_ids.unique():
            assert kept[batch.group_ids == group].sum() <= 2


def test_only_right_completions_are_probed():
    mask = torch.ones(3, 2, dtype=torch.bool)
    right = [True, False, True]
    batch = AdvantageInputs(torch.tensor([1.0, 2.0, 0.1]), torch.tensor(right), torch.tensor([0, 0, 0]), mask)
    for rule in (TailPenalty(), Crop(), FirstCorrectChunk()):
        assert rule.wants_information(batch).tolist() == right
        assert InformationAware(outcome=rule).wants_information(batch).tolist() == right
    for rule in (StepPotential(), SerialExits(), RecordGain(), TurnGain(), BudgetReturns((4,)), Drift()):
        assert rule.wants_information(batch).all()
    assert TailPenalty(applies_to="all").wants_information(batch).all()
    assert InformationAware(outcome=RecordGain()).wants_information(batch).all()
    assert RecordGain(InformationAware()).requires == {"information", "prefix_values"}
    assert SerialExits().requires == TurnGain().requires == {"prefix_values"}
    for rule in (FirstCorrectChunk, StepPotential, RecordGain, TurnGain, Drift):
        assert rule(after_ids=(3,)).requires == {"prefix_values", "completion_ids"}


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: TailPenalty(weight=-1.0), "weight: got -1.0"),
        (lambda: TailPenalty(threshold=0.0), "threshold: got 0.0, want a number above 0"),
        (lambda: TailPenalty(relative_to="start"), "relative_to: got 'start'"),
        (lambda: TailPenalty(applies_to="wrong"), "applies_to: got 'wrong'"),
        (lambda: TailPenalty(paid_by="head"), "paid_by: got 'head'"),
        (lambda: Crop(length_weight=math.inf), "length_weight: got inf"),
        (lambda: Crop(closing_weight=-0.1), "closing_weight: got -0.1"),
        (lambda: Crop(threshold=1.1), "threshold: got 1.1"),
        (lambda: Crop(relative_to="start"), "relative_to: got 'start'"),
        (lambda: Crop(anchor="last"), "anchor: got 'last', want one of first, stays"),
        (lambda: FirstCorrectChunk(anchor="last"), "anchor: got 'last'"),
        (lambda: FirstCorrectChunk(behind=-0.1), "behind: got -0.1"),
        (lambda: FirstCorrectChunk(decay=1.5), "decay: got 1.5"),
        (lambda: FirstCorrectChunk(step=0), "step: got 0, want an integer of at least 1"),
        (lambda: FirstCorrectChunk(threshold=2.0), "threshold: got 2.0"),
        (lambda: StepPotential(saturation=1.5), "saturation: got 1.5"),
        (lambda: StepPotential(difference=-1.0), "difference: got -1.0"),
        (lambda: StepPotential(threshold=-1.0), "threshold: got -1.0, want a potential"),
        (lambda: StepPotential(step=0), "step: got 0"),
        (lambda: SerialExits(exits=1), "exits: got 1, want an integer of at least 2"),
        (lambda: SerialExits(decay=0.0), "decay: got 0.0"),
        (lambda: SerialExits(threshold=0.0), "threshold: got 0.0"),
        (lambda: RecordGain(weight=-1.0), "weight: got -1.0"),
        (lambda: RecordGain(step=0), "step: got 0"),
        (lambda: RecordGain(center="token"), "center: got 'token'"),
        (lambda: RecordGain(scale="max"), "scale: got 'max'"),
        (lambda: TurnGain(step=0), "step: got 0"),
        (lambda: TurnGain(discount=1.1), "discount: got 1.1"),
        (lambda: TurnGain(centers="turns"), "centers: got 'turns'"),
        (lambda: TurnGain(scale="max"), "scale: got 'max'"),
        (lambda: TurnGain(eps=-1.0), "eps: got -1.0"),
        (lambda: BudgetReturns(()), r"budgets: got \(\)"),
        (lambda: BudgetReturns((0, 2)), r"budgets: got \(0, 2\)"),
        (lambda: BudgetReturns((2, 2)), r"budgets: got \(2, 2\), want increasing"),
        (lambda: BudgetReturns((2, 4), (1.0,)), r"weights: got \(1.0,\), want 2 finite"),
        (lambda: BudgetReturns((2,), (0.0,)), r"weights: got \(0.0,\)"),
        (lambda: BudgetReturns((2, 4), (1.0, -1.0)), r"weights: got \(1.0, -1.0\)"),
        (lambda: Drift(weight=-1.0), "weight: got -1.0"),
        (lambda: Drift(step=0), "step: got 0"),
        (lambda: Drift(threshold=0.0), "threshold: got 0.0"),
    ],
)
def test_bad_parameters_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()
