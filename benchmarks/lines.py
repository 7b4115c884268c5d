"""What a method pays for, by kind of line of a model of `benchmarks/warm_start.py`: before training, and after.

    python benchmarks/lines.py runs/models/smollm2_small runs/smollm2_small/iapo_steps/default/seed-0/checkpoint-30 \
        --problems runs/smollm2_small/problems-test.json --config iapo://leave_out --precision bf16 --output lines.md

Samples completions of the problems, of `iapo compare` or of the warm start, gives them advantages as `iapo train` with
this `--config` and its other flags would (a weight with a schedule: before training as it begins, after training as it
ends), and writes two tables for each model, standard errors over problems in brackets. Flags about the style, which is
the warm start's, and about groups, which `--samples` says, are refused. Lines: how many of a completion, tokens of
each, and means per token of the information in nats and of the terms of the advantage. Decisions, at the first token of
a line: how many of a completion, and for each term its mean, its difference to what else was chosen at the same place
in the group, and how far that pushes; `benchmarks/decision_points.py` says what these are.
"""

import argparse
import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from decision_points import Span, contrast, decisions_of, spans_of
from demonstrations import KINDS
from torch import Tensor

from iapo.diagnostics import Estimate, information_by_class
from iapo.optimizers import ClippedOptimizer
from iapo.policy.loading import choose_autocast
from iapo.styles import CompletionStyle
from iapo.training import Components, UpdateSettings, prepare
from iapo.training.configuration.parser import train_parser
from iapo.training.configuration.policy_source import PolicySource
from iapo.training.configuration.styles import estimator_in_style, sampler_in_style
from iapo.training.loop import TrainingBatch

UNREAD = ("answer_style", "reasoning_style", "postfix", "closing", "lenient", "group_size", "resample")
"""Settings of `iapo train` that nothing here reads."""
RARE = 0.1
"""Choices behind a kind of line have a row if a completion has so many of them."""


def sampled(
    path: Path, problems: list[dict[str, Any]], arguments: argparse.Namespace, flags: list[str], progress: float
) -> tuple[TrainingBatch, Any]:
    """A batch of completions with their advantages at this share of the training, and the tokenizer."""
    parser = train_parser()
    given = parser.parse_args([f"--config={arguments.config}", f"--model={path}", *flags])
    parts = parser.instantiate(given).as_dict()
    policy = PolicySource(**{name: parts[name] for name in PolicySource.__dataclass_fields__})
    model, tokenizer = policy.load()
    style = CompletionStyle()
    components = Components(
        sampler_in_style(parts["sampler"](model, tokenizer), style),
        parts["rewards"],
        estimator_in_style(parts["estimator"], style, tokenizer),
        parts["assigner"].at(progress),
        parts["loss"],
        ClippedOptimizer(parts["optimizer"](model.parameters())),
    )
    autocast = choose_autocast(parts["precision"], policy.torch_device())
    settings = UpdateSettings(arguments.samples, parts["micro_batch"], answer=parts["answer"], autocast=autocast)
    torch.manual_seed(arguments.seed)
    return prepare(problems, model, tokenizer, components, settings), tokenizer


def tables(batch: TrainingBatch, tokenizer: Any) -> list[str]:
    """Both tables of a batch."""
    rollout = batch.rollout
    spans = [
        spans_of(ids[real].tolist(), tokenizer)
        for ids, real in zip(rollout.completion_ids, rollout.completion_mask, strict=True)
    ]
    terms = batch.assigned.terms or {"advantage": batch.assigned.advantages}
    return [lines_table(batch, spans, terms), decisions_table(batch, spans, terms)]


