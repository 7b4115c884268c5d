"""The report of a run that is not finished: what was sampled so far."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from iapo.evaluation import EvaluationResult, Sample, markdown_table
from iapo.ops.shell import quoted_path
from iapo.ops.text_files import write_text
from iapo.training.reporting.quoting import fenced, quoted
from iapo.training.reporting.report import REPORT, time_table

SO_FAR = "report-so-far.md"
"""The file; a finished run has the report in its place."""


@dataclass
class ReportSoFar:
    """Writes ``report-so-far.md`` anew whenever there is more to say, from the first completions on.

    Args:
        folder: the run folder.
        metadata: what the reader needs to know about the run, by name.
        prompt: a first one as the policy reads it.
        before: the evaluation before training, once it is complete.
        metrics: of the updates until now.
        samples: the newest completions.
        when: when they were sampled: before training, after update 20.
        shown: the flags by which `iapo show` prints them.
    """

    folder: Path
    metadata: Mapping[str, Any] = field(default_factory=dict)
    prompt: str = ""
    before: EvaluationResult | None = None
    metrics: Sequence[Mapping[str, float]] = ()
    samples: Sequence[Sample] = ()
    when: str = "before training"
    shown: str = ""

    def write(self, state: str) -> None:
        """Write the file.

        Args:
            state: how far the run is.
        """
        lines = ["# Report so far", "", f"**Not finished: {state}.** The final report will be `{REPORT}`.", ""]
        lines += [*(f"- {name}: {value}" for name, value in self.metadata.items()), ""]
        if not self.samples:
            lines += ["## What is sent", "", *fenced(self.prompt), ""]
        if self.before is not None:
            lines += ["## Before training, on problems held out from it", "", markdown_table({"before": self.before})]
            lines += [""]
        if self.samples:
            lines += [f"## So far, {self.when}", "", *counted(self.samples), ""]
        lines += quoted(self.samples, f"iapo show {quoted_path(self.folder)}{self.shown}", self.when)
        if self.metrics:
            lines += ["## Training", "", *time_table(self.metrics)]
        write_text(self.folder / SO_FAR, "\n".join(lines).rstrip() + "\n")

    def remove(self) -> None:
        """Remove the file, if there is one."""
        (self.folder / SO_FAR).unlink(missing_ok=True)


def counted(samples: Sequence[Sample]) -> list[str]:
    """What completions came to, as a Markdown table: those that were drawn, and greedy ones if there are any.

    Example:
        >>> sample = Sample(0, "1+1=", "3", "2", "3", {"accuracy": 0.0}, 0.0, False, 2, True)
        >>> counted([sample])[2]
        '| sampled | 1 | 0 | 0 | 2.0 | 0 | 0 |'
    """
    lines = ["| | completions | right | mean reward | mean tokens | cut before the end | no answer read |"]
    lines += ["|---" * 7 + "|"]
    for name, greedy in (("sampled", False), ("greedy", True)):
        of = [sample for sample in samples if sample.greedy == greedy]
        if of:
            rewards = [sample.reward for sample in of if sample.reward is not None]
            mean = f"{sum(rewards) / len(rewards):.3g}" if rewards else "none"
            cells = [len(of), sum(sample.correct for sample in of), mean]
            cells += [f"{sum(sample.tokens for sample in of) / len(of):.1f}"]
            cells += [sum(sample.finished is False for sample in of), sum(sample.answer is None for sample in of)]
            lines.append(f"| {name} | {' | '.join(map(str, cells))} |")
    return lines
