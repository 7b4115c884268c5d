"""A training run: set up, resume, loop, save, evaluate before and after, report."""

import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext, redirect_stderr
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import nn

from iapo.interfaces import MIEstimator, Sampler
from iapo.policy.limits import limits_of
from iapo.rewards import check_columns, check_references
from iapo.rewards.scores import read_references
from iapo.rollout.prompts import encode_prompts
from iapo.tasks import PromptStream, Row
from iapo.tasks.splitting import split_indices
from iapo.training.diagnosis import Diagnosis
from iapo.training.divided import divided
from iapo.training.fitting import Room, forced_tokens
from iapo.training.folder import write_text
from iapo.training.interruption import EXIT_CODE, Interrupted, Interruption, listening
from iapo.training.launch import accelerate_sharding, joined
from iapo.training.lock import locked
from iapo.training.log import append_metrics, read_metrics, truncate_metrics
from iapo.training.parallel import Sharding
from iapo.training.processes import Processes
from iapo.training.progress import progress_bar
from iapo.training.random_state import restore_rng
from iapo.training.report import REPORT, write_report
from iapo.training.reproducibility import tokenizer_digest
from iapo.training.session import ComponentChoices, Session, read_by
from iapo.training.setting_up import set_up
from iapo.training.settings import PolicySource, ProblemSource, RunSettings
from iapo.training.signals import check_reference_columns
from iapo.training.styles import AUTO, StyleSource, kept_style, plain


def train(
    policy: PolicySource,
    problems: ProblemSource,
    settings: RunSettings,
    choices: ComponentChoices,
    resolved: Mapping[str, Any],
    styles: StyleSource = AUTO,
) -> int:
    """Train a policy and report what happened.

    Args:
        policy: where the policy comes from.
        problems: where the problems come from.
        settings: the run's folder, its length and its size.
        choices: the components.
        resolved: all settings as plain data, kept in the run folder and compared on resuming.
        styles: how completions reason and answer; what is found is kept in the run folder, as ``style``.

    The first SIGINT or SIGTERM ends sampling at once and lets an update that has begun finish; either way the weights
    after the last finished update are saved. A run that is finished goes on where ``resume`` is on and its limits are
    larger now.

    Returns:
        The exit code: 0, or `iapo.training.interruption.EXIT_CODE` if a signal ended the run after saving.

    Raises:
        FileExistsError: the run folder holds a run and ``resume`` is off.
        BlockingIOError: another process is at work in the run folder.
        iapo.training.interruption.Interrupted: a signal came before there was anything to go on from.
        ValueError: settings that cannot work; raised before the model loads where that is possible.
    """
    sharding = accelerate_sharding(policy.autocast()) or (Sharding() if settings.shard else None)
    with joined(policy.device) as (processes, device), quiet_unless(processes.first):
        if sharding is not None and processes.size == 1:
            raise ValueError("shard: there is one process, want several: start them with torchrun or accelerate launch")
        policy = replace(policy, device=str(device))
        return _train(policy, problems, settings, choices, resolved, styles, processes, sharding)


def _train(
    policy: PolicySource,
    problems: ProblemSource,
    settings: RunSettings,
    choices: ComponentChoices,
    resolved: Mapping[str, Any],
    styles: StyleSource,
    processes: Processes,
    sharding: Sharding | None,
) -> int:
    """`train` on this process of a run."""
    folder = Path(settings.output)
    with ExitStack() as held:
        with processes.together():
            if processes.first:
                held.enter_context(locked(folder))
        interruption = held.enter_context(listening())
        with interruption.leaving():
            run = _open(folder, policy, problems, settings, choices, resolved, styles, processes, sharding)
        try:
            finished = _carry_on(run, interruption)
        except Interrupted:
            run.session.save(run.resolved)
            finished = False
    if finished:
        return 0
    name = interruption.signal.name if interruption.signal is not None else "a signal to another process"
    print(
        f"iapo train: interrupted by {name} after step {run.session.step}; the same command with --resume goes on",
        file=sys.stderr,
    )
    return EXIT_CODE


@contextmanager
def quiet_unless(heard: bool) -> Iterator[None]:
    """What all processes would write to standard error alike is written by the one that is ``heard``."""
    with open(os.devnull, "w") as nowhere, nullcontext() if heard else redirect_stderr(nowhere):
        yield


@dataclass(frozen=True)
class _Run:
    """What a run needs once it is open."""

    folder: Path
    settings: RunSettings
    resolved: Mapping[str, Any]
    session: Session
    held_out: list[Row]
    diagnosis: Diagnosis
    metadata: dict[str, Any]


