"""Batches of prompts: every row once in an epoch, and a position from which a run goes on."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iapo.tasks import PromptStream


@given(st.integers(1, 12), st.integers(0, 3), st.data())
def test_stream_covers_epochs_and_resumes_anywhere(size: int, seed: int, data: st.DataObject) -> None:
    batch = data.draw(st.integers(1, size))
    rows = [{"prompt": str(i)} for i in range(size)]
    stream, taken = PromptStream(rows, batch, seed), []
    per_epoch = size // batch
    stop = data.draw(st.integers(0, 3 * per_epoch))
    state: dict[str, int] = {}
    for index in range(3 * per_epoch + 2):
        if index == stop:
            state = json.loads(json.dumps(stream.state()))
        taken.append(stream.next())
    for epoch in range(3):
        seen = [row["prompt"] for part in taken[epoch * per_epoch : (epoch + 1) * per_epoch] for row in part]
        assert len(set(seen)) == len(seen) == per_epoch * batch
    resumed = PromptStream(rows, batch, seed)
    resumed.restore(state)
    assert [resumed.next() for _ in taken[stop:]] == taken[stop:]


def test_other_rows_are_noticed_on_resuming() -> None:
    rows = [{"prompt": str(i)} for i in range(5)]
    stream = PromptStream(rows, 2, 0)
    stream.next()
    other = PromptStream([*rows[:4], {"prompt": "5"}], 2, 0)
    with pytest.raises(ValueError, match="the rows are others"):
        other.restore(stream.state())
    other.restore(stream.state(), override=True)
    assert other.state()["position"] == 1


def test_rows_are_the_same_whatever_the_order_of_a_set_and_the_place_of_an_object() -> None:
    one, other = [{"prompt": "p", "answer": answers, "image": object()} for answers in ({0, 8}, {8, 0})]
    assert str(one["answer"]) != str(other["answer"])
    assert str(one["image"]) != str(other["image"])
    PromptStream([other], 1, 0).restore(PromptStream([one], 1, 0).state())
    with pytest.raises(ValueError, match="the rows are others"):
        PromptStream([{**one, "answer": {0, 9}}], 1, 0).restore(PromptStream([one], 1, 0).state())


def test_epochs_and_seeds_have_orders_of_their_own() -> None:
    rows = [{"prompt": str(i)} for i in range(20)]
    stream = PromptStream(rows, 20, 0)
    first, second = stream.next(), stream.next()
    assert first != second
    assert PromptStream(rows, 20, 1).next() != first
    assert PromptStream(rows, 20, 0).next() == first


@pytest.mark.parametrize("batch", [0, 4])
def test_batch_must_fit_the_data(batch: int) -> None:
    with pytest.raises(ValueError, match=f"got {batch}, want 1 to the number of problems, 3"):
        PromptStream([{"prompt": "a"}] * 3, batch, 0)


@pytest.mark.parametrize("change", [{"position": None}, {"position": -1}, {"position": "1"}, {"digest": ...}])
def test_a_state_that_says_no_place_is_refused(change) -> None:
    stream = PromptStream([{"prompt": "a"}], 1, 0)
    state = {name: value for name, value in (stream.state() | change).items() if value is not ...}
    for override in (False, True):
        with pytest.raises(ValueError, match=r"data: the saved state is .* want position and digest; a run cannot be"):
            stream.restore(state, override)
