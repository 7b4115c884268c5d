"""Which problems, and how they are put to the policy: the settings of the data that the commands share."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from jsonargparse.typing import NonNegativeInt, PositiveInt

from iapo.tasks import Row, RowPlace, Split, Task, load_rows, render_prompts, task_from_source
from iapo.tasks.few_shot import choose_examples, examples_of, natural_stop
from iapo.tasks.messages import LastAssistant
from iapo.tasks.prompts import ChatTemplate, applies_chat
from iapo.training.configuration.ranges import check_ranges

LongPrompts = Literal["refuse", "drop"]
"""What becomes of prompts that do not fit the model's positions."""


@dataclass(frozen=True)
class ProblemSource:
    """The problems and how they are put to the policy.

    Args:
        data: embedded, a .jsonl, .json, .csv, .tsv or .parquet file, a pattern of files in quotes or a list of files
            and patterns, reasoning-gym:TASK, a hub id.
        task: a task of one's own by import path, in place of data.
        split: split of a hub data set.
        data_config: configuration of a hub data set that has several.
        limit: use only so many rows.
        prompt_column: column of the problems.
        answer_column: column of the reference answers.
        prompt_template: text around the problem, with {prompt} in it.
        system_prompt: text before the problem, through the chat template, in place of one in the data.
        chat_template: auto puts problems through the model's own chat template if it has one; none leaves texts as they
            are.
        few_shot: so many solved problems of the data, chosen by the seed and used for nothing else, stand before each
            problem: as turns of the chat, or as text.
        chat_template_kwargs: further arguments of the chat template, by name.
        last_assistant: a message of the assistant at the end of a prompt is refused, dropped, or continued.
        long_prompts: those that do not fit the model's positions are refused or dropped.
    """

    data: str | list[str] = "embedded"
    task: Task | None = None
    split: str = "train"
    data_config: str | None = None
    limit: PositiveInt | None = None
    prompt_column: str = "prompt"
    answer_column: str = "answer"
    prompt_template: str | None = None
    system_prompt: str | None = None
    chat_template: ChatTemplate = "auto"
    few_shot: NonNegativeInt = 0
    chat_template_kwargs: dict[str, Any] | None = None
    last_assistant: LastAssistant = "refuse"
    long_prompts: LongPrompts = "refuse"

    def __post_init__(self) -> None:
        check_ranges(self)

    def resolve(self) -> Task:
        """The task that ``task`` or, without one, ``data`` names."""
        return task_from_source(self.data, self.split, self.data_config) if self.task is None else self.task

    def load(self, seed: int) -> list[Row]:
        """The problems of the training split, as the data have them.

        Args:
            seed: of problems that are generated.
        """
        return self.load_split("train", seed, self.limit)

    def load_split(self, split: Split, seed: int, limit: int | None) -> list[Row]:
        """The problems of a split, as the data have them."""
        columns = self.prompt_column, self.answer_column
        return load_rows(self.resolve(), split, seed, limit, *columns, self.last_assistant)

    def places(self, indices: Iterable[int]) -> list[RowPlace]:
        """Rows by their places in the data, which errors name."""
        task = self.resolve()
        return [RowPlace(task, index) for index in indices]

    def examples(self, rows: Sequence[Row], seed: int) -> list[int]:
        """The places of the rows that stand before each problem; none without ``few_shot``.

        Raises:
            ValueError: too few problems, or rows without a worked solution.
        """
        places = choose_examples(rows, self.few_shot, seed) if self.few_shot else []
        examples_of([rows[place] for place in places])
        return places

    def stop(self, examples: Sequence[Row], tokenizer: Any) -> tuple[str, ...]:
        """The texts that end a completion behind these examples: none where a chat template ends turns."""
        if not examples or applies_chat(tokenizer, self.chat_template):
            return ()
        return natural_stop(examples_of(examples), self.prompt_template)

    def render(
        self,
        rows: Sequence[Row],
        tokenizer: Any,
        numbers: Sequence[object] | None = None,
        examples: Sequence[Row] = (),
    ) -> list[Row]:
        """Rows whose ``prompt`` is the text that the policy reads.

        Args:
            rows: as the data have them.
            tokenizer: of the policy.
            numbers: of the rows in the data, for errors; ``None``: their places in ``rows``.
            examples: the rows that stand before each problem.
        """
        return render_prompts(
            rows,
            tokenizer,
            self.system_prompt,
            self.prompt_template,
            self.chat_template_kwargs,
            self.last_assistant,
            numbers,
            self.chat_template,
            examples_of(examples),
        )
