"""Turns prompts, given as texts or token ids, into token ids."""

from collections.abc import Sequence

from transformers import PreTrainedTokenizerBase

from iapo.interfaces import Prompts


def encode_prompts(prompts: Prompts, tokenizer: PreTrainedTokenizerBase | None) -> list[list[int]]:
    """Token ids of prompts. No special tokens are added to a text: a chat template, applied before, writes its own.

    Args:
        prompts: texts or token-id sequences.
        tokenizer: encodes texts; may be ``None`` if there are none.

    Returns:
        One list of ids per prompt.

    Raises:
        ValueError: a text without a tokenizer, or a text of which the tokenizer makes no token.
    """
    texts: Sequence[str | Sequence[int]] = prompts
    encoded = [encode(text, tokenizer, f"prompts[{index}]") for index, text in enumerate(texts)]
    for index, ids in enumerate(encoded):
        if not ids:
            raise ValueError(
                f"prompts: the tokenizer makes no token of the prompt at index {index}, {prompts[index]!r}"
            )
    return encoded


def encode(text: str | Sequence[int], tokenizer: PreTrainedTokenizerBase | None, name: str) -> list[int]:
    """Token ids of one text, without special tokens; ids are returned as they are. ``name`` is for the error."""
    if not isinstance(text, str):
        return [int(token) for token in text]
    if tokenizer is None:
        raise ValueError(f"{name}: got a text, want token ids, because no tokenizer was given")
    return list(tokenizer(text, add_special_tokens=False)["input_ids"])
