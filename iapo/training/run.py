"""A training run: set up, resume, loop, save, evaluate before and after, report."""

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext, redirect_stderr
from dataclasses import replace
from pathlib import Path
from typing import Any

from iapo.evaluation import Sample, read_samples
from iapo.ops.lock import locked
from iapo.ops.random_state import restore_rng
from iapo.ops.shell import quoted_path
from iapo.rollout.greedy import most_new_tokens
from iapo.training.configuration.run_config import RunConfig
from iapo.training.diagnosis import SKIPPED
from iapo.training.distributed.accelerate import accelerate_sharding, check_configured
from iapo.training.distributed.launch import joined, launched_processes
from iapo.training.distributed.parallel import Sharding
from iapo.training.distributed.processes import Processes
from iapo.training.distributed.zero import Zero
from iapo.training.equal_rewards import EqualRewards
from iapo.training.interim_results import evaluated_completions, interim_writer, write_report_so_far
from iapo.training.interruption import EXIT_CODE, Interrupted, Interruption, listening
from iapo.training.reporting.log import METRICS, append_metrics, append_samples, read_metrics
from iapo.training.reporting.progress import CommandProgress
from iapo.training.reporting.report import REPORT, write_report
from iapo.training.reporting.tracking import check_tracker, tracked
from iapo.training.samples import SAMPLES
from iapo.training.session import Session
from iapo.training.setup.opening import Run, open_run


def train(config: RunConfig) -> int:
    """Train a policy and report what happened.

    The first SIGINT, SIGTERM or SIGHUP ends sampling at once and lets an update that has begun finish; either way the
    weights after the last finished update are saved. A run that is finished goes on where ``resume`` is on and its
    limits are larger now.

    Args:
        config: what the run is asked to be.

    Returns:
        The exit code: 0, or `iapo.training.interruption.EXIT_CODE` if a signal ended the run after saving.

    Raises:
        FileExistsError: the run folder holds a run and ``resume`` is off.
        BlockingIOError: another process is at work in the run folder.
        iapo.training.interruption.Interrupted: a signal came before there was anything to go on from.
        ValueError: settings that cannot work; raised before the model loads where that is possible.
    """
    policy, settings = config.policy, config.settings
    check_tracker(settings.tracker)
    check_configured(launched_processes())
    with (
        joined(policy.device) as (processes, device),
        quiet_unless(processes.first),
        CommandProgress("iapo train") as progress,
    ):
        policy = replace(policy, device=str(device))
        sharding = accelerate_sharding(policy.autocast(), settings.max_grad_norm)
        if settings.shard and isinstance(sharding, Zero):
            raise ValueError(
                "shard: got true (FSDP2), and DeepSpeed is configured, want one of them; leave --shard out"
            )
        sharding = sharding or (Sharding() if settings.shard else None)
        if sharding is not None and processes.size == 1:
            raise ValueError("shard: there is one process, want several: start them with torchrun or accelerate launch")
        return _train(replace(config, policy=policy), processes, sharding, progress)


def _train(config: RunConfig, processes: Processes, sharding: Sharding | Zero | None, progress: CommandProgress) -> int:
    """`train` on this process of a run."""
    folder = Path(config.settings.output)
    with ExitStack() as held:
        lock = None
        with processes.together():
            if processes.first:
                lock = held.enter_context(locked(folder))
        interruption = held.enter_context(listening(processes.size > 1))
        what = f"setting up {config.policy.model} and {config.problems.resolve()}"
        with interruption.leaving(), progress.phase(what):
            run = open_run(config, processes, sharding, progress, lock)
        try:
            finished = _carry_on(run, interruption, progress)
        except Interrupted:
            _save(run)
            finished = False
    if finished:
        progress.say(
            f"the report is in {folder / REPORT}; iapo show {quoted_path(folder)} prints sampled texts, "
            f"iapo export {quoted_path(folder)} --output FOLDER writes the model"
        )
        return 0
    name = interruption.signal.name if interruption.signal is not None else "a signal to another process"
    progress.say(f"interrupted by {name} {_kept(run.session)}; the same command with --resume goes on")
    return EXIT_CODE


def _save(run: Run) -> None:
    """A checkpoint, in the folder that this run holds."""
    run.check_held()
    run.session.save(run.resolved)


