"""Spans against a reference that walks over characters, on tokenizers that cut markers in different ways."""

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from rollout_tokenizers import KINDS, tokenizer

from iapo.ops.padding import pad_rows
from iapo.rollout import mark_spans
from iapo.styles import AnswerTags, CompletionStyle, ReasoningTags
from iapo.tokenization import token_pieces

START, END, OPEN, CLOSE = "<think>", "</think>", "<answer>", "</answer>"
FRAGMENTS = [START, END, OPEN, CLOSE, END + OPEN, "7", "12", "<", ">", "</", " ", "é", "日", "🙂", "\n", "a", "7</th"]


def naive(pieces: list[str]) -> tuple[set[int], range]:
    """Reasoning tokens and answer characters, found by looking at one character after the other."""
    text = "".join(pieces)
    owner = [index for index, piece in enumerate(pieces) for _ in piece]

    def at(marker: str, place: int) -> bool:
        return all(text[place + i : place + i + 1] == c for i, c in enumerate(marker))

    begin = 0
    while begin < len(text) and text[begin].isspace():
        begin += 1
    begin = begin + len(START) if at(START, begin) else 0
    closes = [c for c in range(begin, len(text)) if at(END, c)]
    after = closes[0] + len(END) if closes else begin
    answer_closes = [c for c in range(after, len(text)) if at(CLOSE, c)]
    opens = [c for c in range(after, len(text)) if at(OPEN, c)]
    closed_by = {c: min((d for d in answer_closes if d >= c + len(OPEN)), default=0) for c in opens}
    opens = [c for c in opens if text[c + len(OPEN) : closed_by[c]].strip()]
    characters = range(0)
    if opens:
        first = opens[-1] + len(OPEN)
        characters = range(first, min(c for c in answer_closes if c >= first))
    ends = closes[0] if closes else opens[-1] if opens else None
    if closes and opens:
        ends = max([closes[0], *(c for c in closes if c + len(END) <= opens[-1])])
        if not text[begin:ends].strip() and text[after : opens[-1]].strip():
            begin, ends = after, opens[-1]
    stop = len(pieces) if ends is None else owner[ends]
    # A token of a part of a character has no text of its own and goes with the next one.
    while ends is not None and stop and not pieces[stop - 1]:
        stop -= 1
    last = owner[begin - 1] if begin else -1
    shared = begin and begin < len(text) and owner[begin] == last
    return set(range(last if shared else last + 1, stop)), characters


@st.composite
def completions(draw: st.DrawFn) -> tuple[str, list[list[int]]]:
    kind = draw(st.sampled_from(KINDS))
    tok = tokenizer(kind)
    rows = []
    for _ in range(draw(st.integers(1, 3))):
        row = []
        for _ in range(draw(st.integers(0, 3))):
            if draw(st.integers(0, 3)):
                text = "".join(draw(st.lists(st.sampled_from(FRAGMENTS), max_size=8)))
                text = draw(st.sampled_from(["", START, "\n" + START])) + text
                row += tok(text, add_special_tokens=False)["input_ids"]
            else:
                row += draw(st.lists(st.integers(0, len(tok) - 1), max_size=4))
        if draw(st.booleans()):
            row.append(tok.eos_token_id)
        rows.append(row)
    return kind, rows


@settings(max_examples=300, deadline=None)
@example(("bytes-greedy", [[176, 294]]), 0)  # part of a character, its end in one token with what ends the reasoning
@given(completions(), st.integers(0, 200))
def test_spans_match_the_walk_over_characters(case: tuple[str, list[list[int]]], garbage: int) -> None:
    kind, rows = case
    tok = tokenizer(kind)
    ids, mask = pad_rows(rows, garbage % len(tok))
    spans = mark_spans(ids, mask, tok, CompletionStyle())
    for index, row in enumerate(rows):
        row = row[: len(row) - (bool(row) and row[-1] == tok.eos_token_id)]
        pieces = token_pieces(tok, row)
        reasoning, characters = naive(list(pieces))
        assert set(spans.reasoning_mask[index].nonzero().flatten().tolist()) == reasoning
        found = spans.exits.answer_ids[index][spans.exits.answer_mask[index]].tolist()
        answer = "".join(pieces)[characters.start : characters.stop]
        if not answer.strip():
            assert not found
            continue
        owner = [token for token, piece in enumerate(pieces) for _ in piece]
        before = [token for c, token in enumerate(owner) if c < characters.start]
        held = list(range(max(before, default=-1) + 1, owner[characters.stop - 1] + 1))
        if "".join(pieces[token] for token in held) == answer:
            assert found == [row[token] for token in held], "its own tokens"
        elif "\N{REPLACEMENT CHARACTER}" not in answer:
            assert tok.decode(found) == answer.strip(" ") if kind == "byte-fallback" else tok.decode(found) == answer
    assert not bool((spans.reasoning_mask & ~mask).any())


