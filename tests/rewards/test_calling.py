"""Rewards written for TRL: by name what they name, in what they return, awaited, and what cannot be called is named."""

import asyncio
import threading
import time
from collections import deque
from fractions import Fraction
from functools import partial
from types import MethodType
from typing import Any

import numpy as np
import pytest
import torch

from iapo.rewards import MathAnswer, check_columns, score, score_rollout
from iapo.rollout import collate


def run(function: Any, count: int = 2, columns: dict[str, Any] | None = None, **options: Any) -> list[float | None]:
    arguments = ["q"] * count, ["a b"] * count, [[1, 2]] * count
    return score({"mine": function}, *arguments, columns or {}, **options).by_function["mine"]


@pytest.mark.parametrize(
    "returned",
    [
        [1, 0.5],
        (True, 0.5),
        [np.float32(1), np.float64(0.5)],
        [torch.tensor(1.0), torch.tensor(0.5, requires_grad=True)],
        np.array([1.0, 0.5]),
        torch.tensor([1.0, 0.5], dtype=torch.bfloat16, requires_grad=True),
        [np.array([1.0]), Fraction(1, 2)],
        deque([1, 0.5]),
        iter([1, 0.5]),
    ],
)
def test_scores_of_every_kind(returned: Any) -> None:
    found = run(lambda **_: returned)
    assert found == [1.0, 0.5]
    assert [type(value) for value in found] == [float, float]


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        (torch.tensor(1.0), "got Tensor, want a list of 2"),
        (torch.ones(2, 2), r"score at index 0 is \[1.0, 1.0\]"),
        (np.array([1.0, np.nan]), r"score at index 1 is nan, want a finite number \(up to 3.4e\+38\), or None"),
        ([1.0], "got 1 scores, want a list of 2"),
        ([1.0, torch.ones(2)], "score at index 1"),
        ([1.0, 10**400], "score at index 1 is 1000"),
        ([1.0, 1e39], r"score at index 1 is 1e\+39, want a finite number"),
        ({"a": 1, "b": 2}, "got dict"),
        ("12", "got str"),
        (0.5, "got float"),
    ],
)
def test_what_is_no_score_is_named(returned: Any, message: str) -> None:
    with pytest.raises(ValueError, match=f"reward 'mine': {message}"):
        run(lambda **_: returned)


def test_a_function_gets_what_it_names() -> None:
    def some(completions: list[str], level: list[int]) -> list[float]:
        return [len(text) * factor for text, factor in zip(completions, level, strict=True)]

    assert run(some, columns={"level": [1, 2], "answer": ["x", "y"]}) == [3.0, 6.0]
    assert run(lambda completion_ids, absent=4: [absent] * len(completion_ids)) == [4.0, 4.0]


def test_what_a_function_names_and_the_data_lack_is_told_before() -> None:
    with pytest.raises(ValueError, match=r"'mine' needs the columns \['solution'\], the data has \['answer'\]"):
        check_columns({"mine": lambda completions, solution, other=1, **_: []}, ["answer"])
    with pytest.raises(ValueError, match="'mine' needs trainer_state, which only TRL's trainer has"):
        check_columns({"mine": lambda completions, trainer_state: []}, ["answer"])
    check_columns({"mine": lambda prompts, completions, completion_ids, log_extra, log_metric, **_: []}, [])


def test_logging_functions_of_trl_are_there() -> None:
    def logs(completions: list[str], log_extra: Any, log_metric: Any, trainer_state: Any = None) -> list[float]:
        log_extra("text", completions)
        log_metric("mean", 0.5)
        return [1.0 if trainer_state is None else 0.0 for _ in completions]

    assert run(logs) == [1.0, 1.0]


@pytest.mark.parametrize("time_limit", [None, 5.0])
def test_an_async_function_is_awaited_in_one_loop(time_limit: float | None) -> None:
    loops: set[Any] = set()

    async def judge(completions: list[str]) -> list[float | None]:
        loops.add(asyncio.get_running_loop())
        await asyncio.sleep(0)
        return [1.0, None]

    assert run(judge, time_limit=time_limit) == run(judge) == [1.0, None]
    assert len(loops) == 1

    async def calls_from_a_loop() -> list[float | None]:
        return run(judge)

    assert asyncio.run(calls_from_a_loop()) == [1.0, None]


def test_errors_of_an_async_function_are_named() -> None:
    async def fails(**_: Any) -> list[float]:
        raise KeyError("x")

    with pytest.raises(RuntimeError, match="reward 'mine' raised KeyError"):
        run(fails)
    never = threading.Event()

    async def hangs(**_: Any) -> list[float]:
        while not never.is_set():
            await asyncio.sleep(0.01)
        return [0.0, 0.0]

    with pytest.raises(TimeoutError, match=r"reward 'mine' took longer than 0.1 s"):
        run(hangs, time_limit=0.1)
    never.set()


@pytest.mark.parametrize("name", ["prompts", "completions", "completion_ids"])
def test_a_column_never_takes_the_place_of_what_the_policy_wrote(name: str) -> None:
    with pytest.raises(ValueError, match=rf"columns: got \['{name}'\].*rename"):
        run(lambda completions, **_: [float(text == "right") for text in completions], columns={name: ["right"] * 2})


