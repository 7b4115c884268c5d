"""What is sent to the model, told once: a first prompt as it is read, solved problems before each, how answers end."""

import dataclasses
import sys
from collections.abc import Callable, Sequence
from typing import Any

from torch import nn

from iapo.interfaces import PROMPT_MESSAGES, Sampler
from iapo.policy.chat import date_in, end_of_turn, reads_option
from iapo.rollout.ends import eos_ids_of
from iapo.rollout.prompts import encode_prompts
from iapo.tasks import Row, Task
from iapo.tasks.few_shot import solution_column
from iapo.tasks.prompts import applies_chat, template_options
from iapo.training.configuration.problem_source import ProblemSource
from iapo.training.setup.problems import Problems

_LONGEST = 1200
"""Characters of a prompt that are shown; of a longer one the middle is left out."""


def print_prompt_notes(problems: Problems, tokenizer: Any, sampler: Sampler) -> None:
    """Say on standard error what stands before each problem, what the first is, and whether its answers end.

    Args:
        problems: rendered.
        tokenizer: of the policy.
        sampler: of the completions.
    """
    source, first = problems.source, problems.rows[0]
    print_examples(problems.examples, problems.shots, source.resolve(), problems.stop(tokenizer))
    print_prompt(first, tokenizer, source)
    print_unread_options(problems.rows, tokenizer, source)
    print_end_of_turn(first, tokenizer, source, sampler)


def print_prompt(row: Row, tokenizer: Any, problems: ProblemSource) -> None:
    """Say on standard error what a first prompt is, how it was made, and that it changes by the day if it does.

    Args:
        row: rendered.
        tokenizer: of the policy.
        problems: how it was rendered.
    """
    text = row["prompt"]
    half = _LONGEST // 2
    shown = repr(text) if len(text) <= _LONGEST else f"{text[:half]!r} [...] {text[-half:]!r}"
    tokens = len(encode_prompts([text], tokenizer)[0])
    remedy = "; --chat_template none sends texts as they are" if _is_chat(row, tokenizer, problems) else ""
    print(f"prompt: {shown} ({tokens} tokens, {_made(row, tokenizer, problems)}{remedy})", file=sys.stderr)
    date = date_in(text, tokenizer)
    if date is not None and date not in (problems.chat_template_kwargs or {}).values():
        remedy = f"; --chat_template_kwargs '{{date_string: \"{date}\"}}' keeps this one"
        remedy = remedy if "date_string" in str(tokenizer.chat_template) else ""
        print(
            f"prompt: the chat template writes the date, {date}, so that prompts are others on another day, those of "
            f"evaluations too, and --resume needs --override{remedy}",
            file=sys.stderr,
        )


def print_unread_options(rows: Sequence[Row], tokenizer: Any, problems: ProblemSource) -> None:
    """Say on standard error which arguments for the chat template nothing reads, of the flag and of the data's column.

    Args:
        rows: rendered, at least one.
        tokenizer: of the policy.
        problems: how they were rendered.
    """
    is_chat = _is_chat(rows[0], tokenizer, problems)
    of_rows = dict.fromkeys(name for row in rows for name, value in template_options(row).items() if value is not None)
    given = {"--chat_template_kwargs": problems.chat_template_kwargs or {}, "the data's chat_template_kwargs": of_rows}
    for where, names in given.items():
        unread = [name for name in names if not (is_chat and reads_option(tokenizer, name))]
        if unread:
            print(
                f"prompt: nothing reads {', '.join(unread)} of {where} ({_made(rows[0], tokenizer, problems)}); want "
                "names that the chat template has",
                file=sys.stderr,
            )


def _is_chat(row: Row, tokenizer: Any, problems: ProblemSource) -> bool:
    """Whether a rendered row went through the chat template."""
    return PROMPT_MESSAGES in row or applies_chat(tokenizer, problems.chat_template)


def _made(row: Row, tokenizer: Any, problems: ProblemSource) -> str:
    """How the prompt of a rendered row was made of the problem."""
    if _is_chat(row, tokenizer, problems):
        return "by the model's chat template"
    return "the model has no chat template" if tokenizer.chat_template is None else "without the model's chat template"


def print_end_of_turn(row: Row, tokenizer: Any, problems: ProblemSource, sampler: Sampler) -> None:
    """Say on standard error if nothing ends completions, or they go on behind what ends answers in a chat template.

    Args:
        row: rendered.
        tokenizer: of the policy.
        problems: how it was rendered.
        sampler: of the completions.
    """
    end = end_of_turn(tokenizer) if _is_chat(row, tokenizer, problems) else None
    stop = getattr(sampler, "stop", ())
    if end is None and not stop and not getattr(sampler, "eos_ids", (None,)):
        print(
            "prompt: neither the tokenizer nor the model (generation_config.json, eos_token_id) names an "
            "end-of-sequence token, so that every completion is cut at --sampler.max_new_tokens; name it there, or "
            "end completions at a text with --sampler.stop",
            file=sys.stderr,
        )
    if end is None or end in stop:
        return
    if tokenizer.convert_tokens_to_ids(end) not in eos_ids_of(sampler, tokenizer):
        print(
            f"prompt: the chat template ends an answer with {end!r}, which is no end-of-sequence token of the model "
            f"(generation_config.json, eos_token_id), so that completions go on behind it; --sampler.stop '{end}' "
            "ends them there",
            file=sys.stderr,
        )


def print_examples(examples: Sequence[Row], places: Sequence[int], task: Task, stop: Sequence[str]) -> None:
    """Say on standard error which solved problems stand before each problem; nothing without any."""
    if not examples:
        return
    rows = ", ".join(map(str, places))
    ends = f"; completions end at {' or '.join(map(repr, stop))} (--sampler.stop)" if stop else ""
    print(
        f"few-shot: before each problem stand rows {rows} of {task}, solved as in their column "
        f"{solution_column(examples)!r}, which are neither trained nor evaluated on{ends}",
        file=sys.stderr,
    )


def stopping(
    sampler: Callable[[nn.Module, Any], Sampler], stop: tuple[str, ...]
) -> Callable[[nn.Module, Any], Sampler]:
    """A factory of samplers that end completions at these texts where the sampler has no stop texts of its own.

    Raises:
        TypeError: on a call, where ``sampler`` takes no model and tokenizer, or makes no sampler.
    """

    def make(model: nn.Module, tokenizer: Any) -> Sampler:
        try:
            made = sampler(model, tokenizer)
        except TypeError as error:
            raise TypeError(
                f"sampler: cannot be made of a model and a tokenizer, its two arguments: {error}"
            ) from error
        if not isinstance(made, Sampler):
            raise TypeError(f"sampler: what is called with model and tokenizer returned {made!r:.80}, want a Sampler")
        if not stop or not dataclasses.is_dataclass(made) or getattr(made, "stop", None) != ():
            return made
        return dataclasses.replace(made, stop=stop)

    return make