def test_these_tokenizers_cut_markers_into_pieces() -> None:
    regex = tokenizer("bytes-regex")
    tokens = [regex.decode([i]) for i in regex("<think>7</think><answer>7</answer>")["input_ids"]]
    assert "><" in tokens
    greedy = tokenizer("bytes-greedy")
    tokens = [greedy.decode([i]) for i in greedy("7</think><answer>12</answer>")["input_ids"]]
    assert any(token[0].isdigit() and "<" in token for token in tokens)
    alone = tokenizer("bytes-alone")
    assert len(alone("🙂")["input_ids"]) == 4


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "words"])
def test_a_character_cut_into_bytes_moves_nothing(kind: str) -> None:
    tok = tokenizer(kind)
    row = tok("<think>🙂é3</think><answer>12</answer>", add_special_tokens=False)["input_ids"]
    ids, mask = pad_rows([row], 0)
    spans = mark_spans(ids, mask, tok)
    assert tok.decode(spans.exits.answer_ids[0][spans.exits.answer_mask[0]]) == "12"
    assert "🙂é" in tok.decode(ids[0][spans.reasoning_mask[0]])


@pytest.mark.parametrize(
    ("text", "reasoning", "answer"),
    [
        ("<think>1+2</think><answer>3</answer>", "1+2", "3"),
        ("1+2</think><answer>3</answer>", "1+2", "3"),
        ("<think>1+2", "1+2", ""),
        ("1+2<eos>", "1+2", ""),
        ("<think>1<answer>2</answer>", "1", "2"),  # never closed: up to the answer, which is paid for
        ("1<answer>2</answer>", "1", "2"),
        ("<think>1</think><answer>2", "1", ""),
        ("<think>1</think><answer></answer>", "1", ""),
        ("<think>1</think><answer>2</answer><answer>34</answer><eos>", "1", "34"),
        ("<think>1</think><answer>2</answer><answer>3", "1", "2"),
        ("<think>1</think><answer>5</answer></answer>", "1", "5"),
        ("<think>1<answer>4</answer>2</think><answer>5</answer>", "1<answer>4</answer>2", "5"),
        ("<answer>5</answer></think>1<answer>2</answer>", "<answer>5</answer>", "2"),
        ("<think></think><answer>2</answer>", "", "2"),
        ("<think></think>1+2<answer>2</answer>", "1+2", "2"),
        ("<think></think>1</think><answer>2</answer>", "</think>1", "2"),
        ("</think>", "", ""),
        ("", "", ""),
    ],
)
def test_by_hand(text: str, reasoning: str, answer: str) -> None:
    tok = tokenizer("words")
    ids, mask = pad_rows([tok(text)["input_ids"]], 0)
    spans = mark_spans(ids, mask, tok)
    assert tok.decode(ids[0][spans.reasoning_mask[0]]) == reasoning
    assert tok.decode(spans.exits.answer_ids[0][spans.exits.answer_mask[0]]) == answer


def test_other_tags_and_end_of_sequence_ids() -> None:
    tok = tokenizer("words")
    ids, mask = pad_rows([tok("a1b2c3d")["input_ids"], tok("a1d")["input_ids"]], 0)
    d = int(ids[0, -1])
    style = CompletionStyle(ReasoningTags("a", "b"), AnswerTags("c", "d"))
    spans = mark_spans(ids, mask, tok, style)
    assert spans.reasoning_mask.tolist() == [[False, True] + [False] * 5, [False, True, True] + [False] * 4]
    assert tok.decode(spans.exits.answer_ids[0]) == "3"
    assert spans.exits.answer_mask.tolist() == [[True], [False]]
    ended = mark_spans(ids, mask, tok, style, eos_ids=[d])
    assert ended.reasoning_mask.tolist() == [[False, True] + [False] * 5, [False, True] + [False] * 5]
    assert not ended.exits.answer_mask.any(), "the tag that closes it is no part of the text"
