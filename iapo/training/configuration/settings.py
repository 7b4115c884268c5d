"""The settings that the commands share: which policy, which problems, and how a run trains.

Each is a frozen dataclass whose fields are flags of the command line, with their help and their defaults: the embedded
task, and what works on it.
"""

from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

import torch
from jsonargparse.typing import NonNegativeInt, PositiveFloat, PositiveInt, restricted_number_type
from transformers import PreTrainedModel

from iapo.policy.loading import choose_autocast, choose_device, load_model, load_tokenizer
from iapo.policy.lora import LoRA
from iapo.rewards.rollouts import TIME_LIMIT
from iapo.tasks import Row, RowPlace, Split, Task, load_rows, render_prompts, task_from_source
from iapo.tasks.few_shot import choose_examples, examples_of, natural_stop
from iapo.tasks.messages import LastAssistant
from iapo.tasks.prompts import ChatTemplate, applies_chat
from iapo.training.checkpoints.checkpoint import FORMAT
from iapo.training.checkpoints.folder import MANIFEST, verify_folder
from iapo.training.components import Answer
from iapo.training.reporting.tracking import TrackerName

GroupSize = restricted_number_type("GroupSize", int, (">=", 2), docstring="int restricted to be ≥2")
"""A completion needs at least one other to be compared with."""

Seed = restricted_number_type(
    "Seed", int, [(">=", -(2**63)), ("<", 2**63)], docstring="int restricted to be ≥-2^63 and <2^63"
)
"""What torch's generators take."""


@dataclass(frozen=True)
class PolicySource:
    """The policy and how its forwards run.

    Args:
        model: embedded, a directory, a hub id, or a .gguf file.
        device: auto is CUDA if there is one, else the CPU.
        precision: of forwards; auto is bf16 on CUDA.
        trust_remote_code: run code that comes with a model.
    """

    model: str = "embedded"
    device: str = "auto"
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    trust_remote_code: bool = False

    def torch_device(self) -> torch.device:
        """The device that ``device`` names on this machine."""
        return choose_device(self.device)

    def autocast(self) -> torch.dtype | None:
        """The reduced precision of forwards on that device; ``None``: that of the weights."""
        return choose_autocast(self.precision, self.torch_device())

    def autocast_context(self) -> AbstractContextManager[Any]:
        """A new context in which forwards on that device run in that precision."""
        dtype = self.autocast()
        return nullcontext() if dtype is None else torch.autocast(self.torch_device().type, dtype)

    def tokenizer(self) -> Any:
        """The tokenizer of ``model``."""
        return load_tokenizer(self.model, self.trust_remote_code)

    def load(self, checkpoint: Path | None = None) -> tuple[PreTrainedModel, Any]:
        """The model and its tokenizer, of a ``checkpoint`` in place of ``model`` if one is given.

        Raises:
            DamagedCheckpointError: ``model`` is a checkpoint of a run, and is not what was written; a ``checkpoint`` is
                taken as it is.
        """
        source = self.model if checkpoint is None else str(checkpoint)
        folder = Path(source).expanduser().resolve()
        # Folders of others may have a manifest of another kind.
        if checkpoint is None and (folder / MANIFEST).is_file() and (folder / "state.json").is_file():
            verify_folder(folder, FORMAT)
        return load_model(source, self.torch_device(), trust_remote_code=self.trust_remote_code)


@dataclass(frozen=True)
class ProblemSource:
    """The problems and how they are put to the policy.

    Args:
        data: embedded, a .jsonl, .json, .csv, .tsv or .parquet file, reasoning-gym:TASK, a hub id.
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

    data: str = "embedded"
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
    long_prompts: Literal["refuse", "drop"] = "refuse"

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


@dataclass(frozen=True)
class RunSettings:
    """A training run: its folder, its length and its size.

    Args:
        output: run folder.
        resume: go on from the newest checkpoint of the run folder, if it has one.
        override: resume although settings, data or versions differ.
        seed: of everything random.
        steps: updates, at most.
        max_tokens: end after the update in which so many tokens are sampled.
        prompts_per_step: prompts of an update.
        group_size: completions of a prompt.
        micro_batch: completions per forward; it changes memory and speed, not the update.
        gradient_checkpointing: keep only the inputs of layers for the backward, and compute the rest again; it changes
            memory and speed, not the update.
        lora: train low-rank adapters in place of the weights; lora.r 0 trains all weights.
        shard: share weights, gradients and the optimizer's state out over the processes (FSDP2).
        epochs: optimizer steps on the same completions.
        resample: rounds in which groups of equal rewards give way to fresh prompts.
        reward_time_limit: seconds that a reward function may take over the completions of an update, or over those of
            an evaluation that are sampled together.
        log_samples: of each update so many completions, the first, are kept to be read; 0 keeps none.
        diagnose: every how many updates the length and the information are diagnosed; 0 is never.
        answer: what the estimator is asked about, the own or the reference answer.
        warmup_steps: steps over which the learning rate rises.
        max_grad_norm: the gradient is scaled down to this L2 norm.
        eval_problems: problems held out for the report.
        eval_samples: completions of each held-out problem.
        eval_batch: completions of an evaluation that are sampled together, behind which the report so far is written;
            default is all. It changes the random numbers of each, not what is measured.
        checkpoint_every: steps between checkpoints.
        keep_checkpoints: checkpoints kept.
        tracker: also sends the metrics to tensorboard (in the run folder), wandb or trackio, where it is installed.
    """

    output: str = "runs/embedded"
    resume: bool = False
    override: bool = False
    seed: Seed = 0  # type: ignore[valid-type]
    steps: PositiveInt = 60
    max_tokens: PositiveInt | None = None
    prompts_per_step: PositiveInt = 32
    group_size: GroupSize = 8  # type: ignore[valid-type]
    micro_batch: PositiveInt = 32
    gradient_checkpointing: bool = False
    lora: LoRA = field(default_factory=LoRA)
    shard: bool = False
    epochs: PositiveInt = 1
    resample: NonNegativeInt = 0
    reward_time_limit: PositiveFloat | None = TIME_LIMIT
    log_samples: NonNegativeInt = 8
    diagnose: NonNegativeInt = 10
    answer: Answer = "own"
    warmup_steps: NonNegativeInt = 0
    max_grad_norm: PositiveFloat = 1.0
    eval_problems: PositiveInt = 256
    eval_samples: PositiveInt = 4
    eval_batch: PositiveInt | None = None
    checkpoint_every: PositiveInt = 20
    keep_checkpoints: PositiveInt = 2
    tracker: TrackerName = "none"

    def __post_init__(self) -> None:
        check_ranges(self)
        if not self.output:
            raise ValueError("output: got an empty text, want the name of a run folder")


def check_ranges(record: object) -> None:
    """Raise ``ValueError`` if a number of a dataclass is outside of the range that its field's type stands for.

    The command line checks flags by the same types; this is for records that are made in Python.

    Example:
        >>> RunSettings(steps=0)
        Traceback (most recent call last):
        ...
        ValueError: steps: got 0, want an int restricted to be >0
    """
    for each in fields(record):  # type: ignore[arg-type]
        value = getattr(record, each.name)
        kinds: tuple[Any, ...] = getattr(each.type, "__args__", (each.type,))
        for kind in kinds:
            if value is not None and getattr(kind, "__module__", "") == PositiveInt.__module__:
                try:
                    kind(value)
                except ValueError as error:
                    raise ValueError(f"{each.name}: got {value}, want an {kind.__doc__}") from error
