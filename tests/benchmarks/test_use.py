"""What the benchmark of use rests on: AUROC, lines put into solutions, losses without a span, and their flow back."""

import importlib
import random
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from iapo.estimators import LeaveOut

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
SCORES = st.lists(st.sampled_from([-1.0, 0.0, 0.5, 2.0]), min_size=1, max_size=8)


@pytest.fixture(scope="module")
def modules():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(BENCHMARKS))
        yield importlib.import_module("use_cases"), importlib.import_module("use_measures")


@given(needed=SCORES, useless=SCORES)
def test_auroc_counts_pairs_and_ties_as_half(modules, needed, useless):
    wins = sum((a > b) + (a == b) / 2 for a in needed for b in useless)
    scores = torch.tensor(needed + useless)
    positive = torch.arange(len(scores)) < len(needed)
    groups = torch.arange(len(scores)) % 3
    value, low, high = modules[1].auroc(scores, positive, ~positive, groups, draws=20)
    assert value == pytest.approx(wins / (len(needed) * len(useless)))
    assert low <= high or low != low


def test_intervals_are_over_problems(modules):
    """One problem has the order right and the others wrong: drawn again, the value has to vary."""
    scores, positive = torch.tensor([1.0, 0.0] + [0.0, 1.0] * 3), torch.tensor([True, False] * 4)
    groups = torch.arange(4).repeat_interleave(2)
    _, low, high = modules[1].auroc(scores, positive, ~positive, groups)
    assert low == 0
    assert high > 0.5
    same = modules[1].auroc(scores, positive, ~positive, torch.zeros(8, dtype=torch.long))
    assert same[0] == same[1] == same[2]


@given(count=st.integers(1, 6), seed=st.integers(0, 10**6))
def test_lines_of_a_solution_stay_in_order(modules, count, seed):
    cases, _ = modules
    own = [f"line {index}" for index in range(count)]
    question = "Ann has 2 apples. She eats 1.5 of them! How many are left?"
    lines = cases.insert(own, question, random.Random(seed))
    assert [text for kind, text in lines if kind == "needed"] == own
    extra = {kind: text for kind, text in lines if kind != "needed"}
    assert sorted(kind for kind, _ in lines if kind != "needed") == ["filler", "repeated", "restated"]
    assert extra["filler"] in cases.LINES
    assert extra["restated"] in ("Ann has 2 apples.", "She eats 1.5 of them!", "How many are left?")
    original = lines.index(("needed", extra["repeated"]))
    assert lines.index(("repeated", extra["repeated"])) > original


def test_solutions_keep_their_calculations(modules):
    text = "She sold 48/2 = <<48/2=24>>24 clips.\nSo 48+24 = <<48+24=72>>72.\n#### 72"
    assert modules[0].solution(text) == (text.splitlines()[:2], "72")


@pytest.fixture(scope="module")
def embedded(modules):
    cases, measures = modules
    case = cases.embedded_case("validation", 3, 1, 0)
    return case, measures.losses(case)


@pytest.mark.parametrize("window", [None, 2])
@pytest.mark.parametrize("runs", [1, 2])
def test_losses_give_what_leave_out_gives(embedded, window, runs):
    case, found = embedded
    values = LeaveOut(case.boundaries, window, runs)(case.model, case.rollout)
    expected = torch.cat([each.leave_out(window, runs) for each in found])
    got = torch.stack([values[span.row, span.begin] for span in case.spans])
    torch.testing.assert_close(got.double(), expected, atol=1e-4, rtol=0)


def test_drops_add_up_to_all_of_the_rest(embedded):
    case, found = embedded
    for each, spans in zip(found, case.by_row, strict=True):
        drops = each.drops()
        torch.testing.assert_close(drops.sum(1), each.leave_out(None, 1))
        assert not drops.tril().any()
        last = case.rollout.completion_lengths[spans[0].row] - spans[-1].end
        torch.testing.assert_close(drops[0, -1], each.runs[0, 1][-last:].sum())


def test_relevance_flows_back_by_drops(modules):
    """The answer misses span 1 by 3 nats; span 1 misses span 0 by 1 nat; span 2 is missed by nothing relevant."""
    drops = torch.tensor([[0.0, 1.0, 5.0, 0.0], [0.0, 0.0, -2.0, 3.0], [0.0, 0.0, 0.0, -1.0]])
    flow = modules[1].relevance(drops)
    torch.testing.assert_close(flow, torch.tensor([0.75 * 0.5, 0.75, 0.0, 1.0]))


def test_selected_completions_keep_their_spans(embedded):
    case, _ = embedded
    last = len(case.rollout) - 1
    some = case.select([last])
    assert [span[1:] for span in some.spans] == [span[1:] for span in case.by_row[last]]
    assert {span.row for span in some.spans} == {0}
    assert torch.equal(some.problems, case.rollout.group_ids[last].expand(len(some.spans)))
