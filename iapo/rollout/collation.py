"""Packs sampled or recorded completions into a `Rollout`; samplers pad nowhere else."""

import dataclasses
from collections.abc import Collection, Sequence
from numbers import Integral

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from iapo.ops.arguments import arguments_named
from iapo.ops.checks import check_integer
from iapo.ops.padding import pad_rows, unpad_rows
from iapo.rollout.spans import Exits, ExitTokens, mark_spans
from iapo.styles import USUAL_STYLE, CompletionStyle
from iapo.tokenization.decoding import decode_rows
from iapo.types import Rollout

Ids = Sequence[Sequence[int]]
"""Token ids, a row each."""


@arguments_named
def collate(
    prompt_ids: Ids,
    completion_ids: Ids,
    group_ids: Sequence[int],
    pad_id: int,
    tokenizer: PreTrainedTokenizerBase | None,
    style: CompletionStyle = USUAL_STYLE,
    eos_ids: Collection[int] | None = None,
    sampler_logprobs: Sequence[Sequence[float]] | None = None,
    device: torch.device | str = "cpu",
    finished: Sequence[bool] | None = None,
    unread: Sequence[int] | None = None,
) -> Rollout:
    """Pad rows of token ids and mark their spans.

    Args:
        prompt_ids: the prompt of each completion.
        completion_ids: the completions, end-of-sequence token included where there is one.
        group_ids: index of the prompt of each completion.
        pad_id: the token id of padding; it may also be a token of a completion, because masks do not come from it.
        tokenizer: decodes the tokens for `iapo.rollout.spans.mark_spans`. ``None``: the whole completion is
            reasoning, a final end-of-sequence token excepted, and there are no answers.
        style: how the completions reason and answer.
        eos_ids: end-of-sequence ids; ``None``: the tokenizer's.
        sampler_logprobs: log-probability of each completion token, nats; as long as the completions.
        device: that of the tensors.
        finished: whether each completion came to its end; ``None``: its last token says so.
        unread: characters at the end of each completion's text that are no part of it; ``None``: none.

    Returns:
        The rollout, trimmed to the longest prompt and the longest completion.

    Raises:
        TypeError: a row that is no list of token ids, such as a text, or a group id that is no integer.
        ValueError: fields of different numbers of rows, a ``pad_id`` that is none (a tokenizer without padding has
            ``None``), or a row of log-probabilities of another length than its completion.
    """
    rows = {"prompt_ids": len(prompt_ids), "completion_ids": len(completion_ids), "group_ids": len(group_ids)}
    if len(set(rows.values())) > 1:
        raise ValueError(f"prompt_ids, completion_ids, group_ids: want as many rows in each, got {rows}")
    check_integer("pad_id", pad_id, least=0)
    _check_ids("prompt_ids", prompt_ids)
    _check_ids("completion_ids", completion_ids)
    groups = group_ids.tolist() if isinstance(group_ids, Tensor) else list(group_ids)
    if other := [each for each in groups if not isinstance(each, Integral)]:
        raise TypeError(f"group_ids: got {other[0]!r}, want indices of prompts")
    prompts, prompt_mask = pad_rows(prompt_ids, pad_id, left=True)
    completions, completion_mask = pad_rows(completion_ids, pad_id)
    logprobs = None
    if sampler_logprobs is not None:
        if [len(row) for row in sampler_logprobs] != [len(row) for row in completion_ids]:
            raise ValueError("sampler_logprobs: want one number per completion token, the lengths of rows differ")
        logprobs = torch.zeros(completion_mask.shape, dtype=torch.float32)
        logprobs[completion_mask] = torch.tensor(
            [value for row in sampler_logprobs for value in row], dtype=torch.float32
        )
    rollout = Rollout(
        prompt_ids=prompts,
        prompt_mask=prompt_mask,
        completion_ids=completions,
        completion_mask=completion_mask,
        reasoning_mask=completion_mask,
        group_ids=torch.tensor(groups, dtype=torch.long),
        sampler_logprobs=logprobs,
        finished=None if finished is None else torch.as_tensor(finished, dtype=torch.bool),
        unread=None if unread is None else torch.as_tensor(unread, dtype=torch.long),
    )
    if tokenizer is None:
        lengths = [len(row) - (len(row) > 0 and row[-1] in (eos_ids or ())) for row in completion_ids]
        ends = torch.tensor(lengths, dtype=torch.long)
        reasoning = torch.arange(completions.shape[1]) < ends[:, None]
        return dataclasses.replace(rollout, reasoning_mask=reasoning).to(device)
    return read_anew(rollout, tokenizer, style, eos_ids).to(device)


