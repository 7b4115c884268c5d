"""Pairs of reference and answer by kind, with the verdict of a careful teacher."""

from collections import defaultdict
from pathlib import Path

import pytest

from iapo.rewards import MathAnswer

LINES = Path(__file__).with_name("answer_pairs.tsv").read_text(encoding="utf-8").splitlines()[1:]
PAIRS = defaultdict(list)
for line in LINES:
    kind, reference, answer, equal = line.split("\t")
    PAIRS[kind].append((reference, answer, float(equal)))


@pytest.fixture(scope="module")
def maths():
    reward = MathAnswer(time_limit=20.0)
    yield reward
    reward.close()


@pytest.mark.parametrize("kind", PAIRS)
def test_answers_get_the_verdict_of_a_careful_teacher(maths, kind):
    references, answers, verdicts = zip(*PAIRS[kind], strict=True)
    completions = [f"<think>so</think><answer>{answer}</answer>" for answer in answers]
    grades = maths([""] * len(answers), completions, [[]] * len(answers), answer=references)
    found = zip(references, answers, verdicts, grades, strict=True)
    assert [case for case in found if case[2] != case[3]] == []


def test_every_kind_has_answers_that_are_right_and_wrong():
    assert {kind for kind, cases in PAIRS.items() if len({verdict for *_, verdict in cases}) < 2} == set()
