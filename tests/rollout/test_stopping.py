"""Stop texts: where completions end, what is read of them, and that samplers sample nothing behind."""

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from rollout_tokenizers import tokenizer
from sampled_models import completions, model_of, naive_logits, watching, words

from iapo import MathAnswer, Rollout
from iapo.rewards import score_rollout
from iapo.rollout import CompactingSampler, LanguageModelSampler, ScriptedSampler, TransformersSampler, collate
from iapo.rollout.ends import ended
from iapo.rollout.stopping import Ending, StopWatch, endings
from iapo.tokenization.decoding import decode_completions, decode_ids, decode_rows

NAMES = ["bytes-regex", "bytes-greedy", "byte-fallback", "qwen", "dummy-prefix", "unigram"]
SAMPLERS = [CompactingSampler, TransformersSampler]
EOS = 2


def naive_ending(tok: object, row: list[int], stop: list[str]) -> Ending:
    """Token by token, from the text of all that was there."""
    for length in range(1, len(row) + 1):
        if row[length - 1] == EOS:
            return Ending(length, True)
        text = decode_ids(tok, row[:length])
        found = [(text.find(each) + len(each), text.find(each)) for each in stop if each in text]
        if found and not text.endswith("\N{REPLACEMENT CHARACTER}"):
            return Ending(length, True, len(text) - min(found)[1])
    return Ending(len(row), False)


def byte_tokens(text: str) -> list[int]:
    """A text of characters that the vocabulary lacks: a token for each byte, four for a fox."""
    return tokenizer("byte-fallback")(text, add_special_tokens=False)["input_ids"]


@st.composite
def ended_rows(draw: st.DrawFn) -> tuple[object, list[list[int]], list[str]]:
    """Rows of ordinary tokens, and stop texts cut from them at any character, or that are not there."""
    tok = tokenizer(draw(st.sampled_from(NAMES)))
    texts = st.text("<>/answerthink 7\né日", min_size=1, max_size=12)
    rows = [tok(text, add_special_tokens=False)["input_ids"] for text in draw(st.lists(texts, min_size=1, max_size=3))]
    rows = [row + draw(st.sampled_from([[], [EOS], [EOS, 7]])) for row in rows if row] or [[EOS]]
    whole = decode_ids(tok, rows[0]).replace("/", "").replace("\N{REPLACEMENT CHARACTER}", "") or "7"
    start = draw(st.integers(0, len(whole) - 1))
    return tok, rows, [whole[start : start + draw(st.integers(1, 4))], draw(st.sampled_from(["zz", "7", "\n"]))]


@settings(max_examples=100, deadline=None)
@example((tokenizer("bytes-regex"), [[26, 26, 26, 273, 279]], ["777é", "zz"]))
@example((tokenizer("byte-fallback"), [[199, 173, 234, 155, 169, 14]], ["7", "\n"]))  # the last 5 are no characters
@example((tokenizer("byte-fallback"), [byte_tokens("7" + 6 * "🦊")], [6 * "🦊", "zz"]))
@given(ended_rows())
def test_a_completion_ends_with_the_token_that_completes_a_stop_text(case: tuple) -> None:
    tok, rows, stop = case
    expected = [naive_ending(tok, row, stop) for row in rows]
    assert endings(tok, rows, {EOS}, stop) == expected
    watch = StopWatch(tok, stop, len(rows))
    for index, (row, end) in enumerate(zip(rows, expected, strict=True)):
        seen = [watch.see([index], [token])[0] for token in row[: end.length]]
        by_stop = end.finished and row[end.length - 1] != EOS
        assert seen[:-1] == [False] * (end.length - 1), "never before the text is there"
        assert seen[-1:] == [True] or not by_stop, "and never missed"


