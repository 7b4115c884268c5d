"""Small tokenizers of several kinds, trained here."""

from functools import cache

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

CORPUS = [
    "<think>3+4=7 é日🙂</think><answer>7</answer>",
    "<think> a b\n</think><answer>12</answer>",
    "7</think><answer>1",
]
SPECIAL = ["<pad>", "<bos>", "<eos>", "<unk>"]


def wrap(tokenizer: Tokenizer) -> PreTrainedTokenizerFast:
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", bos_token="<bos>", eos_token="<eos>", unk_token="<unk>"
    )


def byte_level(use_regex: bool, vocab_size: int) -> PreTrainedTokenizerFast:
    """Byte-level BPE; without the regex, merges cross from digits into markers."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=use_regex)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=SPECIAL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(CORPUS * 3, trainer)
    return wrap(tokenizer)


def byte_fallback() -> PreTrainedTokenizerFast:
    """As sentencepiece does it: a visible space, and bytes for what the vocabulary lacks."""
    pieces = [*SPECIAL, *(f"<0x{byte:02X}>" for byte in range(256)), *"<>/think answer▁7123", "></", "▁7", "7<"]
    vocab = {piece: index for index, piece in enumerate(dict.fromkeys(pieces))}
    merges = [("▁", "7"), ("7", "<")]
    tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=merges, byte_fallback=True, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="never", split=False)
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    return wrap(tokenizer)


def word_level() -> PreTrainedTokenizerFast:
    """Thirty-one symbols, the markers among them: the vocabulary of the models in ``tests/models.py``."""
    symbols = [*SPECIAL, "<think>", "</think>", "<answer>", "</answer>", *"0123456789+-*=", *"abcdefghi"]
    tokenizer = Tokenizer(models.WordLevel({symbol: i for i, symbol in enumerate(symbols)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(_symbols(), "isolated")
    tokenizer.decoder = decoders.Fuse()
    return wrap(tokenizer)


def _symbols():  # type: ignore[no-untyped-def]
    from tokenizers import Regex

    return Regex(r"<[a-z/]+>|[\s\S]")


@cache
def tokenizer(name: str) -> PreTrainedTokenizerFast:
    makers = {
        "bytes-regex": lambda: byte_level(True, 290),
        "bytes-greedy": lambda: byte_level(False, 320),
        "bytes-alone": lambda: byte_level(True, 260),
        "byte-fallback": byte_fallback,
        "words": word_level,
    }
    return makers[name]()


KINDS = ("bytes-regex", "bytes-greedy", "bytes-alone", "byte-fallback", "words")
