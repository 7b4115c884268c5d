"""Lines and sentences in token ids: boundaries where a reader sees them, for tokenizers of different habits."""

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from iapo import Rollout
from iapo.embedded.symbols import AGAIN, CHECK, FILLERS, FIXED, OK, SYMBOLS
from iapo.estimators import StepBoundaries, TextBoundaries
from iapo.styles import Steps
from iapo.tasks import EmbeddedTask

TEXTS = [
    "He has 3.14 apples. Then he eats 2! How many? 1.14 are left.\nSo x = 3.14 - 2\n\n= 1.14.",
    'She said "no." Then:\n1. Add 2 and 3.\n2. Halve it.\n10. Done.',
    "Hmm. Wait...  so it is 4 (four.) And that is all.",
]
PARTS = [
    ["He has 3.14 apples. ", "Then he eats 2! ", "How many? ", "1.14 are left.\n", "So x = 3.14 - 2\n\n", "= 1.14."],
    ['She said "no." ', "Then:\n", "1. Add 2 and 3.\n", "2. Halve it.\n", "10. Done."],
    ["Hmm. ", "Wait...  ", "so it is 4 (four.) ", "And that is all."],
]


def byte_level(merges: int) -> PreTrainedTokenizerFast:
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=256 + merges, initial_alphabet=alphabet, show_progress=False)
    backend.train_from_iterator(TEXTS, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=backend, clean_up_tokenization_spaces=False)


def dummy_prefix() -> PreTrainedTokenizerFast:
    """As sentencepiece: a space in front of the text, spaces as ``▁`` in front of words."""
    backend = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>"))
    words = pre_tokenizers.Metaspace(prepend_scheme="first")
    backend.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Split("\n", "isolated"), words])
    backend.decoder = decoders.Metaspace()
    trainer = trainers.BpeTrainer(vocab_size=200, special_tokens=["<unk>"], show_progress=False)
    backend.train_from_iterator(TEXTS, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="<unk>", clean_up_tokenization_spaces=False)


TOKENIZERS = {"bytes": byte_level(0), "merged": byte_level(150), "dummy prefix": dummy_prefix()}


def parts(tokenizer, text: str, **options) -> list[str]:
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    cuts = [0, *TextBoundaries(tokenizer, Steps(**options)).ends(ids), len(ids)]
    decoded = [tokenizer.decode(ids[:cut], clean_up_tokenization_spaces=False) for cut in sorted(set(cuts))]
    return [after[len(before) :] for before, after in itertools.pairwise(decoded)]


@pytest.mark.parametrize("name", TOKENIZERS)
@pytest.mark.parametrize(("text", "expected"), [*zip(TEXTS, PARTS, strict=True)])
def test_lines_and_sentences(name, text, expected):
    found = parts(TOKENIZERS[name], text)
    assert "".join(found) == text
    # White space behind an end goes with the word behind it, if it is in the same token.
    assert [part.strip() for part in found] == [part.strip() for part in expected]


def test_lines_alone_and_sentences_alone():
    tokenizer = TOKENIZERS["merged"]
    assert [part.strip() for part in parts(tokenizer, TEXTS[1], sentences=False)] == TEXTS[1].split("\n")
    alone = parts(tokenizer, "One\nline. And\nthen some", lines=False)
    assert [part.strip() for part in alone] == ["One\nline.", "And\nthen some"]


def test_marks_without_spaces_end_sentences_too():
    tokenizer = TOKENIZERS["bytes"]
    assert parts(tokenizer, "他有三个。然后吃了一个？对") == ["他有三个。", "然后吃了一个？", "对"]


@given(st.text(alphabet='ab.?! \n1"é。', max_size=24))
@settings(max_examples=100, deadline=None)
def test_parts_of_any_text_join_to_it(text):
    for tokenizer in (TOKENIZERS["bytes"], TOKENIZERS["merged"]):
        assert "".join(parts(tokenizer, text)) == text


def test_of_a_rollout():
    """Padding has no boundary, whatever ids stand there."""
    tokenizer = TOKENIZERS["merged"]
    rows = [tokenizer(text, add_special_tokens=False)["input_ids"] for text in ("One. Two.", "A\nb. C\nd. E. F")]
    width, garbage = max(map(len, rows)) + 4, tokenizer("x. y\n" * 20, add_special_tokens=False)["input_ids"]
    ids = torch.tensor([(row + garbage)[:width] for row in rows])
    mask = torch.arange(width) < torch.tensor([len(row) for row in rows])[:, None]
    rollout = Rollout(ids[:, :1], mask[:, :1], ids, mask, mask, torch.zeros(2, dtype=torch.long))
    found = TextBoundaries(tokenizer)(rollout)
    assert found.shape == (2, width + 1)
    for row, row_ids in zip(found, rows, strict=True):
        assert row.nonzero().flatten().tolist() == TextBoundaries(tokenizer).ends(row_ids)


@given(st.lists(st.sampled_from(SYMBOLS), max_size=24))
@settings(max_examples=200, deadline=None)
def test_the_steps_of_the_embedded_task_are_those_of_its_tokens(embedded_tokenizer, symbols):
    """The task's patterns of text against rules of token ids, over any sequence of its symbols."""

    def ids_of(*of):
        return tuple(embedded_tokenizer.convert_tokens_to_ids(list(of)))

    by_ids = StepBoundaries(
        before_ids=ids_of(AGAIN, CHECK), after_ids=ids_of(OK, FIXED), run_ids=ids_of(*FILLERS), result_ids=ids_of("=")
    )
    by_text = TextBoundaries(embedded_tokenizer, EmbeddedTask().style.steps)
    ids = torch.tensor([[*ids_of(*symbols), *ids_of("=")][: len(symbols)]], dtype=torch.long).reshape(1, -1)
    mask = torch.ones_like(ids, dtype=torch.bool)
    prompt = torch.tensor([[4]])
    rollout = Rollout(prompt, prompt > 0, ids, mask, mask, torch.zeros(1, dtype=torch.long))
    assert by_text(rollout)[0, 1:-1].tolist() == by_ids(rollout)[0, 1:-1].tolist()
