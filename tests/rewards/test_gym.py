"""Answers to tasks of reasoning-gym, scored by the task."""

import json
import re

import pytest

from iapo.rewards import ReasoningGymAnswer


def test_reasoning_gym_scores_its_own_entries():
    gym = pytest.importorskip("reasoning_gym")
    entry = gym.create_dataset("countdown", size=1, seed=1)[0]
    gold = entry["metadata"]["expression"]
    texts = [f"<answer>{answer}</answer>" for answer in (gold, "x", "9**9**9**9", "(" * 3000)] + ["none"]
    reward = ReasoningGymAnswer("countdown", time_limit=1.0)
    entries = [entry, json.dumps(entry), entry, entry, entry]
    with pytest.warns(UserWarning, match=r"computed longer than 1 s in scoring an answer of countdown, .*time_limit=1"):
        scores = reward(["q"] * 5, texts, [[1]] * 5, entry=entries)
    assert scores[0] == 1.0
    assert scores[1] == 0.01  # what the task gives to anything
    assert scores[2:] == [0.0, 0.0, 0.0]
    reward.close()
    unknown = ReasoningGymAnswer("no_such_task")
    with pytest.raises(RuntimeError, match=r"no_such_task, completion 1: score_answer raised ValueError"):
        unknown(["q"] * 2, ["none", texts[0]], [[1]] * 2, entry=entries[:2])
    unknown.close()


def test_an_entry_that_cannot_be_scored_is_an_error():
    pytest.importorskip("reasoning_gym")
    reward = ReasoningGymAnswer("chain_sum")
    with pytest.raises(RuntimeError, match=r"chain_sum, completion 0: score_answer raised KeyError: 'answer'"):
        reward(["q"], ["<answer>4</answer>"], [[1]], entry=[{"question": "2 + 2 ="}])
    reward.close()


@pytest.mark.parametrize("entry", [None, "no entry", "[1]", 3])
def test_what_is_no_entry_is_named(entry, monkeypatch):
    monkeypatch.setattr("iapo.ops.extras.find_spec", lambda name: True)
    reward = ReasoningGymAnswer("chain_sum")
    with pytest.raises(ValueError, match=rf"entry: got {re.escape(repr(entry))} for completion 1, want the entry that"):
        reward(["q"] * 2, ["none", "<answer>4</answer>"], [[1]] * 2, entry=[{}, entry])
    assert reward.unreadable_rows([{"entry": {}}, {"entry": "{}"}, {"entry": entry}]) == [2]


def test_without_the_package_the_error_names_the_extra(monkeypatch):
    monkeypatch.setattr("iapo.ops.extras.find_spec", lambda name: None)
    with pytest.raises(ModuleNotFoundError, match=r"iapo\[tasks\]"):
        ReasoningGymAnswer("countdown")(["q"], ["a"], [[1]], entry=[{}])
