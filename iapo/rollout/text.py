"""Completions as texts."""

from collections.abc import Collection

from transformers import PreTrainedTokenizerBase

from iapo.types import Rollout


def decode_completions(
    tokenizer: PreTrainedTokenizerBase, rollout: Rollout, eos_ids: Collection[int] | None = None
) -> list[str]:
    """The text of each completion, without padding and without its final end-of-sequence token.

    Other special tokens stay: with some tokenizers ``<think>`` and ``<answer>`` are special, and rewards look for them.
    Padding is read from the mask, so that a padding token inside a completion stays too.

    Args:
        tokenizer: of the model that sampled.
        rollout: the completions.
        eos_ids: end-of-sequence ids; ``None``: the tokenizer's.

    Returns:
        One text per completion.
    """
    if eos_ids is None:
        eos_ids = [] if tokenizer.eos_token_id is None else [tokenizer.eos_token_id]
    rows = []
    for ids, length in zip(rollout.completion_ids.tolist(), rollout.completion_lengths.tolist(), strict=True):
        ends_itself = length > 0 and ids[length - 1] in eos_ids
        rows.append(ids[: length - ends_itself])
    return list(tokenizer.batch_decode(rows, skip_special_tokens=False, clean_up_tokenization_spaces=False))
