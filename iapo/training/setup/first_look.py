"""The first completions of a run, to be read as soon as they are there."""

import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from iapo.evaluation import lines_of, samples_of
from iapo.interfaces import Reward
from iapo.ops.shell import quoted_path
from iapo.ops.text_files import write_text
from iapo.rewards import in_style
from iapo.styles import CompletionStyle
from iapo.tasks import Row
from iapo.training.distributed.divided import divided_scores
from iapo.training.distributed.processes import Processes
from iapo.training.reporting.report_so_far import SO_FAR, ReportSoFar
from iapo.training.samples import SAMPLES
from iapo.types import Rollout


@dataclass(frozen=True)
class FirstLook:
    """Scores first completions, and writes them into the samples and the report of a run, before anything is trained.

    They teach nothing: neither the updates nor the evaluations use them.

    Args:
        rows: the problems that are sampled, in this order.
        rewards: of the run.
        lenient: as `iapo.rewards.in_style` takes it.
        tokenizer: of the policy.
        eos_ids: tokens that end a completion.
        report: of the run, so far.
        processes: all of them call this together, with the same completions.
        time_limit: seconds that one reward function may take over the completions; ``None``: no limit.
        correct_above: a completion is right if the first reward gives it more than this.
    """

    rows: Sequence[Row]
    rewards: Mapping[str, Reward]
    lenient: bool
    tokenizer: Any
    eos_ids: Collection[int]
    report: ReportSoFar
    processes: Processes
    time_limit: float | None
    correct_above: float

    @contextmanager
    def announced(self) -> Iterator[None]:
        """A block in which the completions are sampled; where it fails before there are any, there is no report."""
        with self.processes.together():
            if self.processes.first:
                self.report.write("the first completions are being sampled")
        try:
            yield
        except BaseException:
            if self.processes.first and not self.report.samples:
                self.report.remove()
            raise

    def __call__(self, rollout: Rollout, style: CompletionStyle) -> None:
        """Write what is there.

        Args:
            rollout: all completions so far; its group ids are indices of ``rows``.
            style: as far as they show it.
        """
        rewards = in_style(self.rewards, style, self.lenient)
        answered = [self.rows[group] for group in rollout.group_ids.tolist()]
        score = divided_scores(self.processes, self.time_limit, self.correct_above)
        scores = score(rollout, answered, self.tokenizer, rewards, self.eos_ids)
        samples = samples_of(rollout, self.rows, scores, self.tokenizer, self.eos_ids, style)
        with self.processes.together():
            if self.processes.first:
                folder: Path = self.report.folder
                write_text(folder / SAMPLES, lines_of(samples, step=0))
                self.report.samples = samples
                self.report.write(f"{len(samples)} first completions are sampled, nothing is evaluated or trained yet")
                right, cut = sum(s.correct for s in samples), sum(s.finished is False for s in samples)
                print(
                    f"first completions: {right} of {len(samples)} right, {cut} cut before they ended; "
                    f"iapo show {quoted_path(folder)} prints them, {folder / SO_FAR} is the report so far",
                    file=sys.stderr,
                )
