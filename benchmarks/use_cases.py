"""Completions whose spans are known to be needed or useless: by the embedded task's labels, or by what was put in."""

import json
import random
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from embedded_steps import step_ids, token_ids
from torch import Tensor, nn

from iapo import Rollout
from iapo.embedded import Split, classify, generate_problems, parse_answer
from iapo.estimators import Boundaries, StepBoundaries, TextBoundaries
from iapo.estimators.spans import runs_of_spans
from iapo.policy.loading import load_model
from iapo.rollout import CompactingSampler, ScriptedSampler
from iapo.styles import AnswerTags, CompletionStyle, ReasoningTags, Steps

NEEDED = "needed"
LINES = (
    "Okay, let me think about this carefully.",
    "Let me see, this should not be too hard.",
    "Alright, we can work through this step by step.",
    "Hmm, that is an interesting question.",
    "So far so good, let us keep going.",
    "Now I will consider what to do next.",
    "Wait, I want to be sure that I get this right.",
    "Good, now we can continue with the problem.",
)
"""Lines without content."""


class Span(NamedTuple):
    """Tokens ``begin`` to ``end - 1`` of the completion ``row``, and what they are."""

    row: int
    begin: int
    end: int
    kind: str


@dataclass(frozen=True)
class Case:
    """A policy and right completions, all of whose spans have a kind; those of other kinds than `kinds` are not scored.

    Args:
        model: the policy.
        tokenizer: of the policy.
        rollout: the completions; a group is a problem.
        boundaries: where spans begin and end.
        spans: of all completions, in order.
        kinds: the useless ones.
        postfix: closes the reasoning and asks for the answer.
        closing: ends the answer.
    """

    model: nn.Module
    tokenizer: Any
    rollout: Rollout
    boundaries: Boundaries
    spans: list[Span]
    kinds: tuple[str, ...]
    postfix: tuple[int, ...]
    closing: tuple[int, ...]

    @property
    def problems(self) -> Tensor:
        """The problem of each span."""
        return self.rollout.group_ids[torch.tensor([span.row for span in self.spans])]

    @property
    def by_row(self) -> list[list[Span]]:
        """The spans of each completion."""
        found: list[list[Span]] = [[] for _ in range(len(self.rollout))]
        for span in self.spans:
            found[span.row].append(span)
        return found

    @property
    def scored(self) -> Tensor:
        """Which spans are needed or useless."""
        return torch.tensor([span.kind in (NEEDED, *self.kinds) for span in self.spans])

    def select(self, rows: Sequence[int]) -> "Case":
        """The same with these completions only."""
        spans = [span._replace(row=new) for new, row in enumerate(rows) for span in self.by_row[row]]
        return replace(self, rollout=self.rollout.select(torch.tensor(rows)), spans=spans)


def embedded_case(split: Split, problems: int, group: int, seed: int) -> Case:
    """Sampled completions of the embedded task, the right ones; a span is what all its tokens are, tags aside."""
    model, tokenizer = load_model("embedded", "cpu")
    posed = generate_problems(problems, seed, split)
    torch.manual_seed(seed)
    rollout = CompactingSampler(model, tokenizer, 128)([problem.prompt for problem in posed], group)
    texts = [tokenizer.decode(i[m]) for i, m in zip(rollout.completion_ids, rollout.completion_mask, strict=True)]
    asked = [posed[index] for index in rollout.group_ids.tolist()]
    right = [parse_answer(text) == problem.answer for text, problem in zip(texts, asked, strict=True)]
    rollout = rollout.select(torch.tensor(right).nonzero().flatten())
    labels = [classify(p.prompt, text) for p, text, good in zip(asked, texts, right, strict=True) if good]
    boundaries = StepBoundaries(**step_ids(tokenizer))
    spans = []
    for row, begin, end in cut(rollout, boundaries):
        found = {str(label) for label in labels[row][begin:end]} - {"format"}
        spans.append(Span(row, begin, end, found.pop() if len(found) == 1 else "mixed"))
    tags = token_ids(tokenizer, "</think>", "<answer>"), token_ids(tokenizer, "</answer>")
    return Case(model, tokenizer, rollout, boundaries, spans, ("filler", "repeated", "check"), *tags)


def gsm8k_case(model: nn.Module, tokenizer: Any, data: Path, problems: int, seed: int) -> Case:
    """Solutions of GSM8K of 3 to 6 lines with a filler line, a repeated one and a sentence of the question put in."""
    posed = [json.loads(line) for line in data.read_text().splitlines()]
    solved = [(each["question"], *solution(each["answer"])) for each in posed]
    solved = [each for each in solved if 3 <= len(each[1]) <= 6 and len(each[0]) <= 240]
    random.Random("order").shuffle(solved)
    shots = sorted(solved, key=lambda each: len("".join([each[0], *each[1]])))[:2]
    solved = [each for each in solved if each not in shots]
    chosen = solved[seed * problems : (seed + 1) * problems]
    opening = "".join(f"Question: {q}\nAnswer:\n{chr(10).join(own)}\n#### {answer}\n\n" for q, own, answer in shots)
    generator, completions, kinds = random.Random(seed), {}, []
    for question, own, answer in chosen:
        lines = insert(own, question, generator)
        text = "".join(f"{line}\n" for _, line in lines)
        completions[f"{opening}Question: {question}\nAnswer:\n"] = [f"{text}#### {answer}\n"]
        kinds += [kind for kind, _ in lines]
    style = CompletionStyle(ReasoningTags("Answer:", "####"), AnswerTags(" ", "\n"))
    sampler = ScriptedSampler(completions, tokenizer, style=style)
    rollout = sampler(list(completions), 1)
    boundaries = TextBoundaries(tokenizer, Steps(sentences=False))
    spans = [Span(*place, kind) for place, kind in zip(cut(rollout, boundaries), kinds, strict=True)]
    tags = token_ids(tokenizer, "#### "), token_ids(tokenizer, "\n")
    return Case(model, tokenizer, rollout, boundaries, spans, ("filler", "repeated", "restated"), *tags)


def solution(text: str) -> tuple[list[str], str]:
    """The lines of a solution and its answer, as GSM8K writes them: with each calculation in angle brackets."""
    *lines, answer = text.splitlines()
    return [line.strip() for line in lines], answer.removeprefix("#### ").strip()


def insert(own: Sequence[str], question: str, generator: random.Random) -> list[tuple[str, str]]:
    """The lines of a solution with one without content, a copy behind its original, and a sentence of the question.

    Returns:
        Kind and text of each line; those of the solution are `NEEDED`, and in their order.
    """
    lines = [(NEEDED, line) for line in own]
    copied = generator.randrange(len(own))
    lines.insert(generator.randint(copied + 1, len(lines)), ("repeated", own[copied]))
    sentence = generator.choice(re.split(r"(?<=[.?!])\s+", question.strip()))
    for added in (("filler", generator.choice(LINES)), ("restated", sentence)):
        lines.insert(generator.randint(0, len(lines)), added)
    return lines


def cut(rollout: Rollout, boundaries: Boundaries) -> list[tuple[int, int, int]]:
    """Row, begin and end of every span, in order."""
    runs = runs_of_spans(rollout.reasoning_mask, boundaries(rollout), 1)
    return [
        (row, int(runs.begins[row, column]), int(runs.ends[row, column]))
        for row, column in runs.real.nonzero().tolist()
    ]
