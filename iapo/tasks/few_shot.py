"""Few-shot examples: solved problems that stand before each problem, chosen from the data and rendered."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from iapo.styles import MARKED_STYLE
from iapo.tasks.interface import Row
from iapo.tasks.messages import Message, plain_prompt, problem_of

SOLUTION_COLUMNS = ("solution", "rationale", "reasoning", "explanation", "answer")
"""Where worked solutions usually stand. An ``answer`` is one if it marks its answer behind other text, as in GSM8K."""

TEMPLATE = "Question: {prompt}\nAnswer:"
"""How a problem is put where there is neither a chat template nor a template of one's own."""


@dataclass(frozen=True)
class Example:
    """A solved problem.

    Args:
        prompt: the problem, a text.
        solution: the worked solution, its answer included, as the data have it.
    """

    prompt: str
    solution: str


def choose_examples(rows: Sequence[Row], count: int, seed: int) -> list[int]:
    """The places of the rows that serve as examples: ``count`` problems by a hash of seed and problem.

    Args:
        rows: as `iapo.tasks.load_rows` gives them.
        count: how many.
        seed: another one chooses others.

    Raises:
        ValueError: not more problems than that.
    """
    first = {problem: place for place, problem in reversed(list(enumerate(problem_of(row["prompt"]) for row in rows)))}
    if count >= len(first):
        raise ValueError(f"few_shot: got {count}, want fewer than the {len(first)} distinct problems of the data")
    chosen = sorted(first, key=lambda problem: hashlib.sha256(f"{seed}/{problem}".encode("utf-8", "replace")).digest())
    return [first[problem] for problem in chosen[:count]]


def solution_column(rows: Sequence[Row]) -> str:
    """The column that holds the worked solution of all these rows.

    Raises:
        ValueError: there is none.
    """
    for name in SOLUTION_COLUMNS:
        if all(isinstance(row.get(name), str) and _is_worked(name, row[name]) for row in rows):
            return name
    raise ValueError(
        f"few_shot: the data have no worked solutions, neither in a column {', '.join(SOLUTION_COLUMNS[:-1])} nor in "
        f"answers such as GSM8K's, which end in '#### 72'; the columns are {sorted(rows[0])}. Leave --few_shot out, or "
        "write examples into --prompt_template"
    )


def examples_of(rows: Sequence[Row]) -> tuple[Example, ...]:
    """Rows as examples.

    Raises:
        ValueError: no worked solutions, or a problem of several messages of the user.
    """
    if not rows:
        return ()
    column = solution_column(rows)
    return tuple(Example(_asked(plain_prompt(row["prompt"])), row[column].strip()) for row in rows)


def as_turns(examples: Sequence[Example], template: str | None) -> list[Message]:
    """Examples as turns of a chat."""
    turns = []
    for each in examples:
        turns.append({"role": "user", "content": (template or "{prompt}").replace("{prompt}", each.prompt)})
        turns.append({"role": "assistant", "content": each.solution})
    return turns


def as_text(examples: Sequence[Example], template: str | None) -> str:
    """Examples as the text that stands before a problem, an empty line behind each."""
    blocks = [f"{(template or TEMPLATE).replace('{prompt}', each.prompt)} {each.solution}\n\n" for each in examples]
    return "".join(blocks)


def natural_stop(examples: Sequence[Example], template: str | None) -> tuple[str, ...]:
    r"""The text with which a completion of a few-shot text would go on to a problem of its own.

    What the template writes before a problem, in a new line; of a template that begins with the problem an empty line,
    unless the examples themselves have empty lines.

    Example:
        >>> natural_stop((Example("1+1?", "1+1=2\n#### 2"),), None)
        ('\nQuestion:',)
    """
    head = (template or TEMPLATE).partition("{prompt}")[0].strip()
    if head:
        return (f"\n{head}",)
    return () if not examples or any("\n\n" in each.solution for each in examples) else ("\n\n",)


def _is_worked(column: str, text: str) -> bool:
    """Whether a text is a solution and not the answer alone."""
    if column != "answer":
        return bool(text.strip())
    marked = MARKED_STYLE.read(text).marked
    return marked is not None and bool(text[: marked.opening].strip())


def _asked(prompt: str | Sequence[Mapping[str, Any]]) -> str:
    if isinstance(prompt, str):
        return prompt
    asked = [message["content"] for message in prompt if message["role"] == "user"]
    if len(asked) != 1:
        raise ValueError(f"few_shot: an example has {len(asked)} messages of the user, want one")
    return str(asked[0])
