"""`iapo eval`: several models on the same problems, as a table and as JSON."""

import dataclasses
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from iapo.commands.evaluation_settings import EvaluationConfig, EvaluationSettings
from iapo.commands.last_line import say_where
from iapo.evaluation import (
    EvaluationResult,
    ForcedAnswers,
    Sample,
    evaluate,
    lines_of,
    markdown_table,
    samples_beside,
)
from iapo.evaluation.budgets import MOST_BUDGETS
from iapo.interfaces import Sampler
from iapo.ops.shell import quoted_path
from iapo.ops.text_files import check_writable, write_text
from iapo.policy.limits import limits_of
from iapo.rewards import in_style
from iapo.rewards.rollouts import score_rollout
from iapo.rollout.greedy import greedy_beside, most_new_tokens
from iapo.styles import CompletionStyle
from iapo.tasks import Row
from iapo.training.configuration.problem_source import ProblemSource
from iapo.training.configuration.styles import sampler_in_style
from iapo.training.configuration.trained_problems import warn_of_trained
from iapo.training.reporting.progress import CommandProgress
from iapo.training.setup.finding_style import choose_style, warn_of_style
from iapo.training.setup.fitting import Room, new_tokens, reserved_by
from iapo.training.setup.problems import Problems
from iapo.training.setup.prompt_notes import print_prompt_notes, stopping

_NUMBERS, _TEXTS = {"settings", "results"}, {"model", "completion"}
"""Keys of the file of numbers and of each line of the file of texts."""


def evaluate_models(config: EvaluationConfig) -> int:
    """Evaluate each model with the same problems, seed and budgets, and print them side by side.

    The table goes to standard output, Markdown. If ``output`` is a path, all numbers are written there as JSON, and
    all sampled texts beside it as JSON lines, each time a model is evaluated; where that fails in the end the table is
    printed all the same.

    Returns:
        The exit code 0.

    Raises:
        OSError: ``output`` cannot be written, or would take the place of a file that is no evaluation of this command;
            before any model loads.
        ValueError: a missing column, fewer problems than wanted, or budgets and no text to ask for answers with, before
            any model loads, but for a style that samples have to show; prompts that do not fit a model, before
            anything is sampled.
    """
    settings = config.settings
    if settings.output is not None:
        for file, keys in ((Path(settings.output), _NUMBERS), (samples_beside(Path(settings.output)), _TEXTS)):
            check_writable("output", str(file))
            if file.exists() and file.stat().st_size and not keys <= _keys_in(file):
                raise FileExistsError(
                    f"output: {file} is there and is none of iapo eval, whose numbers or texts would take its place; "
                    "name another file"
                )
    results: dict[str, EvaluationResult] = {}
    written = False
    with CommandProgress("iapo eval") as progress:
        try:
            for source, result in _results(config, progress):
                results[source] = result
                if settings.output is not None:
                    with suppress(OSError):  # the last time it is an error, behind the table
                        written = False
                        _write(Path(settings.output), config, results)
                        written = True
        except KeyboardInterrupt as interruption:
            interruption.add_note(_not_evaluated(settings.models[len(results) :], settings.output, written))
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
    _write(output, config, results)
    say_where("iapo eval", f"the numbers are in {output}; iapo show {quoted_path(output)} prints sampled texts")
    return 0


def _results(config: EvaluationConfig, progress: CommandProgress) -> Iterator[tuple[str, EvaluationResult]]:
    """Each model with its result, as it is evaluated. Budgets that follow from samples are those of the first."""
    settings, styles = config.settings, config.styles
    known = styles.known(config.problems.resolve())
    usual = settings.forced(known or CompletionStyle().replaced(styles.postfix, styles.closing))
    held_out = config.held_out()
    budgets: tuple[int, ...] | None = None
    with progress.phase(f"looking at {', '.join(settings.models)}"):
        for source in settings.models:
            dataclasses.replace(config.policy, model=source).check()
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
    answer_tokens = 0 if forced is None else forced.answer_tokens
    problems = problems.fitting(Room(tokenizer, limits, reserved, config.problems.long_prompts, answer_tokens))
    print_prompt_notes(problems, tokenizer, sampler)
    return _Loaded(source, model, tokenizer, sampler, problems.rows)