def _kept(session: Session) -> str:
    """When a run was interrupted, and what is kept of it."""
    if not session.step:
        return "after step 0, before the first update was made, so that nothing is trained yet"
    kept = f"{Path(session.settings.output) / f'checkpoint-{session.step}'} is saved"
    if session.share_done() == 1:
        return f"in the evaluation after step {session.step}, the last; {kept}"
    return f"after step {session.step}; {kept}"


@contextmanager
def quiet_unless(heard: bool) -> Iterator[None]:
    """What all processes would write to standard error alike is written by the one that is ``heard``."""
    with open(os.devnull, "w") as nowhere, nullcontext() if heard else redirect_stderr(nowhere):
        yield


def _carry_on(run: Run, interruption: Interruption, progress: CommandProgress) -> bool:
    """Update until the run is done or interrupted; if it is done, evaluate and report.

    Several processes notice a signal together, after the update in which it came: what one alone left, the others would
    wait in.

    Returns:
        Whether the run is done.

    Raises:
        Interrupted: a signal came while something was sampled; the session is as after the last finished update.
    """
    session, metrics_file = run.session, run.folder / METRICS
    settings = session.settings
    processes = session.update_settings.processes
    leaving: Callable[[], AbstractContextManager[Any]] = interruption.leaving if processes.size == 1 else nullcontext
    with leaving(), _evaluating(progress, run, "before training"):
        before = session.evaluate(run.held_out, 0, run.resolved, interim_writer(run, "before training"))
    run.so_far.before = before
    if session.resumed_from is not None:
        restore_rng(session.resumed_from.state.rng)
    if session.share_done() < 1:
        if processes.first:
            (run.folder / REPORT).unlink(missing_ok=True)  # of a finished run that goes on
        write_report_so_far(run)
    elif processes.first:
        progress.say(_reached(session))
    rewards = EqualRewards()
    tracker = settings.tracker if processes.first else "none"
    with (
        progress.updates(settings.steps, session.step, session.model) as show,
        tracked(tracker, run.folder, run.resolved, session.step) as track,
    ):
        while (done := session.share_done()) < 1:
            due = settings.diagnose > 0 and session.step % settings.diagnose == 0
            metrics = session.advance(done, run.diagnosis if due else None, leaving)
            run.check_held()
            with processes.together():
                if processes.first:
                    append_metrics(metrics_file, session.step, metrics)
                    append_samples(run.folder / SAMPLES, session.step, session.samples)
                    track(session.step, metrics)
            show(session.step, metrics)
            if SKIPPED in metrics:
                progress.say(f"update {session.step} is not diagnosed: in every group all rewards are equal")
            rewards.see(metrics)
            ended, stop = session.share_done() == 1, processes.any(bool(interruption))
            if session.step % settings.checkpoint_every == 0 or ended or stop:
                _save(run)
            if session.saved_step == session.step or session.step == 1:
                write_report_so_far(run)
            if stop and not ended:
                return False
    with leaving(), _evaluating(progress, run, "after training"):
        see = interim_writer(run, f"after update {session.step}")
        after = session.evaluate(run.held_out, session.step, run.resolved, see)
    run.check_held()
    metadata = {"updates": session.step, "tokens sampled": session.tokens_sampled, **run.metadata}
    with processes.together():
        if processes.first:
            write_report(run.folder, metadata, read_metrics(metrics_file), before, after, _sampled(run))
            run.so_far.remove()
    return True


def _evaluating(progress: CommandProgress, run: Run, when: str) -> AbstractContextManager[None]:
    session, count = run.session, evaluated_completions(run)
    title = f"evaluating {when}, {count} completions"
    return progress.phase(title, session.model, count, most_new_tokens(session.components.sampler))


def _sampled(run: Run) -> list[Sample]:
    """The completions of the last evaluation; none if somebody removed them."""
    path = run.folder / f"evaluation-{run.session.step}.jsonl"
    return [sample for _, sample in read_samples(path)] if path.exists() else []


def _reached(session: Session) -> str:
    """Why there is nothing left to train, and what goes on."""
    settings, limits = session.settings, []
    if session.step >= settings.steps:
        limits.append(f"--steps {settings.steps}")
    if settings.max_tokens is not None and session.tokens_sampled >= settings.max_tokens:
        limits.append(f"--max_tokens {settings.max_tokens}")
    return (
        f"nothing is left to train: {settings.output} has {session.step} updates and {session.tokens_sampled} sampled "
        f"tokens, not less than {' and '.join(limits)}; raise what is reached to go on"
    )