def lines_table(batch: TrainingBatch, spans: list[list[Span]], terms: Mapping[str, Tensor]) -> str:
    """Means per token by kind of line, where something was measured of a completion's reasoning."""
    rollout = batch.rollout
    measured, mask, groups = rollout.reasoning_mask, rollout.completion_mask, rollout.group_ids
    labels = [[span.kind for span in own for _ in range(span.begin, span.end)] for own in spans]
    values = {"nats": batch.signals.information} if batch.signals.information is not None else {}
    values |= {f"{name} term": term for name, term in terms.items()}
    found = {name: information_by_class(each, measured, mask, groups, labels) for name, each in values.items()}
    counts, tokens = Counter(), Counter()
    for own in spans:
        for span in own:
            counts[span.kind] += 1
            tokens[span.kind] += span.end - span.begin
    rows = [
        [kind, f"{counts[kind] / len(spans):.2f}", f"{tokens[kind] / counts[kind]:.1f}"]
        + [with_error(each.get(kind)) for each in found.values()]
        for kind in (*KINDS, "other")
        if counts[kind]
    ]
    return table(["line", "of a completion", "tokens", *values], rows)


def decisions_table(batch: TrainingBatch, spans: list[list[Span]], terms: Mapping[str, Tensor]) -> str:
    """The contrasts of each kind of line, at all places, and behind each other kind where that is not rare."""
    decisions, groups = decisions_of(spans), batch.rollout.group_ids.tolist()
    columns = [f"{name}, {what}" for name in terms for what in ("mean", "difference", "push")]
    rows = []
    for kind in (*KINDS, "other"):
        behind = Counter(each.behind for each in decisions if each.kind == kind)
        often = [(place, count) for place, count in behind.most_common() if count >= RARE * len(spans)]
        places = [(None, behind.total()), *often] if behind else []
        for place, count in places:
            row = [kind, place or "any", f"{count / len(spans):.2f}"]
            for term in terms.values():
                found = contrast(term, decisions, groups, kind, place)
                row += [with_error(each) for each in (found.chosen, found.difference, found.push)]
            rows.append(row)
    return table(["choice", "behind", "of a completion", *columns], rows)


def table(columns: list[str], rows: list[list[str]]) -> str:
    """In Markdown."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def with_error(estimate: Estimate | None) -> str:
    """A value and its standard error."""
    if estimate is None:
        return "–"
    error = estimate.standard_error
    return f"{estimate.value:+.3f}" + ("" if error is None else f" ({error:.3f})")


def read_problems(path: Path, count: int) -> list[dict[str, Any]]:
    """The first problems of a comparison's file, or of a warm start's."""
    text = path.read_text()
    rows = json.loads(text)["rows"] if path.suffix == ".json" else [json.loads(line) for line in text.splitlines()]
    return rows[:count]


def main(given: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("models", type=Path, nargs="+", help="one, or before and after")
    parser.add_argument("--problems", type=Path, required=True, help="as `iapo compare` or the warm start keeps them")
    parser.add_argument("--config", default="iapo://leave_out", help="as `iapo train` takes it")
    parser.add_argument("--count", type=int, default=32, help="problems, from the first")
    parser.add_argument("--samples", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, required=True)
    arguments, flags = parser.parse_known_args(given)
    given_names = {flag.removeprefix("--").split("=")[0].split(".")[0] for flag in flags}
    if unread := sorted(given_names.intersection(UNREAD)):
        parser.error(
            f"--{', --'.join(unread)}: not read here; the style is the warm start's, --samples the group's size"
        )
    problems = read_problems(arguments.problems, arguments.count)
    parts = []
    for index, path in enumerate(arguments.models):
        batch, tokenizer = sampled(path, problems, arguments, flags, index / max(1, len(arguments.models) - 1))
        title = ("Before training", "After training")[index] if len(arguments.models) == 2 else str(path)
        right, length = batch.rewards.mean(), batch.rollout.completion_lengths.double().mean()
        parts += [f"{title}: accuracy {right:.3f}, {length:.1f} tokens.", *tables(batch, tokenizer)]
    arguments.output.write_text("\n\n".join(parts) + "\n")
    print(arguments.output.read_text())


if __name__ == "__main__":
    main()
