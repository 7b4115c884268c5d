"""What every reward does: import quickly, name the column that it lacks, ignore arguments that it does not need."""

import subprocess
import sys

import pytest

from iapo.rewards import ExactAnswer, MathAnswer, ReasoningGymAnswer, ThinkAnswerFormat, WithinLength


def test_importing_the_rewards_needs_no_extra():
    program = "import sys, iapo.rewards; print({'math_verify', 'reasoning_gym'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


@pytest.mark.parametrize(
    "reward", [MathAnswer(), ExactAnswer(), ReasoningGymAnswer("countdown", entry_column="answer")]
)
def test_rewards_name_a_missing_or_short_column(reward):
    with pytest.raises(KeyError, match=r"Answer needs the column 'answer', got \['question'\]"):
        reward(["q"], ["c"], [[1]], question=["q"])
    with pytest.raises(ValueError, match="column 'answer' has 2 entries for 1 completions"):
        reward(["q"], ["c"], [[1]], answer=["1", "2"])


def test_further_arguments_of_trl_are_ignored():
    extra = {"trainer_state": object(), "log_extra": print, "log_metric": print, "environments": None}
    for reward in (MathAnswer(), ExactAnswer(), ThinkAnswerFormat(), WithinLength(max_length=1)):
        completion = "<think>a</think><answer>7</answer>"
        assert reward(prompts=["q"], completions=[completion], completion_ids=[[1]], answer=["7"], **extra) == [1.0]


def test_a_completion_is_within_a_length_by_its_tokens():
    reward = WithinLength(max_length=2)
    assert reward(["q"] * 3, ["a long text"] * 3, [[], [1, 2], [1, 2, 3]]) == [1.0, 1.0, 0.0]
    for length in (0, 2.5):
        with pytest.raises(ValueError, match=f"max_length: got {length}, want an integer of at least 1"):
            WithinLength(max_length=length)
