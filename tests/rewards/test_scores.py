"""The scores of a batch, and errors that name the function they come from."""

import asyncio
import contextlib
import inspect
import json
import re
import signal
import threading
import time
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import pytest
import torch

from iapo import interfaces
from iapo.rewards import MathAnswer, ThinkAnswerFormat, check_columns, score


def run(rewards, count=2, columns=None, **options):
    return score(rewards, ["q"] * count, ["a"] * count, [[1]] * count, columns or {}, **options)


def test_scores_add_up_and_none_is_left_out():
    scores = run({"a": lambda **_: [1.0, 0.5], "b": lambda **_: [2, None]})
    assert scores.total.tolist() == [3.0, 0.5]
    assert scores.total.dtype == torch.float32
    assert scores.scored.tolist() == [True, False]
    assert scores.by_function == {"a": [1.0, 0.5], "b": [2.0, None]}
    expected = torch.tensor([[1.0, 2.0], [0.5, torch.nan]])
    torch.testing.assert_close(scores.columns, expected, equal_nan=True)


@pytest.mark.parametrize(
    ("completion", "reads", "message"),
    [
        ("a", lambda completion: completion[0]["content"], "raised TypeError: .*completions are texts here.*messages"),
        (
            [{"content": "a"}],
            lambda completion: completion.split(),
            "raised AttributeError: .*are messages here",
        ),
        ([{"content": "a"}], lambda completion: re.match("a", completion), "raised TypeError: .*are messages here"),
    ],
)
def test_a_reward_for_the_other_form_of_completions_is_told_so(completion, reads, message):
    rewards = {"mine": lambda completions, **_: [float(len(reads(each))) for each in completions]}
    with pytest.raises(RuntimeError, match=message):
        score(rewards, ["q"], [completion], [[1]], {})


def test_weights_scale_and_a_zero_weight_only_reports():
    rewards = {"a": lambda **_: [1.0, 0.5], "b": lambda **_: [2, None]}
    scores = run(rewards, weights={"b": -0.5})
    assert scores.total.tolist() == [0.0, 0.5]
    assert scores.scored.tolist() == [True, False]
    scores = run(rewards, weights={"b": 0})
    assert scores.total.tolist() == [1.0, 0.5]
    assert scores.scored.tolist() == [True, True]
    assert scores.by_function["b"] == [2.0, None]
    with pytest.raises(ValueError, match=r"weights: \['c'\] name no reward"):
        run(rewards, weights={"c": 1.0})
    for wrong in (float("nan"), None, "0.5", [1.0]):
        with pytest.raises(ValueError, match=re.escape(f"weights: got {wrong!r} for 'a', want a finite number")):
            run(rewards, weights={"a": wrong})


def test_scores_may_be_decimals():
    assert run({"a": lambda **_: [Decimal("0.5"), Fraction(1, 4)]}).total.tolist() == [0.5, 0.25]


def test_an_empty_batch_has_no_scores():
    scores = run({"a": lambda **_: []}, count=0)
    assert (scores.total.shape, scores.scored.shape) == ((0,), (0,))


def test_functions_are_handed_everything_by_name():
    seen = {}

    def spy(prompts, completions, completion_ids, **columns):
        seen.update(columns, prompts=prompts, completions=completions, completion_ids=completion_ids)
        return [0.0]

    score({"spy": spy}, ["q"], ["c"], [[5]], {"answer": ["7"], "level": [3]})
    assert seen == {"prompts": ["q"], "completions": ["c"], "completion_ids": [[5]], "answer": ["7"], "level": [3]}


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        ([1.0], r"'bad': got 1 scores, want a list of 2"),
        (None, r"'bad': got NoneType"),
        ([1.0, float("nan")], r"'bad': score at index 1 is nan"),
        ([1.0, float("inf")], r"index 1 is inf"),
        (["x", 1.0], r"index 0 is 'x'"),
    ],
)
def test_a_bad_score_is_named(returned, message):
    with pytest.raises(ValueError, match=message):
        run({"bad": lambda **_: returned})


@pytest.mark.parametrize("time_limit", [None, 5.0])
def test_a_function_that_raises_is_named(time_limit):
    def fails(**_):
        raise KeyError("x")

    with pytest.raises(RuntimeError, match=r"reward 'fails' raised KeyError") as caught:
        run({"fails": fails}, time_limit=time_limit)
    assert isinstance(caught.value.__cause__, KeyError)


def fails_in_a_library(**_):
    return json.loads("{")


def helps(value):
    return fails_in_a_library(value=value)


async def waits(**_):
    await asyncio.sleep(0)
    return helps(1)


def yields(**_):
    yield helps(1)


@pytest.mark.parametrize("time_limit", [None, 5.0])
@pytest.mark.parametrize("function", [fails_in_a_library, lambda **_: helps(1), waits, yields])
def test_the_line_that_a_reward_reached_is_named(function, time_limit):
    line = inspect.getsourcelines(fails_in_a_library)[1] + 1
    place = rf"reward 'fails' raised JSONDecodeError: .* \({Path(__file__).name}, line {line}\)$"
    with pytest.raises(RuntimeError, match=place):
        run({"fails": function}, time_limit=time_limit)