def _evaluated(
    config: EvaluationConfig, loaded: _Loaded, budgets: tuple[int, ...] | None, progress: CommandProgress
) -> EvaluationResult:
    """The result of a model; at these budgets, if the models before had some."""
    settings, styles, task = config.settings, config.styles, config.problems.resolve()
    model, tokenizer, sampler, rows = loaded.model, loaded.tokenizer, loaded.sampler, loaded.rows
    count, most, title = len(rows) * (settings.samples + 1), most_new_tokens(sampler), f"evaluating {loaded.source}"
    with config.policy.autocast_context(), ExitStack() as phases:

        def begin(what: str, completions: int, longest: int) -> None:
            phases.close()
            phases.enter_context(progress.phase(f"{title}, {what}", model, completions, longest))

        begin("finding its style", 0, most)
        prompts = [row["prompt"] for row in rows]
        style = choose_style(styles, task, sampler, tokenizer, prompts, config.policy.torch_device())
        sampler = sampler_in_style(sampler, style)
        forced = settings.forced(style)
        if forced is not None and budgets is not None:
            forced = dataclasses.replace(forced, budgets=budgets)

        def see(sampled: Sequence[Sample]) -> None:
            if forced is not None and len(sampled) == count:
                cuts = MOST_BUDGETS if forced.budgets is None else len(forced.budgets)
                asked = len(rows) * min(settings.samples, settings.budget_samples) * cuts
                begin(f"at most {asked} answers at budgets", asked, settings.answer_tokens)

        begin(f"{count} completions", count, most)
        torch.manual_seed(settings.seed)
        result = evaluate(
            rows,
            tokenizer=tokenizer,
            sampler=sampler,
            greedy=greedy_beside(sampler, model, tokenizer),
            rewards=in_style(config.rewards, style, styles.lenient),
            samples=settings.samples,
            forced=forced,
            see=see,
            score=partial(score_rollout, time_limit=settings.reward_time_limit, correct_above=settings.correct_above),
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
    used |= {name: getattr(settings, name) for name in ("problems", "samples", "seed", "correct_above")}
    curve = next((result.at_budget for result in results.values() if result.at_budget is not None), None)
    if curve is not None:
        used["budgets"] = list(curve.budgets)
    measures = {source: result.measures(settings.measured_ks) for source, result in results.items()}
    numbers = {source: {name: asdict(each) for name, each in found.items()} for source, found in measures.items()}
    return {"settings": used, "results": numbers}


def _keys_in(file: Path) -> set[str]:
    """The keys of a file of JSON, or of its first line."""
    try:
        with file.open(encoding="utf-8") as content:
            found = json.loads(content.readline() if file.suffix == ".jsonl" else content.read())
    except (ValueError, RecursionError):
        return set()
    return set(found) if isinstance(found, dict) else set()


def _lines(source: str, result: EvaluationResult) -> str:
    return lines_of(result.samples or (), model=source)


def _write(output: Path, config: EvaluationConfig, results: Mapping[str, EvaluationResult]) -> None:
    """All texts and numbers so far: they are kept whatever ends the evaluation of the next model."""
    write_text(samples_beside(output), "".join(_lines(source, each) for source, each in results.items()))
    write_text(output, json.dumps(_numbers(config.problems, config.settings, results), indent=2) + "\n")


def _not_evaluated(models: Sequence[str], output: str | None, written: bool) -> str:
    kept = "nothing was written" if output is None else f"nothing was written to {output}"
    if written:
        kept = f"the others are in {output}"
    return f"{', '.join(models)} not evaluated, {kept}; run the same command again"
