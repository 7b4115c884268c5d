"""Formats, reading of answers, reasoning-gym, and the scores of a batch."""

import json
import subprocess
import sys
import threading

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from iapo.rewards import ExactAnswer, MathAnswer, ReasoningGymAnswer, ThinkAnswerFormat, check_columns, score
from iapo.rewards.text import completion_text, last_answer, last_boxed, normalize, reference_answer

TAGS = ("<think>", "</think>", "<answer>", "</answer>")


@given(st.text(max_size=300) | st.lists(st.sampled_from([*TAGS, "\\boxed{", "{", "}", "####", "7", "\n"])).map("".join))
def test_text_functions_never_raise(text):
    for read in (last_answer, last_boxed):
        found = read(text)
        assert found is None or found in text
    assert reference_answer(text) is not None
    assert ThinkAnswerFormat()(["q"], [text], [[1]])[0] in (0.0, 1.0)


@given(st.text(max_size=100))
def test_normalizing_twice_changes_nothing(text):
    once = normalize(text)
    assert normalize(once) == once
    assert once.isprintable()


def test_the_last_pair_of_tags_is_the_innermost():
    assert last_answer("<answer>1<answer>2</answer>") == "2"
    assert last_answer("<answer>1</answer></answer>") == "1"
    assert last_answer("<answer>1</answer><answer>2") == "1"
    assert last_answer("</answer>1<answer>") is None


def test_a_completion_is_a_text_or_a_chat():
    assert completion_text("a") == "a"
    assert completion_text([]) == ""
    assert completion_text([{"role": "assistant", "content": None}]) == ""
    assert completion_text([{"role": "assistant", "content": "a"}, {"role": "tool", "content": "b"}]) == "a"
    assert completion_text([{"content": "a"}]) == "a"


@given(st.text(alphabet=st.characters(exclude_characters="<"), max_size=50), st.sampled_from(["", "\n", "  "]))
def test_format_accepts_any_reasoning_and_refuses_any_missing_tag(reasoning, gap):
    good = f"<think>{reasoning}\n</think>{gap}<answer>4</answer>{gap}"
    reward = ThinkAnswerFormat()
    assert reward(["q"], [good], [[1]]) == [1.0]
    assert ThinkAnswerFormat(opened_by_prompt=True)(["q"], [good.removeprefix("<think>")], [[1]]) == [1.0]
    assert ThinkAnswerFormat(opened_by_prompt=True)(["q"], [good], [[1]]) == [0.0]
    broken = [good.replace(tag, "", 1) for tag in TAGS]
    broken += [good + "x", "x" + good, good + good, good.replace("</think>", "</think>x")]
    assert reward(["q"] * 8, broken, [[1]] * 8) == [0.0] * 8


@given(st.lists(st.sampled_from([*TAGS, "a", "\n"]), max_size=8))
def test_format_agrees_with_a_reading_piece_by_piece(pieces):
    kept = [piece for piece in pieces if piece in TAGS]
    blank = True
    if kept == list(TAGS):
        outside = (pieces[: pieces.index(TAGS[0])], pieces[pieces.index(TAGS[1]) : pieces.index(TAGS[2])])
        blank = not any("a" in part for part in (*outside, pieces[pieces.index(TAGS[3]) :]))
    expected = float(kept == list(TAGS) and blank)
    assert ThinkAnswerFormat()(["q"], ["".join(pieces)], [[1]]) == [expected]


def test_format_allows_the_end_of_sequence_that_it_is_told():
    text = "<think>a</think><answer>4</answer>"
    texts = [text, text + "<|im_end|>", text + "\n<|im_end|>\n", text + "<|im_end|><|im_end|>", text + "</s>"]
    assert ThinkAnswerFormat(endings=("<|im_end|>",))(["q"] * 5, texts, [[1]] * 5) == [1.0, 1.0, 1.0, 0.0, 0.0]
    assert ThinkAnswerFormat()(["q"] * 2, texts[:2], [[1]] * 2) == [1.0, 0.0]


