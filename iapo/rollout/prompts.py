"""Turns prompts, given as texts or token ids, into token ids."""

from collections.abc import Sequence

from transformers import PreTrainedTokenizerBase

from iapo.interfaces import Prompts


def encode_prompts(prompts: Prompts, tokenizer: PreTrainedTokenizerBase | None) -> list[list[int]]:
    """Token ids of prompts, with the beginning-of-sequence token that the tokenizer puts before a text.

    A text that begins with a special token was written by a chat template, which writes all of them: nothing is added.
    What a tokenizer would put behind a text (an end of sequence) is left out, as the completion stands there.

    Args:
        prompts: texts or token-id sequences; the latter are returned as they are.
        tokenizer: encodes texts; may be ``None`` if there are none.

    Returns:
        One list of ids per prompt.

    Raises:
        ValueError: a text without a tokenizer, or a text of which the tokenizer makes no token.
    """
    texts: Sequence[str | Sequence[int]] = prompts
    encoded = []
    for index, text in enumerate(texts):
        ids = encode(text, tokenizer, f"prompts[{index}]")
        if not ids:
            raise ValueError(
                f"prompts: the tokenizer makes no token of the prompt at index {index}, {prompts[index]!r}"
            )
        encoded.append(_begun(ids, text, tokenizer) if isinstance(text, str) and tokenizer is not None else ids)
    return encoded


def _begun(ids: list[int], text: str, tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """The tokens of a text behind what the tokenizer puts before it."""
    if ids[0] in tokenizer.all_special_ids and ids[0] != tokenizer.unk_token_id:
        return ids
    whole = list(tokenizer(text)["input_ids"])
    start = next((at for at in range(len(whole) - len(ids) + 1) if whole[at : at + len(ids)] == ids), 0)
    return whole[:start] + ids


def encode(text: str | Sequence[int], tokenizer: PreTrainedTokenizerBase | None, name: str) -> list[int]:
    """Token ids of one text, without special tokens; ids are returned as they are. ``name`` is for the error."""
    if not isinstance(text, str):
        return [int(token) for token in text]
    if tokenizer is None:
        raise ValueError(f"{name}: got a text, want token ids, because no tokenizer was given")
    return list(tokenizer(text, add_special_tokens=False)["input_ids"])
