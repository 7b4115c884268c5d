"""The scores of a rollout's completions: decode them, gather their columns, call the reward functions."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from iapo.interfaces import Reward
from iapo.rewards.scores import Scores, score
from iapo.rollout.text import decode_completions
from iapo.types import Rollout


def score_rollout(
    rollout: Rollout,
    rows: Sequence[Mapping[str, Any]],
    tokenizer: Any,
    rewards: Mapping[str, Reward],
    eos_ids: Collection[int] | None = None,
) -> Scores:
    """Scores of a rollout's completions, of which the rewards see the text, the tokens and the row that they answer.

    Args:
        rollout: the completions.
        rows: what each completion answers, one row per completion; ``prompt`` and all other columns go to the rewards.
        tokenizer: decodes the completions.
        rewards: reward functions by name; their sum is the total.
        eos_ids: tokens that end a completion and are no part of its text (`iapo.rollout.eos_ids_of` of its sampler);
            ``None``: the tokenizer's.

    Raises:
        ValueError: as `iapo.rewards.score` raises it.
        RuntimeError: a reward function raised.
    """
    pairs = zip(rollout.completion_ids, rollout.completion_mask, strict=True)
    return score(
        rewards,
        prompts=[row["prompt"] for row in rows],
        completions=decode_completions(tokenizer, rollout, eos_ids),
        completion_ids=[ids[mask].tolist() for ids, mask in pairs],
        columns={name: [row[name] for row in rows] for name in rows[0] if name != "prompt"},
    )