def test_the_place_is_named_in_a_file_beside_the_package():
    file = str(Path(interfaces.__file__).parent) + "_rewards.py"
    made = {}
    exec(compile("def fails(**_):\n    1 / 0", file, "exec"), made)
    with pytest.raises(RuntimeError, match=r"division by zero \(iapo_rewards.py, line 2\)$"):
        run({"fails": made["fails"]})


def test_an_error_without_words_has_a_place():
    def asserts(**_):
        raise AssertionError

    with pytest.raises(RuntimeError, match=rf"raised AssertionError \({Path(__file__).name}, line [0-9]+\)$"):
        run({"asserts": asserts})


def wait_for_nothing(**_):
    threading.Event().wait()


def never_ending(**_):
    while True:
        pass


def backtracking(**_):
    re.match(r"(a|aa)+$", "a" * 200 + "b")


def swallowing(**_):
    while True:
        with contextlib.suppress(Exception):
            time.sleep(60)


def swallowing_all(**_):
    for _ in range(2):  # as a loop over completions does
        with contextlib.suppress(BaseException):
            time.sleep(60)
    return [0.0, 0.0]


def renaming(**_):
    try:
        time.sleep(60)
    except BaseException as error:
        raise ValueError("it did not work") from error


def alarmed(**_):
    """As math-verify does without a process of its own."""
    before = signal.signal(signal.SIGALRM, signal.SIG_IGN)
    signal.alarm(30)
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)
    time.sleep(0.2)
    return [1.0, 1.0]


HANGS = [wait_for_nothing, never_ending, backtracking, swallowing, swallowing_all, renaming, alarmed]


@pytest.mark.parametrize("hangs", HANGS)
def test_a_function_that_hangs_is_named(hangs):
    before = signal.getsignal(signal.SIGALRM)
    rewards = {"quick": lambda **_: [1.0, 1.0], "hangs": hangs}
    with pytest.raises(TimeoutError, match=r"reward 'hangs' took longer than 0.1 s for 2 completions; make it faster"):
        run(rewards, time_limit=0.1)
    assert signal.getsignal(signal.SIGALRM) is before
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


def test_in_another_thread_a_function_that_hangs_is_left_behind():
    release, caught = threading.Event(), []

    def score_it():
        try:
            run({"hangs": lambda **_: release.wait()}, time_limit=0.1)
        except TimeoutError as error:
            caught.append(str(error))

    thread = threading.Thread(target=score_it)
    thread.start()
    thread.join()
    release.set()
    assert "reward 'hangs' took longer than 0.1 s" in caught[0]


def test_a_missing_column_is_named_before_anything_runs():
    with pytest.raises(ValueError, match=r"'maths' needs the columns \['answer'\], the data has \['question'\]"):
        check_columns({"maths": MathAnswer()}, ["question"])
    with pytest.raises(ValueError, match="got none"):
        check_columns({}, ["question"])
    check_columns({"format": ThinkAnswerFormat()}, [])


def test_arguments_of_different_lengths_are_named():
    rewards = {"a": lambda **_: [1.0]}
    with pytest.raises(ValueError, match="prompts: got 2 entries for 1 completions"):
        score(rewards, ["q", "q"], ["a"], [[1]], {})
    with pytest.raises(ValueError, match="level: got 0 entries for 1 completions"):
        score(rewards, ["q"], ["a"], [[1]], {"level": []})


def test_what_a_reward_does_to_its_arguments_another_one_does_not_see():
    def careless(prompts, completions, completion_ids, answer):
        for values in (prompts, answer, completion_ids[0]):
            values.reverse()
        completions[0][0]["content"] = ""
        return [0.0, 0.0]

    def seen(prompts, completions, completion_ids, answer):
        assert (prompts, answer, completion_ids) == (["p", "q"], ["1", "2"], [[1, 2], [3]])
        return [float(completion[0]["content"] == "text") for completion in completions]

    messages = [[{"role": "assistant", "content": "text"}] for _ in range(2)]
    found = score({"careless": careless, "seen": seen}, ["p", "q"], messages, [[1, 2], [3]], {"answer": ["1", "2"]})
    assert found.total.tolist() == [1.0, 1.0]


def test_a_reward_that_seeds_torch_does_not_seed_the_sampling():
    drawn = []

    def seeds(completions):
        torch.manual_seed(7)
        return [float(torch.rand(()))]

    def draws(completions):
        drawn.append(float(torch.rand(())))
        return [0.0]

    def update(reward):
        score({"reward": reward}, ["q"], ["a"], [[1]], {})
        return torch.rand(4)

    torch.manual_seed(0)
    expected = torch.rand(4)
    torch.manual_seed(0)
    assert torch.equal(update(lambda completions: [1.0]), expected), "one that draws nothing changes nothing"
    for reward in (seeds, draws):
        torch.manual_seed(0)
        sampled = [update(reward) for _ in range(3)]
        assert len({tuple(each.tolist()) for each in sampled}) == 3
    torch.manual_seed(0)
    for _ in range(3):
        score({"reward": draws}, ["q"], ["a"], [[1]], {})
    assert len(set(drawn[-3:])) == 3, "also where nothing else draws in between"
