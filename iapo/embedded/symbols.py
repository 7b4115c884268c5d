"""The written language of the embedded task: its symbols, how text is cut into them, and the tokenizer."""

import re

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

DIGITS = tuple("0123456789")
OPERATORS = ("+", "-", "*")
FILLERS = (" hmm ", " well ", " so ")
AGAIN = " again "
CHECK = " check "
OK = " ok "
FIXED = " fixed "
THINK, END_THINK, ANSWER, END_ANSWER = "<think>", "</think>", "<answer>", "</answer>"
PAD, BOS, EOS, UNKNOWN = "<pad>", "<bos>", "<eos>", "<unk>"

SYMBOLS = (
    *(PAD, BOS, EOS, UNKNOWN),
    *(THINK, END_THINK, ANSWER, END_ANSWER),
    *DIGITS,
    *OPERATORS,
    "=",
    *(AGAIN, CHECK, OK, FIXED),
    *FILLERS,
)

_WORDS = "|".join(FILLERS)
STEP_ENDS = (
    r"(?<==)(?:<[a-z/]+>| [a-z]+ |[\s\S])",
    f"{OK}|{FIXED}",
    f"(?={AGAIN}|{CHECK})",
    f"(?:{_WORDS})+",
    "".join(f"(?<!{word})" for word in FILLERS) + f"(?={_WORDS})",
)
"""Regular expressions at whose ends a step of the reasoning ends.

Behind a result and what ends a check, in front of what begins a repetition or a check, and on both sides of filler.
"""

# A tag, a word with both of its spaces, or any single character: the pieces cover the text.
_PIECE = r"<[a-z/]+>| [a-z]+ |[\s\S]"
_PIECES = re.compile(_PIECE)


def split_symbols(text: str) -> list[str]:
    """Cut a text into the pieces that the tokenizer makes one token each.

    `"".join(split_symbols(text)) == text` for every text; a piece outside `SYMBOLS` is the tokenizer's unknown token.

    Args:
        text: any text.

    Returns:
        The pieces in order; empty for an empty text.

    Example:
        >>> split_symbols("3+8=1 hmm </think>")
        ['3', '+', '8', '=', '1', ' hmm ', '</think>']
    """
    return _PIECES.findall(text)


def build_tokenizer(max_length: int) -> PreTrainedTokenizerFast:
    """Make the word-level tokenizer whose `decode(encode(text)) == text` for every text written in `SYMBOLS`.

    Nothing is added around a text: no beginning-of-sequence token before it and no end-of-sequence token after it.

    Args:
        max_length: longest sequence the model is made for, in tokens.

    Returns:
        A tokenizer that pads on the left, with distinct padding, beginning, end and unknown tokens.
    """
    backend = Tokenizer(models.WordLevel({symbol: index for index, symbol in enumerate(SYMBOLS)}, unk_token=UNKNOWN))
    backend.pre_tokenizer = pre_tokenizers.Split(Regex(_PIECE), behavior="isolated")
    backend.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        pad_token=PAD,
        bos_token=BOS,
        eos_token=EOS,
        unk_token=UNKNOWN,
        padding_side="left",
        model_max_length=max_length,
        model_input_names=["input_ids", "attention_mask"],
        clean_up_tokenization_spaces=False,
    )