def test_a_chat_reward_reads_messages(embedded_tokenizer: Any) -> None:
    texts = ["3+8=1<eos>", "3+8=2"]
    ids = [embedded_tokenizer(text)["input_ids"] for text in texts]
    rollout = collate([[5], [5]], ids, [0, 1], embedded_tokenizer.pad_token_id, embedded_tokenizer)
    messages = [{"role": "user", "content": "3+8=?"}]
    rows = [{"prompt": "<user>3+8=?", "prompt_messages": messages, "answer": "1"}, {"prompt": "3+8="}]
    seen: dict[str, Any] = {}

    def reward(prompts: list[Any], completions: list[Any], **columns: Any) -> list[float]:
        seen.update(prompts=prompts, completions=completions, columns=columns)
        return [float(completions[0][0]["content"] == "3+8=1"), 0.0]

    scores = score_rollout(rollout, rows, embedded_tokenizer, {"mine": reward})
    assert scores.total.tolist() == [1.0, 0.0]
    assert seen["prompts"] == [messages, "3+8="]
    assert seen["completions"] == [[{"role": "assistant", "content": "3+8=1"}], "3+8=2"]
    assert seen["columns"] == {"answer": ["1", None], "completion_ids": ids}


def test_a_function_gets_by_place_what_it_takes_by_place() -> None:
    def some(prompts: list[str], completions: list[str], /, **columns: Any) -> list[float]:
        assert sorted(columns) == ["answer", "completion_ids"]
        return [float(len(text)) for text in completions]

    def defaults(completions: list[str], absent: int = 4, level: int = 0, /) -> list[float]:
        return [absent + each for each in level]  # type: ignore[attr-defined]

    assert run(some, columns={"answer": ["x", "y"]}) == [3.0, 3.0]
    assert run(defaults, columns={"level": [1, 2]}) == [5.0, 6.0]


@pytest.mark.parametrize("name", ["this", "weight", "scale"])
def test_no_column_takes_the_place_of_what_is_bound(name: str) -> None:
    def judge(this: float, weight: float, completions: list[str], scale: float = 1.0, **columns: Any) -> list[float]:
        return [this * weight * scale] * len(completions)

    column, method = {name: ["x", "y"]}, MethodType(judge, 1.0)
    assert run(partial(method, 2.0, scale=3.0), columns=column) == [6.0, 6.0]
    assert run(partial(partial(method, scale=3.0), 2.0), columns=column) == [6.0, 6.0]


def test_a_generator_is_a_part_of_its_reward() -> None:
    def yields(completions: list[str], fails: bool = False, hangs: float = 0.0) -> Any:
        for _ in completions:
            time.sleep(hangs)
            yield 1.0
            if fails:
                raise KeyError("inside")

    assert run(yields) == [1.0, 1.0]
    with pytest.raises(RuntimeError, match="reward 'mine' raised KeyError: 'inside'"):
        run(partial(yields, fails=True))
    with pytest.raises(TimeoutError, match=r"reward 'mine' took longer than 0.1 s"):
        run(partial(yields, hangs=5.0), time_limit=0.1)


def test_a_reward_does_not_end_the_process() -> None:
    def leaves(**_: Any) -> list[float]:
        raise SystemExit(0)

    async def leaves_later(**_: Any) -> list[float]:
        raise SystemExit(0)

    async def leaves_in_a_task(**_: Any) -> list[float]:
        return (await asyncio.gather(judge(["one"]), leaves_later()))[0]

    async def judge(completions: list[str]) -> list[float]:
        return [1.0] * len(completions)

    with pytest.raises(RuntimeError, match="reward 'mine' raised SystemExit: 0"):
        run(leaves)
    for function in (leaves_later, leaves_in_a_task):
        with pytest.raises(RuntimeError, match=r"reward 'mine' raised RuntimeError: it called exit\(0\)"):
            run(function, time_limit=5.0)
    assert run(judge, time_limit=5.0) == [1.0, 1.0]


@pytest.mark.parametrize("raised", [KeyboardInterrupt, asyncio.CancelledError])
def test_no_error_of_an_async_reward_leaves_it_waiting(raised: type[BaseException]) -> None:
    async def stops(**_: Any) -> list[float]:
        raise raised

    async def stops_in_a_task(**_: Any) -> list[float]:
        return (await asyncio.gather(judge(["one"]), stops()))[0]

    async def judge(completions: list[str]) -> list[float]:
        return [1.0] * len(completions)

    for function in (stops, stops_in_a_task):
        with pytest.raises((KeyboardInterrupt, RuntimeError), match=r"^$|reward 'mine' raised CancelledError"):
            run(function, time_limit=5.0)
    assert run(judge, time_limit=5.0) == [1.0, 1.0]


@pytest.mark.parametrize(
    ("rewards", "message"),
    [
        ({"mine": MathAnswer}, "rewards: 'mine' is the class MathAnswer, want a function, or an object"),
        ({"mine": "iapo.rewards.MathAnswer"}, "rewards: 'mine' is 'iapo.rewards.MathAnswer', want a function"),
        ([MathAnswer()], "rewards: got list, want a mapping of functions by name"),
    ],
)
def test_what_is_no_reward_is_named(rewards: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_columns(rewards, ["answer"])
