"""How completions are scored, and which of them are right."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jaxtyping import Bool
from torch import Tensor

from iapo.interfaces import Reward
from iapo.rewards.rollouts import score_rollout
from iapo.rewards.scores import Scores
from iapo.types import Rollout

Rows = Sequence[Mapping[str, Any]]
"""Problems: ``prompt``, and the columns that the rewards read."""


@dataclass(frozen=True)
class Scoring:
    """How completions are scored.

    Args:
        tokenizer: decodes completions for the rewards.
        rewards: the first one says whether a completion is right; others, for form or length, do not.
        eos_ids: tokens that end a completion; ``None``: the tokenizer's.
        score: calls the rewards, as `iapo.rewards.score_rollout` does.
    """

    tokenizer: Any
    rewards: Mapping[str, Reward]
    eos_ids: Collection[int] | None = None
    score: Callable[..., Scores] = score_rollout

    def correct(self, rollout: Rollout, rows: Rows) -> Bool[Tensor, " batch"]:
        """Which completions are right, on the CPU.

        Args:
            rollout: its group ids say which of the problems a completion answers.
            rows: the problems.
        """
        return self.scores(rollout, rows).correct

    def scores(self, rollout: Rollout, rows: Rows) -> Scores:
        """The scores of all completions; arguments are those of `correct`."""
        answered = [rows[group] for group in rollout.group_ids.tolist()]
        return self.score(rollout, answered, self.tokenizer, self.rewards, self.eos_ids)
