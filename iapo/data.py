"""Where problems come from: the embedded task, a local file, a hub data set, or a reasoning-gym task."""

import hashlib
import json
import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from iapo.embedded import generate_problems
from iapo.embedded import rows as embedded_rows

Row = dict[str, Any]

_LOADERS = {".jsonl": "json", ".json": "json", ".csv": "csv", ".parquet": "parquet"}


def load_rows(
    source: str,
    split: str = "train",
    limit: int | None = None,
    seed: int = 0,
    prompt_column: str = "prompt",
    answer_column: str = "answer",
) -> list[Row]:
    """Problems as rows with the columns ``prompt`` and ``answer``, and whatever else the source has.

    Args:
        source: ``embedded``; a path ending in .jsonl, .json, .csv or .parquet; ``reasoning-gym:TASK``; else the id of a
            data set on the hub or a local data set directory.
        split: of a hub data set.
        limit: how many rows; ``None``: all of a file, 4096 of a generated task.
        seed: of a generated task.
        prompt_column: the column that becomes ``prompt``.
        answer_column: the column that becomes ``answer``.

    Raises:
        FileNotFoundError: a file that is not there.
        ModuleNotFoundError: a missing extra, ``train`` or ``tasks``; it is named.
        ValueError: no rows, or a missing column; wanted and found are named.
    """
    if source == "embedded":
        rows: list[Row] = [dict(row) for row in embedded_rows(generate_problems(limit or 4096, seed, "train"))]
    elif source.startswith("reasoning-gym:"):
        rows = _reasoning_gym(source.partition(":")[2], limit or 4096, seed)
    else:
        rows = _datasets(source, split, limit)
    if not rows:
        raise ValueError(f"data: {source} has no rows")
    missing = [column for column in (prompt_column, answer_column) if column not in rows[0]]
    if missing:
        raise ValueError(f"data: {source} has no column {missing}, it has {sorted(rows[0])}")
    return [{**row, "prompt": row[prompt_column], "answer": row[answer_column]} for row in rows]


def _reasoning_gym(task: str, count: int, seed: int) -> list[Row]:
    try:
        import reasoning_gym
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError("reasoning_gym is missing: install the extra, pip install 'iapo[tasks]'") from error
    data = reasoning_gym.create_dataset(task, size=count, seed=seed)
    return [{"prompt": e["question"], "answer": e["answer"], "entry": json.dumps(e, default=str)} for e in data]


def _datasets(source: str, split: str, limit: int | None) -> list[Row]:
    try:
        import datasets
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError("datasets is missing: install the extra, pip install 'iapo[train]'") from error
    path = Path(source).expanduser()
    if path.suffix in _LOADERS:
        if not path.is_file():
            raise FileNotFoundError(f"data: no file {source}")
        data = datasets.load_dataset(_LOADERS[path.suffix], data_files=str(path), split="train")
    else:
        data = datasets.load_dataset(source, split=split)
    return [dict(row) for row in (data if limit is None else data.select(range(min(limit, len(data)))))]


def hold_out(rows: Sequence[Row], count: int) -> tuple[list[Row], list[Row]]:
    """Split rows into those to train on and ``count`` to evaluate on, by a hash of the prompt.

    The same rows are held out whatever their order and number of copies: a prompt is never on both sides.

    Returns:
        Rows to train on and rows held out (one per prompt).

    Raises:
        ValueError: fewer than ``count + 1`` distinct prompts.
    """
    distinct = {json.dumps(row["prompt"]): row for row in rows}
    if len(distinct) <= count:
        raise ValueError(
            f"eval_problems: got {count}, want fewer than the {len(distinct)} distinct prompts of the data"
        )
    order = sorted(distinct, key=lambda prompt: hashlib.sha256(prompt.encode()).digest())
    held = set(order[:count])
    return [row for row in rows if json.dumps(row["prompt"]) not in held], [
        distinct[prompt] for prompt in order[:count]
    ]


def render_prompts(
    rows: Sequence[Row], tokenizer: Any, system_prompt: str | None = None, template: str | None = None
) -> list[Row]:
    """Rows whose ``prompt`` is the text that the model reads.

    Args:
        rows: prompts are texts or lists of chat messages.
        tokenizer: its chat template, if it has one, is applied to messages and to texts with a system prompt.
        system_prompt: put before the problem.
        template: text in which ``{prompt}`` stands for the problem.

    Raises:
        ValueError: a template without ``{prompt}``, or messages for a tokenizer without chat template.
    """
    if template is not None and "{prompt}" not in template:
        raise ValueError(f"prompt_template: got {template!r}, want a text with {{prompt}} in it")

    def render(prompt: Any) -> str:
        if isinstance(prompt, str) and template is not None:
            prompt = template.replace("{prompt}", prompt)
        if isinstance(prompt, str) and system_prompt is None:
            return prompt
        if tokenizer.chat_template is None:
            if not isinstance(prompt, str):
                raise ValueError("prompt: got chat messages, but the tokenizer has no chat template")
            return f"{system_prompt}\n\n{prompt}"
        messages = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else list(prompt)
        if system_prompt is not None:
            messages = [{"role": "system", "content": system_prompt}, *messages]
        return str(tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True))

    return [{**row, "prompt": render(row["prompt"])} for row in rows]


class PromptStream:
    """Batches of rows without end, each epoch in an order of its own, from a position that can be saved.

    Args:
        rows: the data.
        batch: rows per batch.
        seed: of the orders.

    Raises:
        ValueError: ``batch`` below 1 or above the number of rows.
    """

    def __init__(self, rows: Sequence[Row], batch: int, seed: int) -> None:
        if not 1 <= batch <= len(rows):
            raise ValueError(f"prompts_per_step: got {batch}, want 1 to the number of problems, {len(rows)}")
        self._rows, self._batch, self._seed, self._position = rows, batch, seed, 0

    def next(self) -> list[Row]:
        """The next batch; the rows that do not fill one at the end of an epoch wait for another epoch."""
        per_epoch = len(self._rows) // self._batch
        epoch, index = divmod(self._position, per_epoch)
        order = list(range(len(self._rows)))
        random.Random(f"{self._seed}/{epoch}").shuffle(order)
        self._position += 1
        return [self._rows[i] for i in order[index * self._batch : (index + 1) * self._batch]]

    def state(self) -> dict[str, int]:
        """Batches taken so far."""
        return {"position": self._position}

    def restore(self, state: Mapping[str, int]) -> None:
        """Go on after that many batches."""
        self._position = state["position"]
