"""`iapo show`: sampled texts of a run or an evaluation with their rewards, to be read in a terminal."""

import contextlib
import os
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jsonargparse.typing import NonNegativeInt, PositiveInt
from rich.console import Console
from rich.rule import Rule
from rich.text import Text

from iapo.commands.console import OutputConsole
from iapo.evaluation import EvaluationResult, Sample, read_samples, samples_beside
from iapo.inspection.glyphs import printable
from iapo.training.reporting.quoting import facts
from iapo.training.samples import SAMPLES

_EVALUATION = re.compile(r"evaluation-(\d+|validation|test)\.jsonl")
_STEP = re.compile(r"evaluation-(\d+)\.jsonl?")
_NEAR = ("*", "*/*", "*/*/*", "..")
"""Where samples may be that are not in a folder: below that of a comparison, and beside a checkpoint."""


@dataclass(frozen=True)
class ShowSettings:
    """Which sampled texts are shown; without a choice, right and wrong ones, the shortest and the longest of each.

    Args:
        right: only completions that are right.
        wrong: only completions that are wrong.
        shortest: the shortest first.
        longest: the longest first.
        step: those of the evaluation after this step; where there is none, those of this update.
        training: those of updates, in place of evaluations.
        count: how many.

    Raises:
        ValueError: two choices that exclude each other.
    """

    right: bool = False
    wrong: bool = False
    shortest: bool = False
    longest: bool = False
    step: NonNegativeInt | None = None
    training: bool = False
    count: PositiveInt = 4

    def __post_init__(self) -> None:
        for one, other in (("right", "wrong"), ("shortest", "longest")):
            if getattr(self, one) and getattr(self, other):
                raise ValueError(f"{one}: got --{one} and --{other}, want one of them")

    def choose(self, samples: Sequence[Sample]) -> list[Sample]:
        """The samples to show, in the order in which they are shown."""
        ordered = sorted(samples, key=lambda sample: sample.tokens, reverse=self.longest)
        right = [sample for sample in ordered if sample.correct]
        wrong = [sample for sample in ordered if not sample.correct]
        if self.right or self.wrong or self.shortest or self.longest:
            kept = right if self.right else wrong if self.wrong else ordered
            return kept[: self.count] if self.shortest or self.longest else _spread(kept, self.count)
        half = self.count // 2
        first = _spread(right, max(self.count - half, self.count - len(wrong)))
        return [*first, *_spread(wrong, self.count - len(first))]


def show(source: str, settings: ShowSettings) -> None:
    """Print sampled texts to standard output, colored in a terminal and plain elsewhere.

    Args:
        source: a run folder, a file of samples, or the .json file of an evaluation beside it.
        settings: which of them.

    Raises:
        FileNotFoundError: nothing of that name, or no samples in it.
        ValueError: a step that is not there, the message lists those that are; no samples of updates; or a file, and a
            choice among those of a run folder.
    """
    path, samples = _read(Path(source).expanduser(), settings)
    if not samples:
        raise ValueError(f"{path}: holds no samples")
    chosen = settings.choose([sample for _, sample in samples])
    contexts = {id(sample): context for context, sample in samples}
    right = sum(sample.correct for _, sample in samples)
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="backslashreplace")
    console = OutputConsole(soft_wrap=True, highlight=False)
    counts = f"{len(samples)} completions, {right} right, {len(samples) - right} wrong"
    console.print(Text(f"{path}: {counts}{_unfinished(path)}{_lost(path, len(samples))}"))
    for sample in chosen:
        _show_one(console, sample, contexts[id(sample)])
    if not chosen:
        console.print(Text("none of them is what was asked for"))


def _unfinished(path: Path) -> str:
    """What to say of the file of an evaluation that is not complete: its numbers are written at the end."""
    goes_on = (
        path.name != SAMPLES
        and path.suffix == ".jsonl"
        and not any(path.with_suffix(end).exists() for end in (".json", ""))
    )
    return " so far (the evaluation is not complete)" if goes_on else ""


