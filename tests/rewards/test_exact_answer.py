"""Answers that are spelled like the reference, and others."""

import pytest

from iapo.rewards import ExactAnswer


def tagged(answer):
    return f"<think>so</think><answer>{answer}</answer>"


def test_exact_answers():
    reward = ExactAnswer()
    texts = [tagged(" ٣٥ "), tagged("35.0"), tagged("9" * 3000), "35", tagged("<answer>35"), tagged("35")]
    references = ["35", "35", "35", "35", 35, None]
    assert reward(["q"] * 6, texts, [[1]] * 6, answer=references) == [1.0, 0.0, 0.0, 0.0, 1.0, None]
    with pytest.raises(ValueError, match="longest: got 0"):
        ExactAnswer(longest=0)
