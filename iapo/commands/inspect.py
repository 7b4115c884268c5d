"""`iapo inspect`: one prompt, its sampled reasoning, every token colored by its information about the answer."""

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from jsonargparse.typing import NonNegativeInt, PositiveInt
from torch import nn

from iapo.commands.console import OutputConsole
from iapo.commands.last_line import say_where
from iapo.inspection import Inspection, render_html, render_terminal, trace_from_rollout
from iapo.interfaces import MIEstimator, Reward, Sampler, information_between
from iapo.ops.shell import quoted_path
from iapo.ops.text_files import check_writable, write_text
from iapo.policy.forward import inference_mode
from iapo.policy.logprobs import completion_logprobs
from iapo.rewards import in_style
from iapo.rewards.rollouts import TIME_LIMIT, score_rollout
from iapo.rollout import ask_about, eos_ids_of
from iapo.training.components import Answer, check_answer_is_read
from iapo.training.configuration.policy_source import PolicySource
from iapo.training.configuration.problem_source import ProblemSource
from iapo.training.configuration.ranges import PositiveFiniteFloat, Seed, check_ranges
from iapo.training.configuration.styles import AUTO, StyleSource, estimator_in_style, sampler_in_style
from iapo.training.reporting.progress import CommandProgress
from iapo.training.setup.finding_style import choose_style
from iapo.training.setup.fitting import forced_tokens
from iapo.training.setup.problems import Problems
from iapo.training.setup.prompt_notes import stopping


@dataclass(frozen=True)
class InspectionSettings:
    """An inspection: of which problem, and how many completions.

    Args:
        seed: of the problems and of the sampling.
        prompt: the problem; left out, one of the data.
        index: which problem of the data.
        samples: completions.
        answer: what the estimator is asked about, the own or the reference answer.
        reward_time_limit: seconds that a reward function may take over the completions.

    Raises:
        ValueError: a number out of range, or the reference answer is asked about a prompt without one.
    """

    seed: Seed = 0
    prompt: str | None = None
    index: NonNegativeInt = 0
    samples: PositiveInt = 3
    answer: Answer = "own"
    reward_time_limit: PositiveFiniteFloat | None = TIME_LIMIT

    def __post_init__(self) -> None:
        check_ranges(self)
        if self.prompt is not None and self.answer == "reference":
            raise ValueError("answer: 'reference' needs a problem of the data, --prompt has no reference answer")


@dataclass(frozen=True)
class InspectionConfig:
    """All that an inspection needs: the policy, the problem, the settings, and the components that it uses.

    Args:
        policy: where the policy comes from.
        problems: where the problem comes from, unless the settings have a prompt.
        settings: which problem, and how many completions.
        sampler: makes the sampler from the policy and its tokenizer.
        rewards: reward functions by name.
        estimator: measures the information.
        styles: how completions reason and answer.
    """

    policy: PolicySource
    problems: ProblemSource
    settings: InspectionSettings
    sampler: Callable[[nn.Module, Any], Sampler]
    rewards: Mapping[str, Reward]
    estimator: MIEstimator
    styles: StyleSource = AUTO


