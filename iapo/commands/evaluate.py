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
from iapo.rewards import check_columns, check_references, in_style
from iapo.rewards.rollouts import TIME_LIMIT, score_rollout
from iapo.styles import CompletionStyle
from iapo.tasks.splitting import split_indices
from iapo.training.configuration.settings import PolicySource, ProblemSource, Seed, check_ranges
from iapo.training.configuration.styles import AUTO, StyleSource, sampler_in_style
from iapo.training.configuration.trained_problems import warn_of_trained
from iapo.training.reporting.progress import CommandProgress
from iapo.training.session import greedy_beside, longest
from iapo.training.setup.finding_style import choose_style, warn_of_style
from iapo.training.setup.fitting import Room, new_tokens, reserved_by
from iapo.training.setup.sent import stopping, tell_end_of_turn, tell_examples, tell_prompt


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
        if not self.models or len(set(self.models)) < len(self.models):
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


def evaluate_models(
    policy: PolicySource,
    problems: ProblemSource,
    settings: EvaluationSettings,
    sampler: Callable[[nn.Module, Any], Sampler],
    rewards: Mapping[str, Reward],
    styles: StyleSource = AUTO,
) -> int:
    """Evaluate each model with the same problems, seed and budgets, and print them side by side.

    Args:
        policy: device and precision; its model is replaced by each of the models.
        problems: where the problems come from.
        settings: models, numbers and output.
        sampler: makes the sampler from a model and its tokenizer.
        rewards: reward functions by name; the first one says which completions are right.
        styles: how completions reason and answer; where it is not known, each model's own samples show it.

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
    if settings.output is not None:
        check_writable("output", settings.output)
        check_writable("output", str(samples_beside(Path(settings.output))))
    results: dict[str, EvaluationResult] = {}
    with CommandProgress("iapo eval") as progress:
        try:
            for source, result in _results(policy, problems, settings, sampler, rewards, styles, progress):
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
    write_text(output, json.dumps(_numbers(problems, settings, results), indent=2) + "\n")
    say_where("iapo eval", f"the numbers are in {output}; iapo show {quoted_path(output)} prints sampled texts")
    return 0


def _results(
    policy: PolicySource,
    problems: ProblemSource,
    settings: EvaluationSettings,
    sampler: Callable[[nn.Module, Any], Sampler],
    rewards: Mapping[str, Reward],
    styles: StyleSource,
    progress: CommandProgress,
) -> Iterator[tuple[str, EvaluationResult]]:
    """Each model with its result, as it is evaluated."""
    task = problems.resolve()
    usual = settings.forced(styles.known(task) or CompletionStyle().replaced(styles.postfix, styles.closing))
    rows = problems.load(settings.seed)
    check_columns(rewards, rows[0])
    check_references(rewards, rows, problems.places(range(len(rows))))
    shots = problems.examples(rows, settings.seed)
    examples = [rows[index] for index in shots]
    _, held = split_indices(rows, settings.problems, without=shots, name="problems")
    places = problems.places(held)
    held_out = [rows[index] for index in held]
    device, autocast = policy.torch_device(), policy.autocast()
    budgets: tuple[int, ...] | None = None
    for source in settings.models:
        with progress.phase(f"loading {source}"):
            model, tokenizer = dataclasses.replace(policy, model=source).load()
        warn_of_trained(source, problems, held_out, "problems")
        shown = problems.render(held_out, tokenizer, places, examples)
        stop = problems.stop(examples, tokenizer)
        sample = stopping(sampler, stop)(model, tokenizer)
        limits = limits_of(model) if getattr(sample, "keeps_rows_apart", True) else limits_of(model).scored
        reserved = reserved_by(new_tokens(sample, limits), tokenizer, usual)
        room = Room(tokenizer, limits, reserved, problems.long_prompts)
        shown = [shown[place] for place in room.fitting(shown, places)]
        tell_examples(examples, shots, task, stop)
        tell_prompt(shown[0], tokenizer, problems)
        tell_end_of_turn(shown[0], tokenizer, problems, sample)
        if settings.output is None and source == settings.models[0]:
            progress.say("sampled texts are not kept; --output eval.json keeps them for iapo show")
        count, most = len(shown) * (settings.samples + 1), longest(sample)
        with (
            torch.autocast(device.type, autocast, enabled=autocast is not None),
            progress.phase(f"evaluating {source}, {count} completions", model, count, most),
        ):
            style = choose_style(styles, task, sample, tokenizer, [row["prompt"] for row in shown], device)
            sample = sampler_in_style(sample, style)
            forced = settings.forced(style)
            torch.manual_seed(settings.seed)
            result = evaluate(
                shown,
                tokenizer=tokenizer,
                sampler=sample,
                greedy=greedy_beside(sample, model, tokenizer),
                rewards=in_style(rewards, style, styles.lenient),
                samples=settings.samples,
                forced=forced if forced is None or budgets is None else dataclasses.replace(forced, budgets=budgets),
                score=partial(score_rollout, time_limit=settings.reward_time_limit),
            )
        if styles.known(task) is not None:
            whole = [each for each in result.samples or () if each.finished]
            warn_of_style(style, [each.completion for each in whole], [each.prompt for each in whole])
        if (curve := result.at_budget) is not None:
            budgets = curve.budgets
        yield source, result


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
