"""A run opened: its problems read and split, its policy loaded, its style found, its folder begun or taken up again."""

import json
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from iapo.ops.lock import check_held
from iapo.ops.text_files import write_text
from iapo.rollout.ends import eos_ids_of
from iapo.styles import CompletionStyle
from iapo.tasks import Row
from iapo.tasks.stream import digest_of
from iapo.training.checkpoints.checkpoint import checkpoints
from iapo.training.checkpoints.reproducibility import tokenizer_digest
from iapo.training.components import check_answer_is_read, warn_of_nothing_measured
from iapo.training.configuration.policy_source import PolicySource
from iapo.training.configuration.run_config import RunConfig
from iapo.training.configuration.trained_problems import warn_of_trained
from iapo.training.diagnosis import Diagnosis
from iapo.training.distributed.divided import divided
from iapo.training.distributed.parallel import Sharding
from iapo.training.distributed.processes import Processes
from iapo.training.distributed.zero import Zero
from iapo.training.reporting.log import METRICS, truncate, truncate_metrics
from iapo.training.reporting.progress import CommandProgress
from iapo.training.reporting.report_so_far import ReportSoFar
from iapo.training.samples import SAMPLES
from iapo.training.session import Session, read_by
from iapo.training.setup.alike import check_alike, known_before_loading
from iapo.training.setup.describing import learning_rate_of, method_of
from iapo.training.setup.finding_style import choose_style, first_of
from iapo.training.setup.first_look import FirstLook
from iapo.training.setup.kept_style import kept_style, plain
from iapo.training.setup.problems import RunProblems
from iapo.training.setup.prompt_notes import print_prompt_notes, stopping
from iapo.training.setup.run_folder import check_begun, check_free, forget_evaluations
from iapo.training.setup.setting_up import set_up


@dataclass(frozen=True)
class Run:
    """What a run needs once it is open.

    Args:
        folder: of the run.
        resolved: all settings as plain data, with what was found of the tokenizer, the processes and the style.
        session: the run in progress.
        held_out: the problems that it is evaluated on.
        diagnosis: measures its updates.
        metadata: what the reader of its report needs to know, by name.
        so_far: writes the report of a run that is not finished.
        style_said: whether the style was known before anything was sampled.
        lock: of the folder, in the process that writes; ``None`` in others.
    """

    folder: Path
    resolved: Mapping[str, Any]
    session: Session
    held_out: Sequence[Row]
    diagnosis: Diagnosis
    metadata: Mapping[str, Any]
    so_far: ReportSoFar
    style_said: bool
    lock: int | None

    def check_held(self) -> None:
        """Raise ``FileNotFoundError``, in all processes, if the folder is not the one that was locked any more."""
        with self.session.update_settings.processes.together():
            if self.lock is not None:
                check_held(self.folder, self.lock)


def open_run(
    config: RunConfig,
    processes: Processes,
    sharding: Sharding | Zero | None,
    progress: CommandProgress,
    lock: int | None,
) -> Run:
    """Check everything, load the policy or its newest checkpoint, and write the first files of the run folder.

    Args:
        config: what the run is asked to be.
        processes: of the run.
        sharding: of the policy over them.
        progress: of the command.
        lock: of the run folder, in the process that writes; ``None`` in others.
    """
    settings, choices, styles, task = config.settings, config.choices, config.styles, config.problems.resolve()
    folder = Path(settings.output)
    with processes.together():
        if processes.first:
            check_free(folder, settings)
    warn_of_nothing_measured(choices.estimator, choices.assigner)
    check_answer_is_read(settings.answer, choices.estimator, choices.assigner)
    problems = RunProblems.read(config)
    if processes.first and not settings.resume:
        held_out = problems.all.select(problems.held_out).rows
        warn_of_trained(config.policy.model, config.problems, held_out, "eval_problems")
    tokenizer = config.policy.tokenizer()
    resolved = {**config.resolved, **_found(config.policy, problems, tokenizer, processes, sharding)}
    if processes.size > 1:
        check_alike(processes, known_before_loading(settings, resolved, problems.all.rows))
    kept = kept_style(folder, resolved) if settings.resume else None
    begun_so = True
    if settings.resume and not checkpoints(folder):
        begun_so = check_begun(folder, resolved, settings.override)
        progress.say(f"there is no checkpoint in {folder} to go on from, so the run begins with its first update")
    if kept is not None:
        resolved["style"] = plain(kept)
    problems = problems.rendered(tokenizer)
    choices = replace(choices, sampler=stopping(choices.sampler, problems.all.stop(tokenizer)))
    session, fitting = set_up(replace(config, choices=choices, resolved=resolved), problems, processes, sharding)
    training, held_out = fitting.training, fitting.held_out.rows
    print_prompt_notes(training, session.tokenizer, session.components.sampler)
    metadata = _metadata(config, session, len(held_out))
    so_far = ReportSoFar(folder, metadata, training.rows[0]["prompt"])
    begun = kept is not None or session.resumed_from is not None or (folder / "evaluation-0.json").exists()
    style = _style(config, session, training.rows, kept, None if begun else so_far, progress)
    read_by(session, style, styles.lenient)
    resolved["style"] = plain(style)
    asked = problems.room(session.model, session.tokenizer, session.components)
    if asked.reserved > fitting.room.reserved:  # the style asks with more tokens than prompts were checked with
        training.fitting(replace(asked, long_prompts="refuse"))
    classifier = task.classifier(session.tokenizer, [row["prompt"] for row in problems.all.rows])
    diagnosis = Diagnosis(session.model, session.tokenizer, session.components, session.update_settings, classifier)
    with processes.together():
        if lock is not None:
            check_held(folder, lock)
            changed = not begun_so or (session.resumed_from is not None and session.resumed_from.changes)
            if (saved := session.resumed_from) is None:
                truncate(folder / METRICS, 0)
            else:
                truncate_metrics(folder / METRICS, saved.step, saved.state.counters["metrics"])
            forget_evaluations(folder, session.step if changed else session.step + 1)
            truncate(folder / SAMPLES, session.step)
            write_text(folder / "config.json", json.dumps(resolved, indent=2) + "\n")
    said = styles.known(task) is not None
    return Run(folder, resolved, session, held_out, diagnosis, metadata, so_far, said, lock)


