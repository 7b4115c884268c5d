"""Reward functions in processes of their own that hang, die, raise or return nonsense: named, or left unscored."""

from pathlib import Path

import pytest

from iapo.rewards import IsolatedReward, score

SOURCE = """
import ctypes, os, sys

def reward(prompts, completions, completion_ids, answer, **columns):
    (text,) = completions
    if text == "hang":
        return 9 ** (9 ** 9)
    if text == "segfault":
        ctypes.string_at(0)
    if text == "exit":
        os._exit(3)
    if text == "raise":
        raise ValueError("no such answer")
    return {"none": [None], "nan": [float("nan")], "two": [1.0, 2.0], "text": ["1"], "number": 1.0}.get(
        text, [float(text == answer[0]) + len(completion_ids[0])]
    )
"""


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("rewards") / "mine.py"
    path.write_text(SOURCE)
    return str(path)


@pytest.fixture(scope="module")
def reward(file):
    reward = IsolatedReward(file, "reward", time_limit=0.5)
    yield reward
    reward.close()


def scored(reward, texts):
    count = len(texts)
    return score({"mine": reward}, ["q"] * count, texts, [[1, 2]] * count, {"answer": ["a"] * count})


def test_it_scores_as_the_function_does(reward):
    found = scored(reward, ["a", "b", "none"])
    assert found.by_function["mine"] == [3.0, 2.0, None]
    assert found.scored.tolist() == [True, True, False]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("hang", "took longer than 0.5 s"),
        ("segfault", "the worker process died with exit code -11"),
        ("exit", "the worker process died with exit code 3"),
        ("raise", "reward raised ValueError: no such answer"),
        ("nan", r"got \[nan\], want a list of one finite number or None"),
        ("two", r"got \[1.0, 2.0\], want"),
        ("text", r"got \['1'\], want"),
        ("number", r"got 1.0, want"),
    ],
)
def test_a_failure_names_function_and_completion(reward, file, text, why):
    with pytest.raises(RuntimeError, match=rf"reward 'mine' raised .*reward of {file}, completion 1: {why}"):
        scored(reward, ["a", text])
    assert scored(reward, ["a"]).by_function["mine"] == [3.0], "the next batch is scored"


def test_a_failure_may_leave_its_completion_unscored(file):
    reward = IsolatedReward(file, "reward", time_limit=0.5, failed="none")
    found = scored(reward, ["a", "hang", "b", "segfault", "raise", "a"])
    assert found.by_function["mine"] == [3.0, None, 2.0, None, None, 3.0]
    assert found.scored.tolist() == [True, False, True, False, False, True]
    reward.close()


TRL_STYLE = """
import asyncio, decimal, fractions, functools

def chat(completions, answer):
    return [float(completion[0]["content"] == right) for completion, right in zip(completions, answer)]

def last(prompts, completions, log_metric, missing=0.5):
    log_metric("x", 1.0)
    return [missing + len(prompts[0][-1]["content"]) for _ in completions]

async def later(completions, answer, log_extra=None):
    await asyncio.sleep(0)
    log_extra("x", answer)
    return [1.0]

def needs(completions, level):
    return [1.0]

def scaled(completions, answer, scale):
    return [scale * (chat[0]["content"] == right) for chat, right in zip(completions, answer)]

twice = functools.partial(scaled, scale=2.0)

def weighted(scale, completions, **columns):
    return [scale] * len(completions)

by_place = functools.partial(weighted, 3.0)

class Words:
    keywords = ("answer",)

    def __call__(self, completions, answer):
        return [float(right in self.keywords) for right in answer]

words = Words()

def exact(completions, answer):
    return [decimal.Decimal("0.5") if answer == ["2"] else fractions.Fraction(1, 4)]

def yields(completions, answer, /):
    for completion, right in zip(completions, answer):
        yield float(completion[0]["content"] == right)
"""


@pytest.mark.parametrize(
    ("name", "scores"),
    [
        *[("chat", [1.0, 0.0]), ("last", [4.5, 4.5]), ("later", [1.0, 1.0]), ("yields", [1.0, 0.0])],
        *[("twice", [2.0, 0.0]), ("by_place", [3.0, 3.0]), ("words", [0.0, 0.0]), ("exact", [0.5, 0.5])],
    ],
)
def test_a_function_written_for_trl_works_on_messages(tmp_path, name, scores):
    path = tmp_path / "mine.py"
    path.write_text(TRL_STYLE)
    reward = IsolatedReward(str(path), name)
    prompt = [{"role": "user", "content": "1+1?"}]
    chats = [[{"role": "assistant", "content": text}] for text in ("2", "3")]
    columns = {"answer": ["2", "2"], "hint": [None, {"a": [1]}], "scale": [5.0, 5.0]}
    assert score({"mine": reward}, [prompt] * 2, chats, [[1], [2]], columns).by_function["mine"] == scores
    reward.close()


def test_a_column_that_the_function_lacks_is_named(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(TRL_STYLE)
    reward = IsolatedReward(str(path), "needs")
    with pytest.raises(RuntimeError, match=r"needs of .*mine\.py, completion 0: needs raised TypeError: .*'level'"):
        scored(reward, ["a"])
    reward.close()


def test_bad_arguments_are_named(file, reward):
    with pytest.raises(ValueError, match=r"file: got 'nowhere\.py', want"):
        IsolatedReward("nowhere.py", "reward")
    with pytest.raises(ValueError, match="failed: got 'zero', want 'error' or 'none'"):
        IsolatedReward(file, "reward", failed="zero")
    with pytest.raises(ValueError, match="time_limit: got 0"):
        IsolatedReward(file, "reward", time_limit=0)
    with pytest.raises(ValueError, match="completion 0: a column cannot be sent as JSON"):
        reward(["q"], ["a"], [[1]], answer=["a"], when=[Path("x")])
    assert reward(["q"], ["a"], [[1]], answer=["a"], trainer_state=object(), names={"k": "v"}) == [2.0]
