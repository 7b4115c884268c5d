"""Statistics of groups against plain loops over rows, whatever the order of the rows and with garbage outside masks."""

import statistics

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from iapo.ops.groups import Groups


@st.composite
def batches(draw):
    """Group ids, the members of each group in ascending order of ids, and few different values with a mask."""
    ids = draw(st.lists(st.sampled_from([3, 5, 8]), min_size=1, max_size=8))
    width = draw(st.integers(0, 3))
    values = draw(
        st.lists(st.lists(st.integers(-2, 2), min_size=width, max_size=width), min_size=len(ids), max_size=len(ids))
    )
    mask = draw(st.lists(st.lists(st.booleans(), min_size=width, max_size=width), min_size=len(ids), max_size=len(ids)))
    members = [[row for row, own in enumerate(ids) if own == each] for each in sorted(set(ids))]
    shape = len(ids), width
    return torch.tensor(ids), members, torch.tensor(values).view(shape).double(), torch.tensor(mask).view(shape).bool()


@given(batches(), st.data())
def test_one_number_a_row(batch, data):
    ids, members, _, _ = batch
    groups = Groups.of(ids)
    numbers = data.draw(st.lists(st.integers(-3, 3), min_size=len(ids), max_size=len(ids)))
    values = torch.tensor(numbers).double()
    pools = [[numbers[row] for row in each] for each in members]
    for name, loop in (("sum", sum), ("mean", statistics.fmean), ("min", min), ("max", max)):
        assert getattr(groups, name)(values).tolist() == pytest.approx(list(map(loop, pools)))
    assert groups.constant(values).tolist() == [len(set(pool)) == 1 for pool in pools]
    rank = groups.rank(values).tolist()
    for each in members:
        assert [rank[row] for row in sorted(each, key=lambda row: (numbers[row], row))] == list(range(len(each)))


@given(batches())
def test_masked_tokens(batch):
    ids, members, values, mask = batch
    groups = Groups.of(ids)
    pools = [[float(value) for row in each for value in values[row][mask[row]]] for each in members]
    garbage = values.masked_fill(~mask, torch.nan)
    mean = groups.masked_mean(garbage, mask)
    spread = groups.masked_std(garbage, mask)
    assert mean.tolist() == pytest.approx([statistics.fmean(pool) if pool else 0 for pool in pools])
    assert spread.tolist() == pytest.approx([statistics.pstdev(pool) if pool else 0 for pool in pools])


def test_constant_tokens_have_no_spread_at_all():
    values, groups = torch.full((3, 1000), 0.1), Groups.of(torch.zeros(3, dtype=torch.long))
    assert groups.masked_std(values, torch.ones_like(values).bool()) == 0


@given(batches(), st.integers(0, 4))
def test_the_first_of_each_group(batch, count):
    ids, members, _, mask = batch
    among = mask.any(1)
    wanted = {row for each in members for row in [row for row in each if among[row]][:count]}
    assert set(Groups.of(ids).first(among, count).nonzero().flatten().tolist()) == wanted


@given(batches())
def test_a_group_of_one_is_named(batch):
    ids, members, _, _ = batch
    single = [int(ids[each[0]]) for each in members if len(each) == 1]
    if not single:
        Groups.of(ids).refuse_singletons()
        return
    with pytest.raises(ValueError, match=r"group_ids: group \d has one completion") as raised:
        Groups.of(ids).refuse_singletons()
    assert int(str(raised.value).split()[2]) in single
