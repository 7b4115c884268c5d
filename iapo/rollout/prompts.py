"""Turns prompts, given as texts or token ids, into token ids."""

from collections.abc import Sequence

from transformers import PreTrainedTokenizerBase

from iapo.interfaces import Prompts
from iapo.policy.chat import chat_openings


def encode_prompts(prompts: Prompts, tokenizer: PreTrainedTokenizerBase | None) -> list[list[int]]:
    """Token ids of prompts, with the beginning-of-sequence token that the tokenizer puts before a text.

    Nothing is added to a text that begins with these tokens already, or that begins as the tokenizer's chat template
    begins its texts: the template says what stands there. What a tokenizer would put behind a text (an end of sequence)
    is left out, as the completion stands there.

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
    before: list[int] | None = None
    openings: tuple[str, ...] = ()
    for index, text in enumerate(texts):
        ids = encode(text, tokenizer, f"prompts[{index}]")
        if not ids:
            raise ValueError(
                f"prompts: the tokenizer makes no token of the prompt at index {index}, {prompts[index]!r}"
            )
        if isinstance(text, str) and tokenizer is not None:
            if before is None:  # it is the same before every text, and a large data set is not encoded twice
                before = _put_before(ids, text, tokenizer)
                openings = chat_openings(tokenizer) if before else ()
            if before and ids[: len(before)] != before and not text.startswith(openings):
                ids = before + ids
        encoded.append(ids)
    return encoded


def _put_before(ids: list[int], text: str, tokenizer: PreTrainedTokenizerBase) -> list[int] | None:
    """The tokens that the tokenizer puts before texts by itself; ``None`` where this text does not show them.

    Args:
        ids: of the text alone.
        text: any.
        tokenizer: encodes it once more, as it does by itself.
    """
    whole = list(tokenizer(text, verbose=False)["input_ids"])
    # From the end: a text may begin with what is put before it.
    places = range(len(whole) - len(ids), -1, -1)
    return next((whole[:at] for at in places if whole[at : at + len(ids)] == ids), None)


def encode(text: str | Sequence[int], tokenizer: PreTrainedTokenizerBase | None, name: str) -> list[int]:
    """Token ids of one text, without special tokens; ids are returned as they are. ``name`` is for the error."""
    if not isinstance(text, str):
        return [int(token) for token in text]
    if tokenizer is None:
        raise ValueError(f"{name}: got a text, want token ids, because no tokenizer was given")
    # Not verbose: that a text is too long is told by what reads it, which knows the model's positions.
    return list(tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"])
