"""What a run writes while it goes on: the completions of an evaluation as they are sampled, and the report so far."""

from collections.abc import Callable, Sequence

from iapo.evaluation import Sample, lines_of
from iapo.ops.text_files import write_text
from iapo.rollout import style_of
from iapo.styles.agreement import ENOUGH_SAMPLES
from iapo.training.reporting.log import METRICS, read_metrics
from iapo.training.setup.finding_style import warn_of_style
from iapo.training.setup.opening import Run


def interim_writer(run: Run, when: str) -> Callable[[Sequence[Sample]], None]:
    """What keeps the completions of an evaluation, and writes the report so far, as they are sampled.

    Where the style was known before anything was sampled, the first of them also show whether it is theirs.

    Args:
        run: that is evaluated.
        when: before training, after update 20.
    """
    session, processes = run.session, run.session.update_settings.processes
    path, total = run.folder / f"evaluation-{session.step}.jsonl", evaluated_completions(run)
    unchecked = run.style_said and session.step == 0

    def see(samples: Sequence[Sample]) -> None:
        nonlocal unchecked
        whole = [sample for sample in samples if sample.finished]
        if unchecked and len(whole) >= ENOUGH_SAMPLES:
            unchecked = False
            texts, prompts = [sample.completion for sample in whole], [sample.prompt for sample in whole]
            warn_of_style(style_of(session.components.sampler), texts, prompts)
        run.check_held()
        with processes.together():
            if processes.first:
                write_text(path, lines_of(samples))
                run.so_far.samples, run.so_far.when, run.so_far.shown = samples, when, ""
                run.so_far.write(f"{len(samples)} of {total} completions of the evaluation {when} are sampled")

    return see


def write_report_so_far(run: Run) -> None:
    """Write the report of a run that goes on, behind an evaluation or an update."""
    session, processes = run.session, run.session.update_settings.processes
    with processes.together():
        if processes.first:
            run.so_far.metrics = read_metrics(run.folder / METRICS)
            if session.samples:
                run.so_far.samples, run.so_far.when = session.samples, f"in update {session.step}"
                run.so_far.shown = " --training"
            run.so_far.write(f"{session.step} of {session.settings.steps} updates are made")


def evaluated_completions(run: Run) -> int:
    """How many completions an evaluation samples."""
    return len(run.held_out) * (run.session.settings.eval_samples + 1)