def _lost(path: Path, count: int) -> str:
    """What to say of the file of a run's evaluation that lacks completions, or is not the last."""
    if not _EVALUATION.fullmatch(path.name):
        return ""
    step, said = _step(path), ""
    later = [each for each in path.parent.glob("evaluation-*.json") if step < _step(each) < sys.maxsize]
    gone = [each.name for each in sorted(later, key=_step) if not each.with_suffix(".jsonl").exists()]
    if gone:
        said = f" (before {gone[-1]}, whose texts are gone)"
    with contextlib.suppress(OSError, ValueError):  # the numbers are not complete, or not those of a run
        evaluated = EvaluationResult.load(path.with_suffix(".json")).correct
        total = evaluated.numel() + len(evaluated)
        said += f" (of {total}, the texts of the others are gone)" if count < total else ""
    return said


def _show_one(console: Console, sample: Sample, context: dict[str, Any]) -> None:
    where = [f"{name} {value}" for name, value in context.items()]
    heading = " · ".join([*where, f"problem {sample.problem}", facts(sample)])
    console.print()
    if console.is_terminal:
        console.print(Rule(style="dim"))
    console.print(Text(heading, style="bold green" if sample.correct else "bold red"))
    console.print(Text(printable(sample.prompt), style="italic"))
    console.print(Text("---", style="dim"))
    console.print(Text(printable(sample.completion) or "(nothing was written)"))


def _spread(samples: Sequence[Sample], count: int) -> list[Sample]:
    """So many of them from the first to the last, evenly."""
    if count >= len(samples):
        return list(samples)
    if count <= 1:
        return list(samples[:count])
    return [samples[round(index * (len(samples) - 1) / (count - 1))] for index in range(count)]


def _read(source: Path, settings: ShowSettings) -> tuple[Path, list[tuple[dict[str, Any], Sample]]]:
    """The file that is meant, and its samples."""
    if not source.exists():
        raise FileNotFoundError(f"run: no folder or file {source}; want the --output of iapo train or iapo eval")
    if source.is_file():
        if settings.step is not None or settings.training:
            raise ValueError(
                f"run: --step and --training choose among the files of a run, got {source}; want its folder"
            )
        path = source if source.suffix == ".jsonl" else samples_beside(source)
        if not path.exists():
            raise FileNotFoundError(f"run: no samples beside {source}, want {path}")
        return path, read_samples(path)
    evaluations = sorted(source.glob("evaluation-*.jsonl"), key=_step)
    training = source / SAMPLES
    logged = _logged(training) if training.exists() else []
    if not evaluations and not logged:
        near = sorted(
            {os.path.normpath(path.parent) for place in _NEAR for path in source.glob(f"{place}/evaluation-*.jsonl")}
        )
        hint = f"; there are some in {', '.join(near[:3])}" if near else ": nothing was sampled there yet"
        raise FileNotFoundError(f"run: {source} holds no samples{hint}")
    named = [path for path in evaluations if _step(path) == settings.step]
    if settings.step is None and evaluations and not settings.training:
        return evaluations[-1], read_samples(evaluations[-1])
    if named and not settings.training:
        return named[0], read_samples(named[0])
    steps = sorted({context["step"] for context, _ in logged})
    if settings.step is None and not steps:
        raise ValueError(f"training: {source} has no samples of updates (--log_samples of iapo train keeps them)")
    step = steps[-1] if settings.step is None else settings.step
    if step not in steps:
        after = [_step(path) for path in evaluations if _STEP.fullmatch(path.name)]
        updates = f"{steps[0]} to {steps[-1]}" if steps else "none"
        raise ValueError(
            f"step: got {settings.step}, {source} has samples of evaluations after the steps {after} and of the "
            f"updates {updates} (--log_samples of iapo train keeps them)"
        )
    return training, [each for each in logged if each[0]["step"] == step]


def _logged(path: Path) -> list[tuple[dict[str, Any], Sample]]:
    """The samples of updates, each with its step."""
    read = read_samples(path)
    for number, (context, _) in enumerate(read):
        if not isinstance(context.get("step"), int):
            raise ValueError(f"{path}: sample {number} has the step {context.get('step')!r}, want a whole number")
    return read


def _step(path: Path) -> int:
    """The step that a file of an evaluation is named after; those of a comparison have names, and stand last."""
    match = _STEP.fullmatch(path.name)
    return int(match[1]) if match else sys.maxsize
