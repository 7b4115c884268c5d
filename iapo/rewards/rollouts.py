"""The scores of a rollout's completions: decode them, gather their columns, call the reward functions."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from iapo.interfaces import PROMPT_MESSAGES, Reward
from iapo.ops.arguments import arguments_named
from iapo.ops.correct import CORRECT_ABOVE
from iapo.ops.padding import unpad_rows
from iapo.rewards.columns import check_rows
from iapo.rewards.scores import Scores, score
from iapo.rollout.ends import ended_if_known
from iapo.tokenization.decoding import decode_completions
from iapo.types import Rollout

TIME_LIMIT = 600.0
"""Seconds that a reward function may take over a batch, unless another limit is given."""


@arguments_named
def score_rollout(
    rollout: Rollout,
    rows: Sequence[Mapping[str, Any]],
    tokenizer: Any,
    rewards: Mapping[str, Reward],
    eos_ids: Collection[int] | None = None,
    time_limit: float | None = TIME_LIMIT,
    correct_above: float = CORRECT_ABOVE,
) -> Scores:
    """Score a rollout's completions: rewards see their texts, their tokens and the rows of data that they answer.

    Of a row with the column ``prompt_messages`` (`iapo.tasks.render_prompts` writes it for prompts that are messages)
    rewards get the messages as its prompt, and the completion as messages too: ``[{"role": "assistant", "content":
    text}]``, as TRL gives them. Whether a completion came to its end they get as ``completion_finished``.

    Args:
        rollout: the completions.
        rows: what each completion answers, one row per completion; ``prompt`` and all other columns go to the rewards.
            A column that a row lacks is ``None`` there.
        tokenizer: decodes the completions.
        rewards: reward functions by name; their sum is the total.
        eos_ids: tokens that end a completion and are no part of its text (`iapo.rollout.eos_ids_of` of its sampler);
            ``None``: the tokenizer's, and whether a completion came to its end is known only if the rollout says it.
        time_limit: seconds that one function may take over the batch; ``None``: no limit.
        correct_above: a completion is correct if its score by the first function is above this.

    Raises:
        ValueError: not one row per completion, a row without a prompt, or as `iapo.rewards.score` raises it.
        RuntimeError: a reward function raised.
        TimeoutError: one took longer than ``time_limit``.
    """
    if len(rows) != len(rollout):
        raise ValueError(
            f"rows: got {len(rows)} for {len(rollout)} completions, want what each completion answers: "
            "[problems[group] for group in rollout.group_ids.tolist()]"
        )
    if len(rows):
        check_rows(rows)
    texts = decode_completions(tokenizer, rollout, eos_ids)
    whole = ended_if_known(rollout, eos_ids)
    names = dict.fromkeys(name for row in rows for name in row if name not in ("prompt", PROMPT_MESSAGES))
    return score(
        rewards,
        prompts=[row["prompt"] if row.get(PROMPT_MESSAGES) is None else row[PROMPT_MESSAGES] for row in rows],
        completions=[
            text if row.get(PROMPT_MESSAGES) is None else [{"role": "assistant", "content": text}]
            for text, row in zip(texts, rows, strict=True)
        ],
        completion_ids=unpad_rows(rollout.completion_ids, rollout.completion_mask),
        columns={name: [row.get(name) for row in rows] for name in names},
        time_limit=time_limit,
        finished=None if whole is None else whole.tolist(),
        correct_above=correct_above,
    )