@pytest.mark.parametrize("name", NAMES)
def test_a_token_costs_the_same_however_long_its_completion_is(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last tokens alone are decoded: those that can hold the longest stop text, from a whole character on."""
    tok = tokenizer(name)
    decoded: list[int] = []

    def noting(tok: object, rows: list[list[int]]) -> list[str]:
        decoded.extend(map(len, rows))
        return decode_rows(tok, rows)

    monkeypatch.setattr("iapo.rollout.stopping.decode_rows", noting)
    monkeypatch.setattr("iapo.rollout.stopping.decode_ids", lambda tok, ids: noting(tok, [ids])[0])
    watch = StopWatch(tok, ["z", "zzz"], 2)
    row = tok("a b 3+4=7 é日🦊🦊" * 10, add_special_tokens=False)["input_ids"]
    assert not any(watch.see([1], [token])[0] for token in row)
    assert max(decoded) <= 4 * len("zzz") + 4 < len(row)


def test_what_a_token_looks_like_without_the_beginning_of_its_word_ends_nothing() -> None:
    tok = tokenizer("word-piece")
    row = tok(20 * "a", add_special_tokens=False)["input_ids"]
    assert "##a" in decode_ids(tok, row[-4:])
    watch = StopWatch(tok, ["##a"], 1)
    assert not any(watch.see([0], [token])[0] for token in row)


@pytest.mark.parametrize("make", SAMPLERS)
@pytest.mark.parametrize("stop", ["4", "12", ("answer>1", "+", "zz"), "</think>3"])
@settings(max_examples=2, deadline=None)
@example(seed=0)
@given(seed=st.integers(0, 1000))
def test_nothing_is_sampled_behind_a_stop_text_and_logprobs_stay_exact(
    make: type[LanguageModelSampler], stop: object, seed: int
) -> None:
    model, tok = model_of(), words()
    sampler = make(model, tok, max_new_tokens=24, stop=stop)
    prompts = [[5, 9, 12], [8]]
    torch.manual_seed(seed)
    with watching(model) as forwards:
        rollout = sampler(prompts, 6)
    stops = sampler.stop
    assert isinstance(stops, tuple)
    for index, row in enumerate(completions(rollout)):
        before, text = decode_ids(tok, row[:-1]), decode_ids(tok, row)
        assert not any(each in before for each in stops)
        by_stop = any(each in text for each in stops)
        assert bool(rollout.finished[index]) == (by_stop or row[-1] == EOS)
        assert by_stop or row[-1] == EOS or len(row) == 24
        assert int(rollout.unread[index]) == endings(tok, [row], {EOS}, stops)[0].unread
        logits = naive_logits(model, prompts[int(rollout.group_ids[index])], row)
        expected = logits.log_softmax(-1).gather(1, torch.tensor(row)[:, None])[:, 0]
        torch.testing.assert_close(rollout.sampler_logprobs[index, : len(row)], expected, atol=1e-5, rtol=0)
    assert len(forwards) <= rollout.completion_ids.shape[1], "no forward for a token that nobody needs"
    torch.manual_seed(seed)
    assert torch.equal(sampler(prompts, 6).completion_ids, rollout.completion_ids)


@pytest.mark.parametrize("make", SAMPLERS)
def test_a_stop_text_in_the_prompt_ends_nothing(make: type[LanguageModelSampler]) -> None:
    tok = words()
    prompt = tok("+4", add_special_tokens=False)["input_ids"]
    torch.manual_seed(0)
    with_stop = make(model_of(), tok, 12, stop="+4")([prompt], 4)
    torch.manual_seed(0)
    without = make(model_of(), tok, 12)([prompt], 4)
    if not any("+4" in text for text in decode_completions(tok, without)):
        assert completions(with_stop) == completions(without)


@pytest.mark.parametrize("stop", ["", ("a", "")])
def test_an_empty_stop_text_is_refused(stop: object) -> None:
    with pytest.raises(ValueError, match=r"stop: got .* want texts of at least one character"):
        CompactingSampler(model_of(), words(), 8, stop=stop)


def ended_by(text: str, stop: str, name: str = "bytes-regex") -> tuple[object, Rollout]:
    tok = tokenizer(name)
    ids = tok(text, add_special_tokens=False)["input_ids"]
    ((length, finished, unread),) = endings(tok, [ids], {EOS}, [stop])
    return tok, collate([[7]], [ids[:length]], [0], 0, tok, eos_ids={EOS}, finished=[finished], unread=[unread])


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("text", "stop", "read"),
    [
        ("3+4=7\n#### 7\n\na b", "\n\na", "3+4=7\n#### 7"),
        ("<think>3+4=7</think><answer>7</answer>", "</answer>", "<think>3+4=7</think><answer>7</answer>"),
    ],
)
def test_what_is_read_ends_before_the_stop_text_unless_it_closes_a_tag(
    name: str, text: str, stop: str, read: str
) -> None:
    tok, rollout = ended_by(text, stop, name)
    found = decode_completions(tok, rollout, {EOS})[0]
    whole = decode_ids(tok, tok(read, add_special_tokens=False)["input_ids"])
    if "\n" in whole or "\n" not in text:  # a tokenizer without line ends has no such stop text
        assert found == whole
        assert score_rollout(rollout, [{"prompt": "q", "answer": "7"}], tok, {"a": MathAnswer()}, {EOS}).total == 1
    assert bool(ended(rollout, {EOS})) or "\n" not in whole


@pytest.mark.parametrize("name", NAMES)
def test_a_closing_tag_that_nothing_opened_is_a_stop_text_as_any(name: str) -> None:
    tok, rollout = ended_by("3+4=7</answer> a", "</answer>", name)
    read = decode_ids(tok, tok("3+4=7", add_special_tokens=False)["input_ids"])
    assert decode_completions(tok, rollout, {EOS}) == [read]


def test_tokens_of_the_stop_text_are_no_reasoning() -> None:
    tok, rollout = ended_by("a b 3+4=7 \n\na", "\n\na")
    reasoned = rollout.completion_ids[0][rollout.reasoning_mask[0]].tolist()
    assert decode_ids(tok, reasoned).rstrip() == "a b 3+4=7"
    assert rollout.completion_mask.sum() > len(reasoned)


def test_recorded_completions_are_cut_where_a_sampler_would_have_ended_them() -> None:
    tok = tokenizer("bytes-regex")
    text = "<think>3+4=7</think><answer>7</answer> a b"
    rollout = ScriptedSampler({"q": [text, "3+4=7"]}, tok, stop="</answer>")(["q"], 2)
    assert decode_completions(tok, rollout, {EOS}) == ["<think>3+4=7</think><answer>7</answer>", "3+4=7"]
    assert ended(rollout, {EOS}).tolist() == [True, False]
    rollout = ScriptedSampler({"q": ["3+4=7\n\na b", "3"]}, tok, stop="\n\na")(["q"], 2)
    assert decode_completions(tok, rollout, {EOS}) == ["3+4=7", "3"]
    for stop, match in (("", "at least one character"), ("x", "no tokenizer")):
        with pytest.raises(ValueError, match=f"stop: got .*{match}"):
            ScriptedSampler({(1,): [[5]]}, stop=stop)