def _open(
    folder: Path,
    policy: PolicySource,
    problems: ProblemSource,
    settings: RunSettings,
    choices: ComponentChoices,
    resolved: Mapping[str, Any],
    styles: StyleSource,
    processes: Processes,
    sharding: Sharding | None,
) -> _Run:
    """Check everything, load the policy or its newest checkpoint, and write the first files of the run folder."""
    with processes.together():
        if processes.first and not settings.resume and (folder / "config.json").exists():
            state = "a finished run" if (folder / REPORT).exists() else "a run"
            raise FileExistsError(
                f"output: {settings.output} holds {state} already; remove it, name another, or go on with --resume "
                "(a finished run with more --steps)"
            )
    rows = problems.load(settings.seed)
    check_columns(choices.rewards, rows[0])
    check_references(choices.rewards, rows)
    check_reference_columns(choices.assigner.requires, rows[0])
    parts = split_indices(rows, settings.eval_problems)
    references = read_references(rows) if settings.answer == "reference" else []
    tokenizer = policy.tokenizer()
    resolved = {**resolved, "tokenizer": tokenizer_digest(tokenizer), "processes": processes.size}
    resolved["shard"] = sharding is not None
    rows = problems.render(rows, tokenizer)
    training: list[Row] = []
    held_out: list[Row] = []

    answers = max((len(ids) for ids in encode_prompts(references, tokenizer)), default=0)

    def room(model: nn.Module, tokenizer: Any, sampler: Sampler, estimator: MIEstimator) -> Room:
        """What follows a prompt at most: a completion, what an answer is asked for with, and a reference."""
        forced = forced_tokens(estimator, choices.assigner)
        limits = limits_of(model)
        limits.check_tokens(forced, tokenizer, "estimator: postfix and closing")
        reserved = getattr(sampler, "max_new_tokens", 0) + len(forced) + answers
        return Room(tokenizer, limits, reserved, problems.long_prompts)

    def make_stream(model: nn.Module, tokenizer: Any, sampler: Sampler) -> PromptStream:
        """Rows that fit the policy. They are split before: which fit depends on the sampler, and the split must not."""
        own = room(model, tokenizer, sampler, choices.estimator)
        for part, kept in zip(parts, (training, held_out), strict=True):
            kept.extend(rows[part[place]] for place in own.fitting([rows[index] for index in part], part))
        return PromptStream(training, settings.prompts_per_step, settings.seed)

    task, device = problems.resolve(), policy.torch_device()
    kept = kept_style(folder, resolved) if settings.resume else None
    before = resolved if kept is None else {**resolved, "style": plain(kept)}
    session = set_up(policy, settings, choices, make_stream, before, processes, sharding)
    with session.update_settings.autocast_context(device):
        prompts = [row["prompt"] for row in training]
        sampler = divided(session.components.sampler, session.model, processes)
        style = kept or styles.choose(task, sampler, session.tokenizer, prompts, device)
    read_by(session, style)
    parts_of = session.model, session.tokenizer, session.components.sampler
    asked = room(*parts_of, session.components.estimator)
    if asked.reserved > room(*parts_of, choices.estimator).reserved:  # than the prompts were checked with
        replace(asked, long_prompts="refuse").fitting(training, range(len(training)))
    resolved = {**resolved, "style": plain(style)}
    classifier = task.classifier(session.tokenizer, [row["prompt"] for row in rows])
    diagnosis = Diagnosis(session.model, session.tokenizer, session.components, session.update_settings, classifier)
    with processes.together():
        if processes.first:
            truncate_metrics(folder / "metrics.jsonl", session.step)
            write_text(folder / "config.json", json.dumps(resolved, indent=2) + "\n")
    metadata = {
        "model": policy.model,
        "data": str(task),
        "seed": settings.seed,
        "device": policy.torch_device(),
        "problems held out": len(held_out),
        "samples of each": settings.eval_samples,
    }
    return _Run(folder, settings, resolved, session, held_out, diagnosis, metadata)


def _carry_on(run: _Run, interruption: Interruption) -> bool:
    """Update until the run is done or interrupted; if it is done, evaluate and report.

    Several processes notice a signal together, after the update in which it came: what one alone left, the others would
    wait in.

    Returns:
        Whether the run is done.

    Raises:
        Interrupted: a signal came while something was sampled; the session is as after the last finished update.
    """
    session, settings, metrics_file = run.session, run.settings, run.folder / "metrics.jsonl"
    processes = session.update_settings.processes
    leaving: Callable[[], AbstractContextManager[Any]] = interruption.leaving if processes.size == 1 else nullcontext
    with leaving():
        before = session.evaluate(run.held_out, 0)
    if session.resumed_from is not None:
        restore_rng(session.resumed_from.state.rng)
    if session.share_done() < 1 and processes.first:
        (run.folder / REPORT).unlink(missing_ok=True)  # of a finished run that goes on
    with progress_bar(settings.steps, session.step) as show:
        while (done := session.share_done()) < 1:
            due = settings.diagnose > 0 and session.step % settings.diagnose == 0
            metrics = session.advance(done, run.diagnosis if due else None, leaving)
            with processes.together():
                if processes.first:
                    append_metrics(metrics_file, session.step, metrics)
            show(session.step, metrics)
            ended, stop = session.share_done() == 1, processes.any(bool(interruption))
            if session.step % settings.checkpoint_every == 0 or ended or stop:
                session.save(run.resolved)
            if stop and not ended:
                return False
    with leaving():
        after = session.evaluate(run.held_out, session.step)
    metadata = {"updates": session.step, "tokens sampled": session.tokens_sampled, **run.metadata}
    with processes.together():
        if processes.first:
            write_report(run.folder, metadata, read_metrics(metrics_file), before, after)
    return True