def test_reasoning_gym_scores_its_own_entries():
    gym = pytest.importorskip("reasoning_gym")
    entry = gym.create_dataset("countdown", size=1, seed=1)[0]
    gold = entry["metadata"]["expression"]
    texts = [f"<answer>{answer}</answer>" for answer in (gold, "x", "9**9**9**9", "(" * 3000)] + ["none"]
    reward = ReasoningGymAnswer("countdown", time_limit=1.0)
    entries = [entry, json.dumps(entry), entry, entry, entry]
    scores = reward(["q"] * 5, texts, [[1]] * 5, entry=entries)
    assert scores[0] == 1.0
    assert scores[1] == 0.01  # what the task gives to anything
    assert scores[2:] == [0.0, 0.0, 0.0]
    reward.close()
    unknown = ReasoningGymAnswer("no_such_task")
    with pytest.raises(RuntimeError, match=r"no_such_task, completion 1: score_answer raised ValueError"):
        unknown(["q"] * 2, ["none", texts[0]], [[1]] * 2, entry=entries[:2])
    unknown.close()


def test_an_entry_that_its_task_cannot_score_is_an_error_not_a_wrong_answer():
    pytest.importorskip("reasoning_gym")
    reward = ReasoningGymAnswer("chain_sum")
    with pytest.raises(RuntimeError, match=r"chain_sum, completion 0: score_answer raised KeyError: 'answer'"):
        reward(["q"], ["<answer>4</answer>"], [[1]], entry=[{"question": "2 + 2 ="}])
    reward.close()


def test_without_the_package_the_error_names_the_extra(monkeypatch):
    monkeypatch.setattr("iapo.rewards.gym.find_spec", lambda name: None)
    with pytest.raises(ModuleNotFoundError, match=r"iapo\[tasks\]"):
        ReasoningGymAnswer("countdown")(["q"], ["a"], [[1]], entry=[{}])


def test_importing_the_rewards_needs_no_extra():
    program = "import sys, iapo.rewards; print({'math_verify', 'reasoning_gym'} & set(sys.modules))"
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert told.stdout == "set()\n"


def run(rewards, count=2, columns=None, **options):
    return score(rewards, ["q"] * count, ["a"] * count, [[1]] * count, columns or {}, **options)


def test_scores_add_up_and_none_is_left_out():
    scores = run({"a": lambda **_: [1.0, 0.5], "b": lambda **_: [2, None]})
    assert scores.total.tolist() == [3.0, 0.5]
    assert scores.total.dtype == torch.float32
    assert scores.scored.tolist() == [True, False]
    assert scores.by_function == {"a": [1.0, 0.5], "b": [2.0, None]}


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
    with pytest.raises(ValueError, match="weights: got nan for 'a'"):
        run(rewards, weights={"a": float("nan")})


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


def test_a_function_that_hangs_is_named():
    release = threading.Event()
    rewards = {"quick": lambda **_: [1.0, 1.0], "hangs": lambda **_: release.wait()}
    with pytest.raises(TimeoutError, match=r"reward 'hangs' took longer than 0.1 s for 2 completions"):
        run(rewards, time_limit=0.1)
    release.set()


def test_a_missing_column_is_named_before_anything_runs():
    with pytest.raises(ValueError, match=r"'maths' needs the columns \['answer'\], the data has \['question'\]"):
        check_columns({"maths": MathAnswer()}, ["question"])
    with pytest.raises(ValueError, match="got none"):
        check_columns({}, ["question"])
    check_columns({"format": ThinkAnswerFormat()}, [])


@pytest.mark.parametrize(
    "reward", [MathAnswer(), ExactAnswer(), ReasoningGymAnswer("countdown", entry_column="answer")]
)
def test_a_missing_or_short_column_is_named_without_score_too(reward):
    with pytest.raises(KeyError, match=r"Answer needs the column 'answer', got \['question'\]"):
        reward(["q"], ["c"], [[1]], question=["q"])
    with pytest.raises(ValueError, match="column 'answer' has 2 entries for 1 completions"):
        reward(["q"], ["c"], [[1]], answer=["1", "2"])


def test_arguments_of_different_lengths_are_named():
    rewards = {"a": lambda **_: [1.0]}
    with pytest.raises(ValueError, match="prompts: got 2 entries for 1 completions"):
        score(rewards, ["q", "q"], ["a"], [[1]], {})
    with pytest.raises(ValueError, match="level: got 0 entries for 1 completions"):
        score(rewards, ["q"], ["a"], [[1]], {"level": []})


def test_what_trl_hands_over_besides_is_ignored():
    extra = {"trainer_state": object(), "log_extra": print, "log_metric": print, "environments": None}
    for reward in (MathAnswer(), ExactAnswer(), ThinkAnswerFormat()):
        completion = "<think>a</think><answer>7</answer>"
        assert reward(prompts=["q"], completions=[completion], completion_ids=[[1]], answer=["7"], **extra) == [1.0]
