"""Held-out prompts do not depend on the order of the rows or on copies."""

import hashlib
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iapo.tasks import hold_out
from iapo.tasks.messages import problem_key, problem_of
from iapo.tasks.splitting import split_indices


def key(prompt: Any) -> str:
    return problem_key(problem_of(prompt))


prompts = st.lists(st.text(max_size=2) | st.just([{"role": "user", "content": "hi"}]), min_size=2, max_size=30)


@given(prompts, st.data())
def test_held_out_prompts_are_on_one_side(texts: list[object], data: st.DataObject) -> None:
    rows = [{"prompt": text, "answer": "1"} for text in texts]
    distinct = {key(text) for text in texts}
    count = data.draw(st.integers(0, len(distinct) + 1))
    if count >= len(distinct):
        with pytest.raises(ValueError, match=f"got {count}, want fewer than the {len(distinct)}"):
            hold_out(rows, count)
        return
    training, held = hold_out(rows, count)
    sides = [{key(row["prompt"]) for row in side} for side in (training, held)]
    assert not sides[0] & sides[1]
    assert sides[0] | sides[1] == distinct
    assert len(held) == count == len(sides[1])
    assert [row for row in rows if row in training] == training
    shuffled = data.draw(st.permutations(rows + rows))
    assert [key(row["prompt"]) for row in hold_out(shuffled, count)[1]] == [key(row["prompt"]) for row in held]


def test_problems_are_held_out_in_the_order_of_their_hashes() -> None:
    """Neither the first nor the shortest; and the same in every version, so that evaluations can be compared."""
    texts = [f"{number} + 1?" for number in range(30)]
    training, held = hold_out([{"prompt": text} for text in texts], 8)
    by_hash = sorted(texts, key=lambda text: hashlib.sha256(text.encode()).hexdigest())
    assert [row["prompt"] for row in held] == by_hash[:8]
    assert [row["prompt"] for row in training] == [text for text in texts if text in by_hash[8:]]


def test_where_nothing_is_trained_all_problems_may_be_held_out() -> None:
    rows = [{"prompt": text} for text in ("1+1", "1+2", "1 + 1", "1+3")]
    training, held = split_indices(rows, 3, trains=False)
    assert (training, {key(rows[index]["prompt"]) for index in held}) == ([], {"1+1", "1+2", "1+3"})
    with pytest.raises(ValueError, match="problems: got 4, want at most the 3 distinct problems"):
        split_indices(rows, 4, name="problems", trains=False)


OTHER_FORMS = [
    lambda text: text,
    lambda text: f"  {text.replace(' ', '  ')} ",
    lambda text: text.replace(" + ", "+"),
    lambda text: f"\ufeff{text.title()}\u200b\0",
    lambda text: text.replace("+", "\uff0b"),
    lambda text: [{"role": "user", "content": text}],
    lambda text: [{"role": "system", "content": "Think."}, {"role": "user", "content": text}],
    lambda text: [{"role": "user", "content": [{"type": "text", "text": text}]}],
]


@given(st.lists(st.tuples(st.integers(0, 12), st.sampled_from(OTHER_FORMS)), min_size=20, max_size=40), st.data())
def test_a_problem_in_another_form_is_on_the_same_side(
    given_rows: list[tuple[int, Callable[[str], Any]]], data: st.DataObject
) -> None:
    rows = [{"prompt": form(f"what is {number} + 1"), "number": number} for number, form in given_rows]
    distinct = {number for number, _ in given_rows}
    count = data.draw(st.integers(0, len(distinct) - 1))
    training, held = hold_out(rows, count)
    assert not {row["number"] for row in training} & {row["number"] for row in held}
    assert len(held) == count
