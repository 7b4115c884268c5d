"""How the completions of a run reason and answer: said, known to the task, or found in the policy's own samples."""

import dataclasses
import json
import sys
import warnings
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path
from pydoc import locate
from typing import Any, Literal, TypeVar

import torch
from torch import nn

from iapo.interfaces import MIEstimator, Sampler
from iapo.ops.random_state import fork_rng
from iapo.rollout.continuation import continuation_ids
from iapo.rollout.ends import ended, eos_ids_of
from iapo.rollout.text import decode_completions
from iapo.styles import (
    USUAL_STYLE,
    AnswerStyle,
    AnswerTags,
    BeforeAnswer,
    Boxed,
    CompletionStyle,
    FirstThatFits,
    Hashes,
    JsonField,
    LastLine,
    Phrase,
    ReasoningStyle,
    ReasoningTags,
    Steps,
    better_style,
    detect_style,
    misfits,
)
from iapo.styles.agreement import ENOUGH_SAMPLES, readable
from iapo.tasks import Task
from iapo.types import Rollout

AnswerName = Literal["auto", "tags", "boxed", "hashes", "phrase", "json", "last_line"]
ReasoningName = Literal["auto", "tags", "opened_tags", "before_answer"]

ANSWERS: Mapping[str, AnswerStyle] = {
    "tags": AnswerTags(),
    "boxed": Boxed(),
    "hashes": Hashes(),
    "phrase": Phrase(),
    "json": JsonField(),
    "last_line": LastLine(),
}
REASONINGS: Mapping[str, ReasoningStyle] = {
    "tags": ReasoningTags(),
    "opened_tags": ReasoningTags(opened_by_prompt=True),
    "before_answer": BeforeAnswer(),
}
"""Styles of reasoning by the names that flags have for them; those of answers are `ANSWERS`."""

_SAMPLES, _FEW = 16, 4
"""Samples that show a style, and those of them that come first."""
_LONGEST = 80
"""Characters of an answer that are quoted."""


See = Callable[[Rollout, CompletionStyle], None]
T = TypeVar("T")


