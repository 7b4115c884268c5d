"""Small tokenizers of several kinds, trained here."""

from functools import cache

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

CORPUS = [
    "<think>3+4=7 é日🙂</think><answer>7</answer>",
    "<think> a b\n</think><answer>12</answer>",
    "7</think><answer>1",
]
SPECIAL = ["<pad>", "<bos>", "<eos>", "<unk>"]


MORE = [
    "So the answer is 72. The answer is -7. Final answer: 1/2",
    "#### 72 #### -7 <answer>x</answer></think><answer>-7</answer>",
    '\\boxed{12} \\boxed{\\frac{1}{2}} {"answer": "12"}',
    "let us add 3 and 4.</think><answer>(7)</answer>",
]
QWEN = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"


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


def qwen_like() -> PreTrainedTokenizerFast:
    """Byte-level BPE with Qwen's pattern: single digits, and signs together with the newlines behind them."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(QWEN), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=420,
        special_tokens=SPECIAL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator((CORPUS + MORE) * 3, trainer)
    return wrap(tokenizer)


def dummy_prefix() -> PreTrainedTokenizerFast:
    """As Llama 2 has it: a space before every text, which decoding takes away, a beginning of sequence, byte pieces."""
    tokenizer = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    trainer = trainers.BpeTrainer(
        vocab_size=420, special_tokens=[*SPECIAL, *(f"<0x{b:02X}>" for b in range(256))], show_progress=False
    )
    tokenizer.train_from_iterator([text.replace("🙂", "") for text in (CORPUS + MORE) * 3], trainer)
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    begin = tokenizer.token_to_id("<bos>")
    tokenizer.post_processor = processors.TemplateProcessing(single="<bos> $A", special_tokens=[("<bos>", begin)])
    return wrap(tokenizer)


def unigram() -> PreTrainedTokenizerFast:
    """As T5 and Gemma's ancestors have it: pieces by likelihood, words cut at spaces, a space before every text."""
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    tokenizer.decoder = decoders.Metaspace(prepend_scheme="always")
    trainer = trainers.UnigramTrainer(
        vocab_size=140,
        special_tokens=SPECIAL,
        unk_token="<unk>",
        initial_alphabet=list('<>/\\{}()[].,:#-+=*"0123456789 \nabcdefghijklmnopqrstuvwxyzSTFé日🙂'),
        show_progress=False,
    )
    tokenizer.train_from_iterator((CORPUS + MORE) * 3, trainer)
    return wrap(tokenizer)


def word_piece() -> PreTrainedTokenizerFast:
    """As BERT has it: words and signs apart, white space lost, pieces marked where they continue a word."""
    tokenizer = Tokenizer(models.WordPiece(unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece(cleanup=False)
    trainer = trainers.WordPieceTrainer(
        vocab_size=200,
        special_tokens=SPECIAL,
        initial_alphabet=list('<>/\\{}()[].,:#-+=*"0123456789abcdefghijklmnopqrstuvwxyzSTFé日🙂'),
        show_progress=False,
    )
    tokenizer.train_from_iterator((CORPUS + MORE) * 3, trainer)
    return wrap(tokenizer)


def word_level() -> PreTrainedTokenizerFast:
    """Thirty-one symbols, the markers among them: the vocabulary of the models in ``tests/models.py``."""
    symbols = [*SPECIAL, "<think>", "</think>", "<answer>", "</answer>", *"0123456789+-*=", *"abcdefghi"]
    tokenizer = Tokenizer(models.WordLevel({symbol: i for i, symbol in enumerate(symbols)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(_symbols(), "isolated")
    tokenizer.decoder = decoders.Fuse()
    return wrap(tokenizer)


def _symbols() -> Regex:
    return Regex(r"<[a-z/]+>|[\s\S]")


@cache
def tokenizer(name: str) -> PreTrainedTokenizerFast:
    makers = {
        "bytes-regex": lambda: byte_level(True, 290),
        "bytes-greedy": lambda: byte_level(False, 320),
        "bytes-alone": lambda: byte_level(True, 260),
        "byte-fallback": byte_fallback,
        "words": word_level,
        "qwen": qwen_like,
        "dummy-prefix": dummy_prefix,
        "unigram": unigram,
        "word-piece": word_piece,
    }
    return makers[name]()


KINDS = ("bytes-regex", "bytes-greedy", "bytes-alone", "byte-fallback", "words")
TRAINED = ("bytes-regex", "qwen", "dummy-prefix", "unigram", "word-piece")
"""Tokenizers of the kinds that models have."""
