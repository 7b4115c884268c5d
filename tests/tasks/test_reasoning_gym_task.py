"""Tasks of reasoning-gym: entries that score their own answers."""

import json
import sys

import pytest

from iapo.tasks import ReasoningGymTask, load_rows


def test_entries_score_their_own_answers() -> None:
    gym = pytest.importorskip("reasoning_gym")
    rows = load_rows(ReasoningGymTask("chain_sum"), limit=4, seed=3)
    assert rows == load_rows(ReasoningGymTask("chain_sum"), limit=4, seed=3)
    assert rows != load_rows(ReasoningGymTask("chain_sum"), limit=4, seed=4)
    score = gym.get_score_answer_fn("chain_sum")
    for row in rows:
        entry = json.loads(row["entry"])
        assert entry["question"] == row["prompt"]
        assert score(row["answer"], entry) == 1
        assert score("no number", entry) < 1


def test_entries_without_one_answer_or_that_are_no_json() -> None:
    pytest.importorskip("reasoning_gym")
    assert load_rows(ReasoningGymTask("graph_color"), limit=1)[0]["answer"] == ""
    with pytest.raises(ValueError, match="reasoning-gym:rearc do not survive as JSON"):
        load_rows(ReasoningGymTask("rearc"), limit=1)


def test_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "reasoning_gym", None)
    with pytest.raises(ModuleNotFoundError, match=r"iapo\[tasks\]"):
        load_rows(ReasoningGymTask("chain_sum"))
