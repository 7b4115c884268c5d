"""Why wrong answers are wrong, by the text of a completion."""

import json
import random
from dataclasses import replace

import pytest
from demonstrations import Problem, Result, Step, demonstrate, written
from hypothesis import given
from hypothesis import strategies as st
from word_problems import sample_problems
from wrong_answers import main, slips_of, why_wrong

from iapo.embedded.reasoning import HABITS

SUM = Problem("4 - 3 + 7 =", (Step(4, "-", 3), Step(Result(0), "+", 7)))
CLOSING = "</think><answer>{}</answer>"


@given(st.integers(0, 1000), st.sampled_from([0.0, 1.0]), st.sampled_from(["sums", "words"]))
def test_slips_are_those_of_the_demonstration(seed: int, slip: float, task: str) -> None:
    problem = SUM if task == "sums" else sample_problems(1, 30, seed)[0]
    text = written(demonstrate(problem, random.Random(seed), replace(HABITS, slip=slip)))
    assert slips_of(text) == [slip == 1.0] * len(problem.steps)


@pytest.mark.parametrize(
    ("lines", "answer", "finished", "why"),
    [
        (["4 - 3 = 2", "2 + 7 = 9"], "9", True, "a slip"),
        (["4 - 3 = 1", "1 + 8 = 9"], "9", True, "other steps"),
        (["4 - 3 = 1", "1 + 7 = 8"], "9", True, "another answer"),
        (["Let me go on."], "9", True, "another answer"),
        (["4 - 3 = 2", "Let me check: 4 - 3 = 1. That was wrong."], "1", True, "a slip"),
        (["4 - 3 = 2", "2 + 7 = 9"], None, False, "cut"),
        (["So everybody gets 9 / 2 = 4 apples."], "4", True, "a slip"),
        (["So everybody gets 8 / 2 = 4 apples."], "4", True, "other steps"),
        (["8 / 0 = 4"], "4", True, "a slip"),
    ],
)
def test_a_reason_for_each_wrong_answer(lines: list[str], answer: str | None, finished: bool, why: str) -> None:
    assert why_wrong("\n".join(["<think>", *lines, CLOSING.format(answer)]), answer, finished) == why


def test_a_row_for_each_entry_of_the_plan(tmp_path, capsys) -> None:
    def sample(problem: int, steps: list[str], correct: bool, greedy: bool = False) -> str:
        text = "\n".join(["<think>", *steps, CLOSING.format(9)])
        own = {"completion": text, "answer": "9", "finished": True, "correct": correct, "greedy": greedy}
        return json.dumps({"problem": problem, **own}) + "\n"

    run = tmp_path / "iapo_steps" / "default" / "seed-0"
    run.mkdir(parents=True)
    rows = [sample(0, ["4 - 3 = 1", "1 + 8 = 9"], False), sample(0, ["4 - 3 = 2", "2 + 7 = 9"], False)]
    rows += [sample(1, ["4 + 5 = 9"], True)] * 2 + [sample(1, ["4 + 4 = 9"], False, greedy=True)]
    (run / "evaluation-test.jsonl").write_text("".join(rows))
    row = {"split": "test", "method": "iapo", "preset": "steps", "run": "iapo_steps/default/seed-0"}
    (tmp_path / "results.json").write_text(json.dumps([row, row | {"split": "validation", "run": "elsewhere"}]))

    main([str(tmp_path), "--output", str(tmp_path / "wrong.md")])
    head, _, found = capsys.readouterr().out.strip().splitlines()
    assert found.startswith("| iapo_steps | ")
    shares = {name: cell.split()[0] for name, cell in zip(head.split(" | ")[1:], found.split(" | ")[1:], strict=True)}
    assert shares == {
        "right": "0.500",
        "cut": "0.000",
        "another answer": "0.000",
        "a slip": "0.250",
        "other steps": "0.250",
        "slips per step |": "0.167",
    }
