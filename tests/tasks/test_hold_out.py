"""Held-out prompts do not depend on the order of the rows or on copies."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iapo.tasks import hold_out

prompts = st.lists(st.text(max_size=2) | st.just([{"role": "user", "content": "hi"}]), min_size=2, max_size=30)


@given(prompts, st.data())
def test_held_out_prompts_are_on_one_side(texts: list[object], data: st.DataObject) -> None:
    rows = [{"prompt": text, "answer": "1"} for text in texts]
    distinct = {json.dumps(text) for text in texts}
    count = data.draw(st.integers(0, len(distinct) + 1))
    if count >= len(distinct):
        with pytest.raises(ValueError, match=f"got {count}, want fewer than the {len(distinct)}"):
            hold_out(rows, count)
        return
    training, held = hold_out(rows, count)
    sides = [{json.dumps(row["prompt"]) for row in side} for side in (training, held)]
    assert not sides[0] & sides[1]
    assert sides[0] | sides[1] == distinct
    assert len(held) == count == len(sides[1])
    assert [row for row in rows if row in training] == training
    shuffled = data.draw(st.permutations(rows + rows))
    assert hold_out(shuffled, count)[1] == held