@dataclass(frozen=True)
class StyleSource:
    """How completions reason and answer, which rewards, spans, estimators and evaluation read alike.

    Args:
        answer_style: tags, boxed, hashes, phrase, json, last_line, or a style by import path; auto is the task's, else
            found in first samples of the model.
        reasoning_style: tags, opened_tags (by the prompt), before_answer, or a style by import path; auto likewise.
        postfix: closes the reasoning, opens the answer; default is the style's.
        closing: text that ends the answer; default is the style's.
        lenient: an answer also counts where the completion was cut, or marks none.
    """

    answer_style: AnswerName | AnswerStyle = "auto"
    reasoning_style: ReasoningName | ReasoningStyle = "auto"
    postfix: str | None = None
    closing: str | None = None
    lenient: bool = False

    def known(self, task: Task) -> CompletionStyle | None:
        """The style, if nothing has to be sampled to know it."""
        answer, reasoning = self._said()
        own = task.style
        if answer is not None and reasoning is not None:
            style = CompletionStyle(reasoning, answer, steps=Steps() if own is None else own.steps)
        elif own is not None:
            style = dataclasses.replace(own, reasoning=reasoning or own.reasoning, answer=answer or own.answer)
        else:
            return None
        return style.replaced(self.postfix, self.closing)

    def choose(
        self,
        task: Task,
        sampler: Sampler,
        tokenizer: Any,
        prompts: Sequence[str],
        device: torch.device | str,
        see: See | None = None,
    ) -> CompletionStyle:
        """The style, found in a few samples where it is not known; what was found is told on standard error.

        A few of the samples come first, to be seen soon. Torch's random state is afterwards as it was before.

        Args:
            task: where the problems come from; it may know the style.
            sampler: of the policy.
            tokenizer: of the policy.
            prompts: as the policy reads them; of more than are sampled the first.
            device: the policy's.
            see: is called with the samples so far, their group ids those of `first_of` the prompts, and with the style
                as far as it is known; the first few are then sampled even if the style is known.

        Raises:
            ValueError: no style fits the samples that came to their end; the message says what to do. Where hardly any
                did, the usual style is taken.

        Warns:
            UserWarning: postfix or closing contradict the style, or the style contradicts the samples.
        """
        known = self.known(task)
        if known is not None and see is None:
            self._warn_of_texts(known)
            return known
        prompts, eos_ids = first_of(prompts), eos_ids_of(sampler, tokenizer)
        if known is None:
            print(f"style: looked for in {len(prompts)} samples (--answer_style names it)", file=sys.stderr)
        with fork_rng(torch.device(device)):
            rollout = sampler(prompts[:_FEW], 1)
            if see is not None:
                style = known or self._seen(rollout, tokenizer, eos_ids, prompts, refuse=False)[0]
                see(rollout, style)
            if known is not None:
                self._warn_of_texts(known)
                return known
            rest = sampler(prompts[_FEW:], 1)
            rollout = Rollout.cat([rollout, dataclasses.replace(rest, group_ids=rest.group_ids + _FEW)])
            style, told, whole = self._seen(rollout, tokenizer, eos_ids, prompts, refuse=False)
            if self._said()[0] is None and len(whole) >= ENOUGH_SAMPLES and not readable(style, whole):
                print(
                    f"style: none of {len(whole)} that came to their end answers, so in as many more", file=sys.stderr
                )
                rollout = Rollout.cat([rollout, sampler(prompts, 1)])
                style = self._seen(rollout, tokenizer, eos_ids, prompts, refuse=False)[0]
            if see is not None:
                see(rollout, style)
        style, told, whole = self._seen(rollout, tokenizer, eos_ids, prompts, refuse=True)
        print(
            f"style: {told.format(_name(style.answer))}; an answer is asked for with {style.postfix!r} and "
            f"ended with {style.closing!r} (--answer_style, --reasoning_style, --postfix and --closing say otherwise)",
            file=sys.stderr,
        )
        self._warn_of_texts(style, whole)
        warn_of_style(style, whole, prompts)
        return style

    def _seen(
        self, rollout: Rollout, tokenizer: Any, eos_ids: Collection[int], prompts: Sequence[str], refuse: bool
    ) -> tuple[CompletionStyle, str, list[str]]:
        """The style that samples show, how many show it, and the texts of those that came to their end.

        Raises:
            ValueError: none fits those that came to their end, if ``refuse``.
        """
        answer, reasoning = self._said()
        texts = decode_completions(tokenizer, rollout, eos_ids)
        whole = [text for text, done in zip(texts, ended(rollout, eos_ids).tolist(), strict=True) if done]
        try:
            found = detect_style(whole or texts, prompts, answer, reasoning)
            style, told = found.style, f"{found.fitting} of {found.samples} samples answer by {{}}"
        except ValueError:
            if refuse and len(whole) >= ENOUGH_SAMPLES:
                raise
            style = CompletionStyle(reasoning or USUAL_STYLE.reasoning, answer or USUAL_STYLE.answer)
            cut = len(texts) - len(whole)
            told = f"{cut} of {len(texts)} samples are cut before they answer (--sampler.max_new_tokens), {{}} is taken"
        return style.replaced(self.postfix, self.closing), told, whole

    def _warn_of_texts(self, style: CompletionStyle, samples: Sequence[str] = ()) -> None:
        """Warn of a postfix or closing, given by the user, that asks for answers which the style does not read."""
        own = dataclasses.replace(style, asks=None, ends=None)
        found = ((text, style.read(text).marked) for text in samples)
        written = next((f", as in {text[m.opening : m.closing][:_LONGEST]!r}" for text, m in found if m), "")
        for name in misfits(style):
            flag, text, kept = {
                "asks": ("postfix", style.asks, own.postfix),
                "ends": ("closing", style.ends, own.closing),
            }[name]
            if getattr(self, flag) is not None:
                warnings.warn(
                    f"{flag}: {text!r} contradicts how completions answer ({_name(style.answer)}{written}): an "
                    f"answer that is asked for so is not read as one, and is not what the model writes. Leave --{flag} "
                    f"out, which takes {kept!r}, or name the style that it belongs to with --answer_style and "
                    "--reasoning_style",
                    stacklevel=3,
                )

    def _said(self) -> tuple[AnswerStyle | None, ReasoningStyle | None]:
        answer = ANSWERS.get(self.answer_style) if isinstance(self.answer_style, str) else self.answer_style
        named = self.reasoning_style
        return answer, REASONINGS.get(named) if isinstance(named, str) else named


AUTO = StyleSource()
"""As the task knows it or the policy's samples show it."""


def first_of(items: Sequence[T]) -> list[T]:
    """The prompts, or what belongs to them, that are sampled to show a style; of few some come several times."""
    return list(islice(cycle(items[:_SAMPLES]), _SAMPLES))


