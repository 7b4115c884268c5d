"""The embedded task: arithmetic that a generator writes, which the embedded model solves wordily."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from iapo.embedded import Problem, TokenClass, classify, generate_problems, parse_prompt
from iapo.embedded import rows as embedded_rows
from iapo.embedded import shortest_length as shortest_of
from iapo.embedded.symbols import STEP_ENDS, SYMBOLS
from iapo.styles import CompletionStyle, Steps
from iapo.tasks.interface import Classifier, Row, Split, Task


@dataclass(frozen=True)
class EmbeddedTask(Task):
    """Chains of additions and multiplications modulo 10, by difficulty.

    There is a rule that labels the tokens of completions, and the length of the shortest sufficient reasoning is known,
    as long as the policy reads the prompts as they are.

    Example:
        >>> sorted(EmbeddedTask().rows("train", seed=0, limit=2)[0])
        ['answer', 'difficulty', 'prompt']
    """

    disjoint_splits = True
    seeded = True
    classes = tuple(TokenClass)
    style = CompletionStyle(steps=Steps(lines=False, sentences=False, patterns=STEP_ENDS))

    def __str__(self) -> str:
        return "embedded"

    def rows(self, split: Split = "train", seed: int = 0, limit: int | None = None) -> list[Row]:
        """Generated problems; 4096 without a ``limit``."""
        return [dict(row) for row in embedded_rows(generate_problems(limit or 4096, seed, split))]

    def classifier(self, tokenizer: Any, prompts: Sequence[str]) -> Classifier | None:
        """`iapo.embedded.classify`; ``None`` for prompts or tokens that are not the task's own."""
        own = set(tokenizer.get_vocab()) == set(SYMBOLS) and all(_parsed(prompt) is not None for prompt in prompts)
        return classify if own else None

    def shortest_length(self, prompt: str, tokenizer: Any) -> int | None:
        """`iapo.embedded.shortest_length`; ``None`` for a prompt that is not the task's own."""
        problem = _parsed(prompt)
        return None if problem is None else shortest_of(problem, tokenizer)


def _parsed(prompt: str) -> Problem | None:
    try:
        return parse_prompt(prompt)
    except ValueError:
        return None
