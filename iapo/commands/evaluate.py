"""`iapo eval`: several models on the same problems, as a table and as JSON."""

import dataclasses
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch
from jsonargparse.typing import NonNegativeInt, PositiveFloat, PositiveInt
from torch import nn

from iapo.commands.last_line import quoted_path, say_where
from iapo.evaluation import EvaluationResult, ForcedAnswers, evaluate, lines_of, markdown_table, samples_beside
from iapo.interfaces import Reward, Sampler
from iapo.ops.text_files import check_writable, write_text
from iapo.policy.limits import limits_of
from iapo.rewards import in_style
from iapo.rewards.rollouts import TIME_LIMIT, score_rollout
from iapo.styles import CompletionStyle
from iapo.tasks import Row
from iapo.tasks.splitting import split_indices
from iapo.training.configuration.settings import PolicySource, ProblemSource, Seed, check_ranges
from iapo.training.configuration.styles import AUTO, StyleSource, sampler_in_style
from iapo.training.configuration.trained_problems import warn_of_trained
from iapo.training.reporting.progress import CommandProgress
from iapo.training.session import greedy_beside, longest
from iapo.training.setup.finding_style import choose_style, warn_of_style
from iapo.training.setup.fitting import Room, new_tokens, reserved_by
from iapo.training.setup.problems import Problems
from iapo.training.setup.sent import stopping, tell_sent


@dataclass(frozen=True)
class EvaluationSettings:
    """An evaluation: of which models, on how many problems.

    Args:
        models: directories, checkpoints, hub ids, GGUF files.
        seed: of the problems and of the sampling.
        problems: how many problems, those held out by the same number in training.
        samples: completions of each problem.
        ks: of Pass@k, Length@k and Ratio@k, none above the samples; null is 1, 2, 4 and so on up to the samples.
        budgets: reasoning tokens at which the samples are cut and their answers asked for; auto takes them from the
            lengths of the first model's samples, an empty list does not measure it.
        budget_samples: so many samples of each problem are cut, at most.
        answer_tokens: of an answer that is asked for, at most.
        reward_time_limit: seconds that a reward function may take over completions that are sampled together: a model's
            samples, its likeliest completions, or the answers at budgets.
        output: a .json file for all numbers, with all sampled texts in a .jsonl file beside it; a table goes to
            standard output.

    Raises:
        ValueError: no model, or one twice, a number out of range, a k above ``samples`` or below 1, or a negative
            budget.
    """

    models: list[str] = field(default_factory=lambda: ["embedded"])
    seed: Seed = 0
    problems: PositiveInt = 256
    samples: PositiveInt = 32
    ks: list[int] | None = None
    budgets: Literal["auto"] | list[NonNegativeInt] = "auto"
    budget_samples: PositiveInt = 8
    answer_tokens: PositiveInt = 32
    reward_time_limit: PositiveFloat | None = TIME_LIMIT
    output: str | None = None

    def __post_init__(self) -> None:
        check_ranges(self)
        if not self.models or len(set(map(_place, self.models))) < len(self.models):
            raise ValueError(f"models: got {self.models}, want at least one, and each once")
        if self.output is not None and Path(self.output).suffix == ".jsonl":
            raise ValueError(f"output: got {self.output}, want a name ending in .json; texts go beside it into .jsonl")
        wrong = [k for k in self.measured_ks if not 1 <= k <= self.samples]
        if wrong:
            raise ValueError(f"ks: got {wrong}, want 1 to the number of samples, {self.samples}")

    @property
    def measured_ks(self) -> list[int]:
        """``ks``, or the powers of two that stand for it."""
        return [1 << power for power in range(self.samples.bit_length())] if self.ks is None else self.ks

    def forced(self, style: CompletionStyle) -> ForcedAnswers | None:
        """How answers are asked for at budgets, with the texts of a style; ``None``: not at all.

        Raises:
            ValueError: budgets, but no text that asks for an answer, or a negative budget.
        """
        if not self.budgets:
            return None
        budgets = None if self.budgets == "auto" else tuple(self.budgets)
        return ForcedAnswers(style.postfix, style.closing, budgets, self.answer_tokens, self.budget_samples)