def warn_of_style(style: CompletionStyle, samples: Sequence[str], prompts: Sequence[str] = ()) -> None:
    """Warn if samples are written in another style than they are read in, and name the flags that help.

    Args:
        style: that they are read in.
        samples: completions that came to their end.
        prompts: as the policy reads them.
    """
    found = better_style(style, samples, prompts)
    if found is None:
        return
    flags = " ".join(
        f"--{flag} {next((name for name, each in table.items() if each == part), repr(part))}"
        for flag, table, part in (
            ("answer_style", ANSWERS, found.style.answer),
            ("reasoning_style", REASONINGS, found.style.reasoning),
        )
    )
    warnings.warn(
        f"answer_style: {readable(style, samples)} of {len(samples)} samples that came to their end answer as the run "
        f"reads them ({type(style.reasoning).__name__}, {_name(style.answer)}), {found.fitting} do by "
        f"{type(found.style.reasoning).__name__} and {_name(found.style.answer)}: take {flags}, or ask for the "
        "other form with --system_prompt or --prompt_template",
        stacklevel=2,
    )


def _name(answer: AnswerStyle) -> str:
    """What an answer style is called; one made of several by the first, which asks."""
    first = f"{_name(answer.styles[0])}, or else in another way" if isinstance(answer, FirstThatFits) else ""
    return first or type(answer).__name__


def sampler_in_style(sampler: Sampler, style: CompletionStyle) -> Sampler:
    """The sampler, marking completions by ``style`` unless it has a style of its own or takes none."""
    if not dataclasses.is_dataclass(sampler) or getattr(sampler, "style", style) is not None:
        return sampler
    return dataclasses.replace(sampler, style=style)


def estimator_in_style(estimator: MIEstimator, style: CompletionStyle, tokenizer: Any) -> MIEstimator:
    """The estimator, and one inside it, asking with the texts of ``style``, and at the ends of its steps.

    Those that take no tokens of such texts, and boundaries that have steps of their own, stay as they are.
    """
    if not dataclasses.is_dataclass(estimator) or isinstance(estimator, nn.Module):
        return estimator
    names = {each.name for each in dataclasses.fields(estimator) if each.init}
    changed: dict[str, Any] = {}
    for name, text in (("postfix_ids", style.postfix), ("closing_ids", style.closing)):
        if name in names:
            changed[name] = continuation_ids(tokenizer, text) if text else ()
    boundaries: Any = getattr(estimator, "boundaries", None)
    if dataclasses.is_dataclass(boundaries) and getattr(boundaries, "steps", style.steps) is None:
        changed["boundaries"] = dataclasses.replace(boundaries, steps=style.steps)
    if isinstance(inner := getattr(estimator, "estimator", None), MIEstimator) and "estimator" in names:
        changed["estimator"] = estimator_in_style(inner, style, tokenizer)
    return dataclasses.replace(estimator, **changed) if changed else estimator


def kept_style(folder: Path, settings: Mapping[str, Any]) -> CompletionStyle | None:
    """The style that a run keeps in its ``config.json``; ``None`` without one, or if these settings ask for another.

    Args:
        folder: of the run.
        settings: as plain data, of the run that goes on.

    Raises:
        ValueError: the file names a class that is no style.
    """
    path = folder / "config.json"
    kept = json.loads(path.read_text()) if path.exists() else {}
    same = all(kept.get(field.name) == settings.get(field.name) for field in dataclasses.fields(StyleSource))
    return from_plain(kept["style"]) if same and "style" in kept else None


def plain(part: Any) -> Any:
    """A style as plain data, for a run's configuration: class paths and their arguments."""
    if isinstance(part, tuple):
        return [plain(each) for each in part]
    if not dataclasses.is_dataclass(part) or isinstance(part, type):
        return part
    arguments = {field.name: plain(getattr(part, field.name)) for field in dataclasses.fields(part)}
    return {"class_path": f"{type(part).__module__}.{type(part).__qualname__}", "init_args": arguments}


def from_plain(content: Any) -> Any:
    """The style that `plain` wrote.

    Raises:
        ValueError: a class that is no style.
    """
    if isinstance(content, list):
        return tuple(from_plain(each) for each in content)
    if not isinstance(content, Mapping):
        return content
    kind = locate(content["class_path"])
    if not isinstance(kind, type) or not issubclass(kind, AnswerStyle | ReasoningStyle | CompletionStyle | Steps):
        raise ValueError(f"style: {content['class_path']} is no style; the run's config.json names it")
    return kind(**{name: from_plain(value) for name, value in content["init_args"].items()})
