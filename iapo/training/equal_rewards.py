"""Updates from which nothing is learned, because all rewards of each group are equal."""

import warnings
from dataclasses import dataclass


@dataclass
class EqualRewards:
    """Warns when in several updates, one after the other, all groups had equal rewards: nothing is learned from them.

    Args:
        updates: how many updates it takes.
    """

    updates: int = 5
    _seen: int = 0

    def see(self, metrics: dict[str, float]) -> None:
        """Take note of an update by its metrics, ``reward`` and ``iapo/groups/equal_rewards``."""
        self._seen = self._seen + 1 if metrics.get("iapo/groups/equal_rewards") == 1 else 0
        if self._seen != self.updates:
            return
        warnings.warn(
            f"in each of {self.updates} updates all completions of every prompt got equal rewards (now "
            f"{metrics['reward']:.4g}), from which nothing is learned. Where the policy is never right, look at its "
            "completions (iapo inspect), take easier problems or a larger --group_size; where it is always right, "
            "harder problems. --resample passes over such prompts where others are left",
            stacklevel=2,
        )