def _place(model: str) -> str:
    """Where a model is: of a file or folder its one path, however it is written."""
    path = Path(model).expanduser()
    return str(path.resolve()) if model != "embedded" and path.exists() else model


@dataclass(frozen=True)
class EvaluationConfig:
    """What an evaluation is asked to be.

    Args:
        policy: device and precision; its model is replaced by each of the models.
        problems: where the problems come from.
        settings: models, numbers and output.
        sampler: makes the sampler from a model and its tokenizer.
        rewards: reward functions by name; the first one says which completions are right.
        styles: how completions reason and answer; where it is not known, each model's own samples show it.
    """

    policy: PolicySource
    problems: ProblemSource
    settings: EvaluationSettings
    sampler: Callable[[nn.Module, Any], Sampler]
    rewards: Mapping[str, Reward]
    styles: StyleSource = AUTO

    def held_out(self) -> Problems:
        """The problems that all models are evaluated on, as the data have them."""
        problems = Problems.read(self.problems, self.settings.seed)
        problems.check(self.rewards)
        _, held = split_indices(problems.rows, self.settings.problems, without=problems.shots, name="problems")
        return problems.select(held)


def evaluate_models(config: EvaluationConfig) -> int:
    """Evaluate each model with the same problems, seed and budgets, and print them side by side.

    The table goes to standard output, Markdown. If ``output`` is a path, all numbers are written there as JSON, and
    all sampled texts beside it as JSON lines; where that fails in the end the table is printed all the same.

    Returns:
        The exit code 0.

    Raises:
        OSError: ``output`` cannot be written; before any model loads.
        ValueError: a missing column, fewer problems than wanted, or budgets and no text to ask for answers with, before
            any model loads, but for a style that samples have to show; prompts that do not fit a model, before
            anything is sampled.
    """
    settings = config.settings
    if settings.output is not None:
        check_writable("output", settings.output)
        check_writable("output", str(samples_beside(Path(settings.output))))
    results: dict[str, EvaluationResult] = {}
    with CommandProgress("iapo eval") as progress:
        try:
            for source, result in _results(config, progress):
                results[source] = result
        except KeyboardInterrupt as interruption:
            interruption.add_note(_not_evaluated(settings.models[len(results) :], settings.output))
            raise
        finally:
            if results:
                print(markdown_table(results, settings.measured_ks), flush=True)
    if settings.output is None:
        say_where(
            "iapo eval", "only the table is kept; the same command with --output eval.json keeps texts and numbers"
        )
        return 0
    output = Path(settings.output)
    write_text(samples_beside(output), "".join(_lines(source, each) for source, each in results.items()))
    write_text(output, json.dumps(_numbers(config.problems, settings, results), indent=2) + "\n")
    say_where("iapo eval", f"the numbers are in {output}; iapo show {quoted_path(output)} prints sampled texts")
    return 0


def _results(config: EvaluationConfig, progress: CommandProgress) -> Iterator[tuple[str, EvaluationResult]]:
    """Each model with its result, as it is evaluated. Budgets that follow from samples are those of the first."""
    settings, styles = config.settings, config.styles
    known = styles.known(config.problems.resolve())
    usual = settings.forced(known or CompletionStyle().replaced(styles.postfix, styles.closing))
    held_out = config.held_out()
    budgets: tuple[int, ...] | None = None
    for source in settings.models:
        loaded = _load(config, source, held_out, usual, progress)
        if settings.output is None and source == settings.models[0]:
            progress.say("sampled texts are not kept; --output eval.json keeps them for iapo show")
        result = _evaluated(config, loaded, budgets, progress)
        if (curve := result.at_budget) is not None:
            budgets = curve.budgets
        yield source, result


