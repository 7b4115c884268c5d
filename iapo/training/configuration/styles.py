"""How the completions of a run reason and answer: what is said of it, or known to the task; and who is told."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from torch import nn

from iapo.interfaces import MIEstimator, Sampler
from iapo.styles import (
    AnswerStyle,
    AnswerTags,
    BeforeAnswer,
    Boxed,
    CompletionStyle,
    Hashes,
    JsonField,
    LastLine,
    Phrase,
    ReasoningStyle,
    ReasoningTags,
    Steps,
)
from iapo.tasks import Task
from iapo.tokenization.continuation import continuation_ids

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
        answer, reasoning = self.said()
        own = task.style
        if answer is not None and reasoning is not None:
            style = CompletionStyle(reasoning, answer, steps=Steps() if own is None else own.steps)
        elif own is not None:
            style = dataclasses.replace(own, reasoning=reasoning or own.reasoning, answer=answer or own.answer)
        else:
            return None
        return style.replaced(self.postfix, self.closing)

    def said(self) -> tuple[AnswerStyle | None, ReasoningStyle | None]:
        """The styles of answer and reasoning that are named; ``None``: auto."""
        answer = ANSWERS.get(self.answer_style) if isinstance(self.answer_style, str) else self.answer_style
        named = self.reasoning_style
        return answer, REASONINGS.get(named) if isinstance(named, str) else named


AUTO = StyleSource()
"""As the task knows it or the policy's samples show it."""


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