def _check_ids(name: str, rows: Ids) -> None:
    """Raise ``TypeError`` unless each row has token ids; a tensor of them may be a row."""
    for index, row in enumerate(rows):
        if isinstance(row, Tensor) and row.ndim == 1 and not row.is_floating_point():
            continue
        is_row = not isinstance(row, str) and hasattr(row, "__len__") and hasattr(row, "__iter__")
        if not is_row or any(not isinstance(token, Integral) for token in row):
            raise TypeError(f"{name}[{index}]: got {row!r:.80}, want a list of token ids")


@arguments_named
def read_anew(
    rollout: Rollout,
    tokenizer: PreTrainedTokenizerBase,
    style: CompletionStyle,
    eos_ids: Collection[int] | None = None,
) -> Rollout:
    """The same completions, their reasoning and their own answers read by ``style``.

    Args:
        rollout: the completions.
        tokenizer: of the model that sampled.
        style: how they reason and answer.
        eos_ids: end-of-sequence ids; ``None``: the tokenizer's.
    """
    spans = mark_spans(rollout.completion_ids, rollout.completion_mask, tokenizer, style, eos_ids, rollout.unread)
    return _asking(dataclasses.replace(rollout, reasoning_mask=spans.reasoning_mask), spans.exits)


@arguments_named
def ask_about(
    rollout: Rollout, answers: Sequence[str], tokenizer: PreTrainedTokenizerBase, style: CompletionStyle = USUAL_STYLE
) -> Rollout:
    """The same completions, asked about the answers given here instead of their own.

    Args:
        rollout: the completions.
        answers: a text for each completion, a reference say; one of white space means that there is none.
        tokenizer: of the model that sampled.
        style: the texts that ask for the answer and end it.

    Returns:
        A rollout with new answers and exits, in the tokens with which the tokenizer continues each row's reasoning; the
        other tensors are shared with ``rollout``.

    Raises:
        TypeError: an answer that is no text, or one text in place of several.
        ValueError: not one answer per completion.
    """
    if isinstance(answers, str):
        raise TypeError(f"answers: got the text {answers!r:.80}, want one text for each of {len(rollout)} rows")
    for index, answer in enumerate(answers):
        if not isinstance(answer, str):
            raise TypeError(f"answers[{index}]: got {answer!r:.80}, want a text; of white space where there is none")
    if len(answers) != len(rollout):
        raise ValueError(f"answers: got {len(answers)} texts, want one for each of {len(rollout)} rows")
    up_to_its_end = rollout.reasoning_mask.flip(1).cumsum(1).flip(1) > 0
    reasoned = unpad_rows(rollout.completion_ids, up_to_its_end)
    exits = ExitTokens(tokenizer)
    for context, answer in zip(decode_rows(tokenizer, reasoned), answers, strict=True):
        exits.add(context, style.asked(answer))
    return _asking(rollout, exits.padded(rollout.completion_ids.device))


@arguments_named
def with_answers(rollout: Rollout, reference_ids: Ids) -> Rollout:
    """As `ask_about`, of answers that are tokens: estimators put their own postfix and closing around them.

    Args:
        rollout: the completions.
        reference_ids: the tokens of each completion's reference answer; an empty row means that there is none.

    Returns:
        A rollout with new ``answer_ids`` and ``answer_mask`` and without exits; the other tensors are shared with
        ``rollout``.

    Raises:
        ValueError: not one answer per completion.
    """
    if len(reference_ids) != len(rollout):
        raise ValueError(f"reference_ids: got {len(reference_ids)} answers, want one for each of {len(rollout)} rows")
    answer_ids, answer_mask = pad_rows(reference_ids, 0, device=rollout.completion_ids.device)
    return dataclasses.replace(rollout, answer_ids=answer_ids, answer_mask=answer_mask, exit_ids=None, exit_scored=None)


def _asking(rollout: Rollout, exits: Exits) -> Rollout:
    return dataclasses.replace(
        rollout,
        answer_ids=exits.answer_ids,
        answer_mask=exits.answer_mask,
        exit_ids=exits.exit_ids,
        exit_scored=exits.exit_scored,
    )
