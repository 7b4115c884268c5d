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


@pytest.mark.parametrize(
    ("reference", "right", "wrong"),
    [
        ('{"ground_truth": "4"}', "4", "5"),
        ("{'answer': 4}", "4", "answer"),
        ('["2", "two"]', '["2", "two"]', "two"),
        ("{'3', '4'}", "{'3', '4'}", "3"),
        ("A####B", "A####B", "B"),
        ("#####\n#..#\n#####", "#####\n#..#\n#####", "#"),
        ("1e-05", "0.00001", "0.0001"),
        ("1e-05", "1e-05", "1"),
        ("1.5e+16", "15000000000000000", "1.5"),
        ("2e3", "2e3", "2000"),
        ("48/2 = 24\n48+24 = 72\n#### 72", "72", "24"),
        ("[1, 2]", "[1, 2]", "1"),
        ("####.\n#..#.\n####.", "####.\n#..#.\n####.", "."),
        (r"\boxed{3}", r"\boxed{3}", "4"),
        ("The answer is up.", "The answer is up.", "The answer is down."),
    ],
)
def test_a_text_may_name_its_answers(reference, right, wrong):
    texts = [tagged(right), tagged(wrong)]
    assert ExactAnswer()(["q"] * 2, texts, [[1]] * 2, answer=[reference] * 2) == [1.0, 0.0]
    assert ExactAnswer().unreadable_rows([{"answer": reference}]) == []