def _found(
    policy: PolicySource, problems: RunProblems, tokenizer: Any, processes: Processes, sharding: Sharding | Zero | None
) -> dict[str, Any]:
    """What a run is also compared by when it is resumed. Rows to train on are the prompt stream's to compare."""
    shard: dict[str, Any] = {"shard": sharding is not None}
    if isinstance(sharding, Zero):
        shard = {"shard": str(sharding), "deepspeed": version("deepspeed")}
    return {
        "tokenizer": tokenizer_digest(tokenizer),
        "forwards": str(policy.autocast() or torch.float32).removeprefix("torch."),
        "processes": processes.size,
        **shard,
        "held_out_rows": digest_of(problems.all.select(problems.held_out).rows),
    }


def _metadata(config: RunConfig, session: Session, held_out: int) -> dict[str, Any]:
    """What the reader of a report needs to know about its run, by name."""
    metadata = {
        "model": config.policy.model,
        "data": str(config.problems.resolve()),
        "method": method_of(config.choices),
        "learning rate": learning_rate_of(session.torch_optimizer, config.settings),
        "seed": config.settings.seed,
        "device": config.policy.torch_device(),
        "problems held out": held_out,
        "samples of each": config.settings.eval_samples,
    }
    if session.changed:
        metadata["not one run throughout, by --override"] = ". ".join(session.changed)
    return metadata | ({"command": f"`{config.command}`"} if config.command else {})


def _style(
    config: RunConfig,
    session: Session,
    training: Sequence[Row],
    kept: CompletionStyle | None,
    so_far: ReportSoFar | None,
    progress: CommandProgress,
) -> CompletionStyle:
    """The style that the run keeps, that is known, or that first completions show.

    Args:
        config: of the run.
        session: of the run; its sampler makes the completions.
        training: the problems whose first are sampled.
        kept: by a run that goes on.
        so_far: the report that first completions are written into; ``None``: they are not wanted to be read.
        progress: of the command.
    """
    if kept is not None:
        return kept
    components, tokenizer = session.components, session.tokenizer
    device, processes = config.policy.torch_device(), session.update_settings.processes
    sampler, rows = divided(components.sampler, session.model, processes), first_of(training)
    look = None
    if so_far is not None:
        settings, ends = config.settings, eos_ids_of(sampler, tokenizer)
        look = FirstLook(
            rows,
            components.rewards,
            config.styles.lenient,
            tokenizer,
            ends,
            so_far,
            processes,
            settings.reward_time_limit,
            settings.correct_above,
        )
    with (
        nullcontext() if look is None else look.announced(),
        session.update_settings.autocast_context(device),
        progress.phase("sampling first completions", session.model),
    ):
        prompts = [row["prompt"] for row in rows]
        return choose_style(config.styles, config.problems.resolve(), sampler, tokenizer, prompts, device, look)
