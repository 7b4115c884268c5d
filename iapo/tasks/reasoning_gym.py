"""Problems that reasoning-gym generates and scores."""

import json
from dataclasses import dataclass

from iapo.ops.checks import check_kinds
from iapo.ops.extras import check_installed
from iapo.ops.near_names import did_you_mean
from iapo.tasks.interface import Row, Split, Task


@dataclass(frozen=True)
class ReasoningGymTask(Task):
    """A task of reasoning-gym; the column ``entry`` is what `iapo.rewards.ReasoningGymAnswer` scores by.

    Args:
        name: the task's name in reasoning-gym.
    """

    name: str

    seeded = True

    def __post_init__(self) -> None:
        check_kinds(self)

    def __str__(self) -> str:
        return f"reasoning-gym:{self.name}"

    def rows(self, split: Split = "train", seed: int = 0, limit: int | None = None) -> list[Row]:
        """Generated problems, 4096 without a ``limit``, whatever the split.

        Raises:
            ModuleNotFoundError: the extra ``tasks`` is not installed.
            ValueError: no task of that name, or one whose entries do not survive as JSON, which would change scores.
        """
        check_installed("reasoning_gym", "tasks")
        import reasoning_gym

        known = reasoning_gym.factory.DATASETS
        if self.name not in known:
            some = f"; it has {len(known)}, such as reasoning-gym:{sorted(known)[0]}"
            near = did_you_mean(self.name, known, "reasoning-gym:") or some
            raise ValueError(f"data: reasoning-gym has no task {self.name!r}{near}")
        entries = list(reasoning_gym.create_dataset(self.name, size=limit or 4096, seed=seed))
        texts = [json.dumps(entry, default=str) for entry in entries]
        score = reasoning_gym.get_score_answer_fn(self.name)
        for entry, text in zip(entries[:1], texts, strict=False):
            if score(entry["answer"], entry) != score(entry["answer"], json.loads(text)):
                raise ValueError(
                    f"data: the entries of reasoning-gym:{self.name} do not survive as JSON, their scores change"
                )
        # Tasks with many right answers give none.
        answers = ["" if entry["answer"] is None else entry["answer"] for entry in entries]
        return [
            {"prompt": entry["question"], "answer": answer, "entry": text}
            for entry, answer, text in zip(entries, answers, texts, strict=True)
        ]