@dataclass(frozen=True)
class _Loaded:
    """A model to evaluate, and the problems that it has room for, as it reads them."""

    source: str
    model: nn.Module
    tokenizer: Any
    sampler: Sampler
    rows: Sequence[Row]


def _load(
    config: EvaluationConfig, source: str, held_out: Problems, forced: ForcedAnswers | None, progress: CommandProgress
) -> _Loaded:
    """A model with its sampler and its problems; what is sent to it is told.

    Args:
        config: of the evaluation.
        source: of the model.
        held_out: the problems as the data have them.
        forced: how answers are asked for, as far as it is known before anything is sampled.
        progress: of the command.
    """
    with progress.phase(f"loading {source}"):
        model, tokenizer = dataclasses.replace(config.policy, model=source).load()
    warn_of_trained(source, config.problems, held_out.rows, "problems")
    problems = held_out.rendered(tokenizer)
    sampler = stopping(config.sampler, problems.stop(tokenizer))(model, tokenizer)
    limits = limits_of(model) if getattr(sampler, "keeps_rows_apart", True) else limits_of(model).scored
    reserved = reserved_by(new_tokens(sampler, limits), tokenizer, forced)
    problems = problems.fitting(Room(tokenizer, limits, reserved, config.problems.long_prompts))
    tell_sent(problems, tokenizer, sampler)
    return _Loaded(source, model, tokenizer, sampler, problems.rows)


def _evaluated(
    config: EvaluationConfig, loaded: _Loaded, budgets: tuple[int, ...] | None, progress: CommandProgress
) -> EvaluationResult:
    """The result of a model; at these budgets, if the models before had some."""
    settings, styles, task = config.settings, config.styles, config.problems.resolve()
    model, tokenizer, sampler, rows = loaded.model, loaded.tokenizer, loaded.sampler, loaded.rows
    count, most = len(rows) * (settings.samples + 1), longest(sampler)
    with (
        config.policy.autocast_context(),
        progress.phase(f"evaluating {loaded.source}, {count} completions", model, count, most),
    ):
        prompts = [row["prompt"] for row in rows]
        style = choose_style(styles, task, sampler, tokenizer, prompts, config.policy.torch_device())
        sampler = sampler_in_style(sampler, style)
        forced = settings.forced(style)
        torch.manual_seed(settings.seed)
        result = evaluate(
            rows,
            tokenizer=tokenizer,
            sampler=sampler,
            greedy=greedy_beside(sampler, model, tokenizer),
            rewards=in_style(config.rewards, style, styles.lenient),
            samples=settings.samples,
            forced=forced if forced is None or budgets is None else dataclasses.replace(forced, budgets=budgets),
            score=partial(score_rollout, time_limit=settings.reward_time_limit),
        )
    if styles.known(task) is not None:
        whole = [each for each in result.samples or () if each.finished]
        warn_of_style(style, [each.completion for each in whole], [each.prompt for each in whole])
    return result


def _numbers(
    problems: ProblemSource, settings: EvaluationSettings, results: Mapping[str, EvaluationResult]
) -> dict[str, Any]:
    """What the file has: the settings, and every measure of each model."""
    used: dict[str, Any] = {"data": str(problems.resolve())}
    used |= {name: getattr(settings, name) for name in ("problems", "samples", "seed")}
    curve = next((result.at_budget for result in results.values() if result.at_budget is not None), None)
    if curve is not None:
        used["budgets"] = list(curve.budgets)
    measures = {source: result.measures(settings.measured_ks) for source, result in results.items()}
    numbers = {source: {name: asdict(each) for name, each in found.items()} for source, found in measures.items()}
    return {"settings": used, "results": numbers}


def _lines(source: str, result: EvaluationResult) -> str:
    return lines_of(result.samples or (), model=source)


def _not_evaluated(models: Sequence[str], output: str | None) -> str:
    kept = "nothing was written" if output is None else f"nothing was written to {output}"
    return f"{', '.join(models)} not evaluated, {kept}; run the same command again"
