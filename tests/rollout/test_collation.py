"""Packing of rows into rollouts, replayed completions, reference answers."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from rollout_tokenizers import tokenizer

from iapo.rollout import ScriptedSampler, ask_about, collate, with_answers

ROWS = st.lists(
    st.tuples(st.lists(st.integers(0, 30), min_size=1, max_size=5), st.lists(st.integers(0, 30), max_size=5)),
    min_size=1,
    max_size=5,
)


@settings(max_examples=60, deadline=None)
@given(ROWS, st.integers(0, 30), st.booleans())
def test_rows_survive_packing(rows: list[tuple[list[int], list[int]]], pad_id: int, spans: bool) -> None:
    prompts, completions = [row[0] for row in rows], [row[1] for row in rows]
    logprobs = [[-0.5 * t - i for t in range(len(c))] for i, c in enumerate(completions)]
    rollout = collate(
        prompts,
        completions,
        list(range(len(rows))),
        pad_id,
        tokenizer("words") if spans else None,
        sampler_logprobs=logprobs,
    )
    assert rollout.prompt_ids.shape[1] == max(map(len, prompts))
    assert rollout.completion_ids.shape[1] == max(1, *map(len, completions))
    assert rollout.sampler_logprobs is not None
    for i in range(len(rows)):
        assert rollout.prompt_ids[i][rollout.prompt_mask[i]].tolist() == prompts[i]
        assert rollout.completion_ids[i][rollout.completion_mask[i]].tolist() == completions[i]
        assert rollout.sampler_logprobs[i][rollout.completion_mask[i]].tolist() == logprobs[i]
    assert (rollout.sampler_logprobs[~rollout.completion_mask] == 0).all()
    assert (rollout.completion_ids[~rollout.completion_mask] == pad_id).all()


def test_without_a_tokenizer_all_but_the_end_is_reasoning() -> None:
    rollout = collate([[1], [1], [1]], [[5, 2], [2, 5], []], [0, 0, 0], 0, None, eos_ids=[2])
    assert rollout.reasoning_mask.tolist() == [[True, False], [True, True], [False, False]]
    assert rollout.answer_ids is None


def test_ragged_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match="completion_ids': 1"):
        collate([[1], [1]], [[1]], [0, 0], 0, None)
    with pytest.raises(ValueError, match="sampler_logprobs"):
        collate([[1]], [[1, 2]], [0], 0, None, sampler_logprobs=[[0.0]])


def test_scripted_texts_with_spans_groups_and_end_of_sequence() -> None:
    tok = tokenizer("words")
    sampler = ScriptedSampler(
        {"1+1=": ["<think>a</think><answer>2</answer>", "<think>b<eos>", "unused"], "3=": ["c", "<think>"]},
        tok,
        append_eos=True,
    )
    rollout = sampler(["3=", "1+1=", "3="], 2)
    texts = [tok.decode(ids[mask]) for ids, mask in zip(rollout.completion_ids, rollout.completion_mask, strict=True)]
    one, two = "<think>a</think><answer>2</answer><eos>", "<think>b<eos>"
    assert texts == ["c<eos>", "<think><eos>", one, two, "c<eos>", "<think><eos>"]
    assert rollout.group_ids.tolist() == [0, 0, 1, 1, 2, 2]
    assert [tok.decode(ids[mask]) for ids, mask in zip(rollout.prompt_ids, rollout.prompt_mask, strict=True)] == [
        *["3="] * 2,
        *["1+1="] * 2,
        *["3="] * 2,
    ]
    reasoning = [tok.decode(i[m]) for i, m in zip(rollout.completion_ids, rollout.reasoning_mask, strict=True)]
    assert reasoning == ["c", "", "a", "b", "c", ""]
    assert rollout.answer_mask is not None
    assert rollout.answer_mask.any(1).tolist() == [False, False, True, False, False, False]
    assert rollout.sampler_logprobs is None


def test_scripted_function_of_prompt_and_index() -> None:
    rollout = ScriptedSampler(lambda prompt, index: [len(prompt), index])([[7, 7], [7]], 3)
    assert rollout.completion_ids.tolist() == [[2, 0], [2, 1], [2, 2], [1, 0], [1, 1], [1, 2]]


def test_scripted_leaves_its_completions_alone() -> None:
    tok = tokenizer("words")
    given_ids = [[5, 6]]
    ScriptedSampler({(1,): given_ids}, tok, append_eos=True)([[1]], 1)
    assert given_ids == [[5, 6]]


def test_scripted_errors_name_the_prompt() -> None:
    sampler = ScriptedSampler({"1=": ["1"], "2=": ["1", "2"]}, tokenizer("words"))
    with pytest.raises(ValueError, match="prompt '1=' has 1, want at least 2"):
        sampler(["2=", "1="], 2)
    with pytest.raises(ValueError, match="prompt '9=' has 0"):
        sampler(["9="], 1)
    with pytest.raises(ValueError, match=r"prompts\[0\]: got a text"):
        ScriptedSampler({"1=": [[1]]})(["1="], 1)
    with pytest.raises(ValueError, match="append_eos"):
        ScriptedSampler({}, append_eos=True)


def test_reference_answers_replace_own_ones() -> None:
    sampler = ScriptedSampler({"1=": ["<think>1</think><answer>7</answer>", "2"]}, tokenizer("words"))
    own = sampler(["1="], 2)
    rollout = with_answers(own, [[], [4, 5]])
    assert rollout.answer_ids is not None
    assert rollout.answer_mask is not None
    assert rollout.answer_mask.tolist() == [[False, False], [True, True]]
    assert rollout.answer_ids[1].tolist() == [4, 5]
    assert torch.equal(rollout.reasoning_mask, own.reasoning_mask)
    with pytest.raises(ValueError, match="reference_ids: got 1 answers, want one for each of 2 rows"):
        with_answers(own, [[1]])


@pytest.mark.parametrize("spans", [False, True])
def test_no_rows_make_an_empty_rollout(spans):
    rollout = collate([], [], [], 0, tokenizer("words") if spans else None)
    assert (len(rollout), rollout.completion_ids.shape, rollout.group_ids.dtype) == (0, (0, 1), torch.long)


def test_rows_may_be_tensors():
    rows = [torch.tensor([4, 5]), torch.tensor([6])]
    rollout = collate(rows, rows, torch.tensor([0, 1]), 0, None, eos_ids=[5])
    assert rollout.reasoning_mask.tolist() == [[True, False], [True, False]]


def test_an_answer_that_is_no_text_is_named():
    rollout = collate([[4], [4]], [[5], [6]], [0, 0], 0, tokenizer("words"))
    with pytest.raises(TypeError, match="answers: got the text '12', want one text for each of 2 rows"):
        ask_about(rollout, "12", tokenizer("words"))
    for answer in (12, None):
        with pytest.raises(TypeError, match=rf"answers\[1\]: got {answer}, want a text"):
            ask_about(rollout, ["1", answer], tokenizer("words"))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"pad_id": None}, "pad_id: got None, want an integer of at least 0"),
        ({"prompt_ids": ["ab"]}, r"prompt_ids\[0\]: got 'ab', want a list of token ids"),
        ({"completion_ids": [["a"]]}, r"completion_ids\[0\]: got \['a'\], want a list of token ids"),
        ({"completion_ids": [5]}, r"completion_ids\[0\]: got 5, want a list of token ids"),
        ({"completion_ids": [[0.5]]}, r"completion_ids\[0\]: got \[0.5\], want a list of token ids"),
        ({"completion_ids": torch.zeros(1, 2)}, r"completion_ids\[0\]: got tensor.*, want a list of token ids"),
        ({"group_ids": [0.5]}, "group_ids: got 0.5, want indices of prompts"),
    ],
)
def test_what_is_no_token_id_is_named(changed, message):
    given = {"prompt_ids": [[4]], "completion_ids": [[5, 6]], "group_ids": [0], "pad_id": 0}
    with pytest.raises((TypeError, ValueError), match=message):
        collate(**given | changed, tokenizer=None)
