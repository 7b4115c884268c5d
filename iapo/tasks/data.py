"""Where problems come from: the embedded task, a local file, a hub data set, or a reasoning-gym task."""

import csv
import hashlib
import json
import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from iapo.embedded import generate_problems
from iapo.embedded import rows as embedded_rows

Row = dict[str, Any]

_FILES = (".jsonl", ".json", ".csv", ".parquet")


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
        ValueError: no rows, a missing column (wanted and found are named), a row without a prompt or a line that cannot
            be read (it is named), or a task whose entries do not survive as JSON.
    """
    if source == "embedded":
        rows: list[Row] = [dict(row) for row in embedded_rows(generate_problems(limit or 4096, seed, "train"))]
    elif source.startswith("reasoning-gym:"):
        rows = _reasoning_gym(source.partition(":")[2], limit or 4096, seed)
    elif Path(source).suffix in _FILES:
        rows = _file(source, limit)
    else:
        rows = _taken(_datasets().load_dataset(source, split=split), limit)
    if not rows:
        raise ValueError(f"data: {source} has no rows")
    for index, row in enumerate(rows):
        missing = [column for column in (prompt_column, answer_column) if column not in row]
        if missing:
            raise ValueError(f"data: {source} has no column {missing}, it has {sorted(row)} (row {index})")
        empty = [column for column in (prompt_column, answer_column) if row[column] is None or row[column] == []]
        if empty or row[prompt_column] == "":
            raise ValueError(f"data: {source} has nothing in {empty or [prompt_column]} of row {index}")
    return [{**row, "prompt": _sound(row[prompt_column]), "answer": _sound(row[answer_column])} for row in rows]


def _sound(value: Any) -> Any:
    """Text without lone surrogates, which no tokenizer takes; anything else as it is."""
    return value.encode("utf-8", "replace").decode("utf-8") if isinstance(value, str) else value


def _reasoning_gym(task: str, count: int, seed: int) -> list[Row]:
    try:
        import reasoning_gym
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError("reasoning_gym is missing: install the extra, pip install 'iapo[tasks]'") from error
    entries = list(reasoning_gym.create_dataset(task, size=count, seed=seed))
    texts = [json.dumps(entry, default=str) for entry in entries]
    judge = reasoning_gym.get_score_answer_fn(task)
    for entry, text in zip(entries[:1], texts, strict=False):
        if judge(entry["answer"], entry) != judge(entry["answer"], json.loads(text)):
            raise ValueError(f"data: the entries of reasoning-gym:{task} do not survive as JSON, their scores change")
    # Tasks with many right answers give none.
    answers = ["" if entry["answer"] is None else entry["answer"] for entry in entries]
    return [
        {"prompt": entry["question"], "answer": answer, "entry": text}
        for entry, answer, text in zip(entries, answers, texts, strict=True)
    ]


def _file(source: str, limit: int | None) -> list[Row]:
    """Rows of a local file. Fields of a CSV file are text: ``007`` stays, and ``NA`` is no missing value."""
    path = Path(source).expanduser()
    if not path.is_file():
        raise FileNotFoundError(f"data: no file {source}")
    if path.suffix == ".parquet":
        return _taken(_datasets().Dataset.from_parquet(str(path), keep_in_memory=True), limit)
    with path.open(encoding="utf-8", newline="") as file:
        if path.suffix == ".json":
            rows = json.load(file)
        elif path.suffix == ".csv":
            rows = list(csv.DictReader(file, restkey="", strict=True))
        else:
            rows = [_line(source, number, line) for number, line in enumerate(file, 1) if line.strip()]
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise ValueError(f"data: {source} holds something else than one object per row")
    return rows[:limit]


def _line(source: str, number: int, line: str) -> Any:
    try:
        return json.loads(line)
    except ValueError as error:
        raise ValueError(f"data: line {number} of {source} is no JSON: {error}") from error


def _datasets() -> Any:
    try:
        import datasets
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError("datasets is missing: install the extra, pip install 'iapo[train]'") from error
    return datasets


def _taken(data: Any, limit: int | None) -> list[Row]:
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
        system_prompt: put before the problem. Empty: a chat without a system message.
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
            return f"{system_prompt}\n\n{prompt}" if system_prompt else prompt
        messages = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else list(prompt)
        if system_prompt:
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
        text = json.dumps(list(rows), sort_keys=True, default=str)
        self._digest = int.from_bytes(hashlib.sha256(text.encode()).digest()[:6])

    def next(self) -> list[Row]:
        """The next batch; the rows that do not fill one at the end of an epoch wait for another epoch."""
        per_epoch = len(self._rows) // self._batch
        epoch, index = divmod(self._position, per_epoch)
        order = list(range(len(self._rows)))
        random.Random(f"{self._seed}/{epoch}").shuffle(order)
        self._position += 1
        return [self._rows[i] for i in order[index * self._batch : (index + 1) * self._batch]]

    def state(self) -> dict[str, int]:
        """Batches taken so far, and a digest of the rows."""
        return {"position": self._position, "digest": self._digest}

    def restore(self, state: Mapping[str, int], override: bool = False) -> None:
        """Go on after that many batches.

        Args:
            state: from `state`.
            override: go on although the rows are others than they were.

        Raises:
            ValueError: the rows are others than they were.
        """
        if state["digest"] != self._digest and not override:
            raise ValueError("data: the rows are others than when the state was saved (override to go on all the same)")
        self._position = state["position"]