def inspect_prompt(config: InspectionConfig) -> Inspection:
    """Sample completions of one prompt and measure them.

    Raises:
        ValueError: ``index`` beyond the data, a column that a reward lacks, or a reference that cannot be read, before
            the model loads; a prompt that does not fit its positions with what may follow it, or a style that the
            samples do not show.
    """
    policy, settings, styles, estimator = config.policy, config.settings, config.styles, config.estimator
    check_answer_is_read(settings.answer, estimator)
    problem = chosen_problem(config.problems, settings)
    if settings.prompt is None:
        problem.check(config.rewards)
    references = problem.references(settings.answer)
    torch.manual_seed(settings.seed)
    model, tokenizer = policy.load()
    problem = problem.rendered(tokenizer)
    prompts = [row["prompt"] for row in problem.rows]
    with policy.autocast_context(), inference_mode(model):
        device = policy.torch_device()
        sample = stopping(config.sampler, problem.stop(tokenizer))(model, tokenizer)

        def check_room(asked: MIEstimator) -> None:
            problem.fitting(problem.room(model, tokenizer, sample, forced_tokens(asked), references))

        check_room(estimator)  # before anything is sampled to find the style, which may force more tokens
        style = choose_style(styles, config.problems.resolve(), sample, tokenizer, prompts, device)
        estimator = estimator_in_style(estimator, style, tokenizer)
        check_room(estimator)
        rollout = sampler_in_style(sample, style)(prompts, settings.samples).to(device)
        scored: list[float | None] = [None] * len(rollout)
        if settings.prompt is None:
            read, eos_ids = in_style(config.rewards, style, styles.lenient), eos_ids_of(sample, tokenizer)
            answered, limit = [*problem.rows] * settings.samples, settings.reward_time_limit
            scores = score_rollout(rollout, answered, tokenizer, read, eos_ids, limit)
            totals = scores.total.tolist()
            scored = [total if known else None for total, known in zip(totals, scores.scored, strict=True)]
        asked = rollout
        if settings.answer == "reference":
            asked = ask_about(rollout, references * settings.samples, tokenizer, style)
        values = estimator.prefix_values(model, asked)
        _, entropy = completion_logprobs(model, rollout, sample.temperature or 1.0, with_entropy=True)
    traces = tuple(
        trace_from_rollout(
            rollout,
            index,
            tokenizer,
            information_between(values, asked.reasoning_mask).float(),
            (estimator.information_sign * values).float(),
            estimator.probe_label,
            reward=scored[index],
            policy_entropy=entropy,
        )
        for index in range(len(rollout))
    )
    metadata = {"model": policy.model, "estimator": type(estimator).__name__, "answer": settings.answer}
    return Inspection(traces=traces, metadata=metadata | {"seed": str(settings.seed)})


def chosen_problem(source: ProblemSource, settings: InspectionSettings) -> Problems:
    """The one problem that the settings name, and the solved ones that stand before it.

    Raises:
        ValueError: ``index`` beyond the data, or that of an example.
    """
    if settings.prompt is not None:
        prompt = settings.prompt.encode("utf-8", "replace").decode("utf-8")  # no lone surrogates
        given = Problems(source, [{"prompt": prompt}], ["0 (--prompt)"])
        if not source.few_shot:
            return given
        data = Problems.read(source, settings.seed)
        return replace(given, shots=data.shots, examples=data.examples)
    problems = Problems.read(source, settings.seed)
    if not 0 <= settings.index < len(problems.rows):
        raise ValueError(f"index: got {settings.index}, want 0 to {len(problems.rows) - 1}")
    if settings.index in problems.shots:
        raise ValueError(f"index: row {settings.index} is one of the examples of few_shot, want another one")
    return problems.select([settings.index])


def _check_is_page(file: Path) -> None:
    """Raise ``FileExistsError`` if a file is there that is no page of an inspection."""
    if file.exists() and file.stat().st_size:
        with file.open("rb") as content:
            head = content.read(2048)
        if not head.startswith(b"<!doctype html>") or f"<title>{Inspection.title}</title>".encode() not in head:
            raise FileExistsError(
                f"html: {file} is there and is no page of iapo inspect, which would take its place; name another file"
            )


def inspect_and_show(config: InspectionConfig, html: str | None = None) -> int:
    """`inspect_prompt`, printed to standard output and, if ``html`` names a file, written there as a page.

    Returns:
        The exit code 0.

    Raises:
        OSError: the file cannot be written, or would take the place of one that is no page of this command; raised
            before any model loads.
    """
    if html is not None:
        check_writable("html", html)
        _check_is_page(Path(html))
    with CommandProgress("iapo inspect") as progress, progress.phase(f"loading and sampling {config.policy.model}"):
        inspection = inspect_prompt(config)
    if html is not None:
        write_text(Path(html), render_html(inspection))
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="backslashreplace")
    render_terminal(inspection, OutputConsole())
    if html is None:
        say_where("iapo inspect", "nothing is kept of this; the same command with --html page.html writes a page")
        return 0
    say_where("iapo inspect", f"the page is {quoted_path(html)}; open it in a browser")
    return 0
