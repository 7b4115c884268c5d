"""What reward functions see of a rollout."""

from dataclasses import replace
from typing import Any

import pytest
import torch

from iapo.rewards import ExactAnswer, MathAnswer, in_style, score_rollout
from iapo.rollout import collate
from iapo.styles import CompletionStyle

TEXTS = ["<think>3+8=1</think><answer>1</answer><eos>", "<think>3+8=1 hmm </think>"]


def test_rewards_see_text_tokens_and_row(embedded_tokenizer: Any) -> None:
    encoded = [embedded_tokenizer(text)["input_ids"] for text in TEXTS]
    prompts = [embedded_tokenizer("3+8=")["input_ids"]] * 2
    rollout = collate(prompts, encoded, [0, 0], embedded_tokenizer.pad_token_id, embedded_tokenizer)
    rows = [{"prompt": "3+8=", "answer": "1", "level": 1}, {"prompt": "3+8=", "answer": "1", "level": 2}]
    seen: dict[str, Any] = {}

    def spy(**arguments: Any) -> list[float | None]:
        seen.update(arguments)
        return [0.25, None]

    scores = score_rollout(rollout, rows, embedded_tokenizer, {"accuracy": ExactAnswer(), "spy": spy})
    assert seen == {
        "prompts": ["3+8=", "3+8="],
        "completions": [TEXTS[0].removesuffix("<eos>"), TEXTS[1]],
        "completion_ids": encoded,
        "answer": ["1", "1"],
        "level": [1, 2],
    }
    assert scores.total.tolist() == [1.25, 0.0]
    assert scores.scored.tolist() == [True, False]
    assert scores.correct.tolist() == [True, False]


def test_a_completion_that_was_cut_is_wrong_unless_rewards_are_lenient(embedded_tokenizer: Any) -> None:
    texts = ["<think>1</think><answer>1</answer><eos>", "<think>1</think><answer>1</answer>"]
    encoded = [embedded_tokenizer(text)["input_ids"] for text in texts]
    rollout = collate([[5], [5]], encoded, [0, 0], embedded_tokenizer.pad_token_id, embedded_tokenizer)
    rows, ends = [{"prompt": "p", "answer": "1"}] * 2, {embedded_tokenizer.eos_token_id}
    seen: list[Any] = []

    def spy(completions: list[str], completion_finished: list[bool]) -> list[float]:
        seen.append(completion_finished)
        return [0.0] * len(completions)

    for kind in (MathAnswer, ExactAnswer):
        for lenient, expected in ((False, [1, 0]), (True, [1, 1])):
            rewards = in_style({"answer": kind()}, CompletionStyle(), lenient) | {"spy": spy}
            scores = score_rollout(rollout, rows, embedded_tokenizer, rewards, ends)
            assert scores.by_function["answer"] == expected
        assert score_rollout(rollout, rows, embedded_tokenizer, {"answer": kind()}).total.tolist() == [1, 1], "unknown"
    assert seen == [[True, False]] * 4
    said = replace(rollout, finished=torch.tensor([False, True]))
    assert score_rollout(said, rows, embedded_tokenizer, {"answer": MathAnswer()}, ends).total.tolist() == [0, 1]


def test_an_answer_that_nothing_marks_is_wrong_unless_rewards_are_lenient(embedded_tokenizer: Any) -> None:
    for kind in (MathAnswer, ExactAnswer):
        strict, lenient = (in_style({"a": kind()}, CompletionStyle(), each)["a"] for each in (False, True))
        arguments = ["q"], ["18"], [[]]
        assert strict(*arguments, answer=["18"]) == [0.0]
        assert lenient(*arguments, answer=["18"]) == [1.0]


def test_each_completion_has_a_row_with_a_prompt(embedded_tokenizer: Any) -> None:
    rollout = collate([[5], [5]], [[6], [7]], [0, 0], 0, embedded_tokenizer)
    rewards = {"answer": ExactAnswer()}
    with pytest.raises(ValueError, match=r"rows: got 1 for 2 completions, want what each completion answers"):
        score_rollout(rollout, [{"prompt": "p", "answer": "1"}], embedded_tokenizer, rewards)
    with pytest.raises(ValueError, match=r"rows\[0\]: has no 'prompt', its columns are \['answer'\]"):
        score_rollout(rollout, [{"answer": "1"}] * 2, embedded_tokenizer, rewards)
