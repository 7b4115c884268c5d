"""Completions as texts: markers stay, padding and the final end of sequence do not; the piece of each token."""

from collections.abc import Sequence
from itertools import product

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from iapo.embedded import model_path
from iapo.rollout.collation import collate
from iapo.styles import CompletionStyle
from iapo.tokenization.decoding import decode_completions, decode_rows, rows_of_text, token_pieces


def byte_tokenizer() -> PreTrainedTokenizerFast:
    """One token per byte, as a byte-level BPE without merges."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    backend = Tokenizer(models.BPE({symbol: i for i, symbol in enumerate(alphabet)}, []))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    backend.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=backend, clean_up_tokenization_spaces=False)


BYTES = byte_tokenizer()
BYTE_LEVEL = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)


def test_final_end_and_padding_go_everything_else_stays() -> None:
    tokenizer = AutoTokenizer.from_pretrained(model_path())
    encode = lambda text: tokenizer(text, add_special_tokens=False)["input_ids"]  # noqa: E731
    eos, pad = tokenizer.eos_token_id, tokenizer.pad_token_id
    whole = "<think>3+8=1</think><answer>1</answer>"
    rows = [[*encode(whole), eos], encode("<think>3+8"), [], [eos], [pad, *encode("7"), pad], [eos, eos]]
    rollout = collate([encode("3+8=")] * len(rows), rows, list(range(len(rows))), pad, tokenizer)

    texts = decode_completions(tokenizer, rollout)

    assert texts == [whole, "<think>3+8", "", "", f"{tokenizer.pad_token}7{tokenizer.pad_token}", tokenizer.eos_token]
    assert decode_completions(tokenizer, rollout, eos_ids=encode("8"))[1] == "<think>3+"


def test_an_end_that_closes_an_opened_tag_is_text() -> None:
    tokenizer = AutoTokenizer.from_pretrained(model_path())
    encode = lambda text: tokenizer(text, add_special_tokens=False)["input_ids"]  # noqa: E731
    (close,) = encode("</answer>")
    texts = ["<think>1</think><answer>1</answer>", "<think>1</think>1</answer>", "</answer>", "<answer>1"]
    rows = [encode(text) for text in texts]
    ends = [tokenizer.eos_token_id, close]
    style = CompletionStyle()
    rollout = collate([encode("1=")] * 4, rows, [0] * 4, 0, tokenizer, eos_ids=ends, style=style)
    assert decode_completions(tokenizer, rollout, ends) == [texts[0], "<think>1</think>1", "", "<answer>1"]
    assert rollout.answer_mask is not None
    assert rollout.exit_ids is not None
    assert rollout.answer_mask.any(1).tolist() == [True, False, False, False]
    assert rollout.exit_ids[0].tolist() == encode("</think><answer>1</answer>"), "its own tokens, the end among them"
    assert rollout.reasoning_mask.sum(1).tolist() == [1, 1, 0, 2]


def test_an_end_with_white_space_around_its_tag_closes_one_too() -> None:
    words = Tokenizer(models.WordLevel({"<answer>": 0, "1": 1, "</answer>\n": 2}, unk_token="1"))
    words.decoder = decoders.Fuse()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, clean_up_tokenization_spaces=False)
    ids = torch.tensor([[0, 1, 2], [1, 1, 2]])
    assert rows_of_text(tokenizer, ids, torch.ones_like(ids).bool(), eos_ids=[2]) == [[0, 1, 2], [1, 1]]


def crossing() -> PreTrainedTokenizerFast:
    """Every one and every two of the bytes of some characters is a token."""
    symbols = sorted({each for part, _ in BYTE_LEVEL.pre_tokenize_str("a日🙂é>") for each in part})
    pairs = ["".join(pair) for pair in product(symbols, symbols)]
    tokenizer = Tokenizer(models.WordLevel({part: i for i, part in enumerate([*symbols, *pairs])}, unk_token="a"))
    tokenizer.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, clean_up_tokenization_spaces=False)


CROSSING = crossing()


@given(st.text(max_size=12))
@settings(deadline=None)
def test_pieces_join_to_the_text_by_characters(text: str) -> None:
    ids = BYTES(text)["input_ids"]
    pieces = token_pieces(BYTES, ids)
    assert len(pieces) == len(ids) == len(text.encode())
    assert "".join(pieces) == text
    if "\N{REPLACEMENT CHARACTER}" not in text:
        assert [piece for piece in pieces if piece] == list(text)


@given(st.text("a日🙂é>", max_size=12))
@settings(deadline=None)
def test_tokens_that_end_one_character_and_begin_the_next(text: str) -> None:
    symbols = "".join(symbol for symbol, _ in BYTE_LEVEL.pre_tokenize_str(text))
    parts = [symbols[:1], *(symbols[at : at + 2] for at in range(1, len(symbols), 2))]
    ids = [CROSSING.convert_tokens_to_ids(part) for part in parts if part]
    pieces = token_pieces(CROSSING, ids)
    assert len(pieces) == len(ids)
    assert "".join(pieces) == text


@given(st.lists(st.integers(0, 255), max_size=12))
@settings(deadline=None)
def test_any_bytes_have_pieces(ids: list[int]) -> None:
    assert len(token_pieces(BYTES, ids)) == len(ids)


def falling_back() -> PreTrainedTokenizerFast:
    """Characters, and a token for each byte of others, as Llama 2, Mistral and Gemma have them."""
    words = ["<unk>", *(f"<0x{byte:02X}>" for byte in range(256)), "\u2581", "a", "7", "####"]
    backend = Tokenizer(
        models.BPE({word: i for i, word in enumerate(words)}, [], unk_token="<unk>", byte_fallback=True)
    )
    steps = [decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    backend.decoder = decoders.Sequence(steps)
    return PreTrainedTokenizerFast(tokenizer_object=backend, clean_up_tokenization_spaces=False)


FALLING_BACK = falling_back()
LETTERS = st.integers(257, len(FALLING_BACK) - 1)
SOME_BYTES = st.sampled_from([0x0A, 0x41, 0x9F, 0xC3, 0xA9, 0xF0, 0x98, 0x80]).map(lambda byte: byte + 1)


@given(st.lists(LETTERS | SOME_BYTES, max_size=12))
def test_pieces_of_bytes_that_make_no_characters_are_the_text(ids: list[int]) -> None:
    """``\\n`` and a part of a character are two signs that cannot be read: such bytes are replaced together."""
    pieces = token_pieces(FALLING_BACK, ids)
    assert len(pieces) == len(ids)
    assert "".join(pieces) == FALLING_BACK.decode(ids)


def test_a_character_of_bytes_is_the_last_ones() -> None:
    byte = {value: 1 + value for value in range(256)}
    a = FALLING_BACK.get_vocab()["a"]
    assert token_pieces(FALLING_BACK, [a, byte[0x0A], byte[0xC3], byte[0xA9], a]) == ("a", "\n", "", "\u00e9", "a")
    cut = token_pieces(FALLING_BACK, [a, byte[0x0A], byte[0xC3], a])
    assert (cut[:2], cut[3]) == (("a", ""), "a"), "what stands beside the bytes is not moved"
    many = [byte[0xC3]] * 300
    assert token_pieces(FALLING_BACK, [byte[0x0A], *many]) == (*[""] * 300, "\ufffd" * 301)


@pytest.mark.parametrize("cut", [0, 1])
def test_pairs_of_tokens_are_decoded_once_however_long_the_text(monkeypatch: pytest.MonkeyPatch, cut: int) -> None:
    """But for those of a character in bytes, which are decoded in their place; the last one may be cut."""
    decoded: list[Sequence[int]] = []

    def noting(tokenizer: PreTrainedTokenizerFast, rows: Sequence[Sequence[int]]) -> list[str]:
        decoded.extend(rows)
        return decode_rows(tokenizer, rows)

    monkeypatch.setattr("iapo.tokenization.decoding.decode_rows", noting)
    vocab = FALLING_BACK.get_vocab()
    words = [vocab[each] for each in ("\u2581", "a", "7")]
    character = [1 + 0xC3, 1 + 0xA9]
    counts = []
    for times in (2, 20):
        decoded.clear()
        ids = words * times + character + words * times + character[:cut]
        text = f"{' a7' * times}\u00e9{' a7' * times}{cut * chr(0xFFFD)}"
        assert "".join(token_pieces(FALLING_BACK, ids)) == text[1:]
        counts.append(len(decoded))
    assert counts[0] == counts[1]
