"""A run opened: its problems read and split, its policy loaded, its style found, its folder begun or taken up again."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from torch import nn

from iapo.interfaces import MIEstimator, Sampler
from iapo.policy.limits import limits_of
from iapo.rewards import check_columns, check_references
from iapo.rewards.scores import read_references
from iapo.rollout.ends import eos_ids_of
from iapo.rollout.prompts import encode_prompts
from iapo.tasks import PromptStream, Row, RowPlace
from iapo.tasks.splitting import split_indices
from iapo.tasks.stream import check_batch, digest_of
from iapo.training.checkpoints.folder import write_text
from iapo.training.checkpoints.reproducibility import tokenizer_digest
from iapo.training.components import check_answer_is_read, warn_of_nothing_measured
from iapo.training.configuration.settings import PolicySource, ProblemSource, RunSettings
from iapo.training.configuration.styles import StyleSource
from iapo.training.diagnosis import Diagnosis
from iapo.training.distributed.divided import divided
from iapo.training.distributed.parallel import Sharding
from iapo.training.distributed.processes import Processes
from iapo.training.distributed.zero import Zero
from iapo.training.reporting.log import truncate_metrics, warn_of_missing
from iapo.training.reporting.progress import CommandProgress
from iapo.training.reporting.report import REPORT
from iapo.training.reporting.report_so_far import ReportSoFar
from iapo.training.samples import SAMPLES
from iapo.training.session import ComponentChoices, Session, read_by
from iapo.training.setup.describing import learning_rate_of, method_of
from iapo.training.setup.finding_style import choose_style, first_of
from iapo.training.setup.first_look import FirstLook
from iapo.training.setup.fitting import Room, forced_in_training, new_tokens
from iapo.training.setup.kept_style import kept_style, plain
from iapo.training.setup.sent import stopping, tell_end_of_turn, tell_examples, tell_prompt
from iapo.training.setup.setting_up import set_up
from iapo.training.signals import check_reference_columns


@dataclass(frozen=True)
class Run:
    """What a run needs once it is open."""

    folder: Path
    settings: RunSettings
    resolved: Mapping[str, Any]
    session: Session
    held_out: list[Row]
    diagnosis: Diagnosis
    metadata: dict[str, Any]
    so_far: ReportSoFar
    style_said: bool


def _holds_run(folder: Path) -> bool:
    """Whether anything lies there that a new run would take for its own: an evaluation is not made twice, say."""
    names = ("config.json", "checkpoint-*", "evaluation-*.json")
    return any(True for name in names for _ in folder.glob(name))


def open_run(
    folder: Path,
    policy: PolicySource,
    problems: ProblemSource,
    settings: RunSettings,
    choices: ComponentChoices,
    resolved: Mapping[str, Any],
    styles: StyleSource,
    processes: Processes,
    sharding: Sharding | Zero | None,
    command: str,
    progress: CommandProgress,
) -> Run:
    """Check everything, load the policy or its newest checkpoint, and write the first files of the run folder."""
    with processes.together():
        if processes.first and not settings.resume and _holds_run(folder):
            state = "a finished run" if (folder / REPORT).exists() else "a run"
            raise FileExistsError(
                f"output: {settings.output} holds {state} already; remove it, name another, or go on with --resume "
                "(a finished run with more --steps)"
            )
    warn_of_nothing_measured(choices.estimator, choices.assigner)
    check_answer_is_read(settings.answer, choices.estimator, choices.assigner)
    rows = problems.load(settings.seed)
    check_columns(choices.rewards, rows[0])
    places = problems.places(range(len(rows)))
    check_references(choices.rewards, rows, places)
    check_reference_columns(choices.assigner.requires, rows[0])
    shots = problems.examples(rows, settings.seed)
    examples = [rows[index] for index in shots]
    parts = split_indices(rows, settings.eval_problems, without=shots)
    check_batch(settings.prompts_per_step, len(parts[0]))
    references = read_references(rows, places) if settings.answer == "reference" else []
    tokenizer = policy.tokenizer()
    resolved = {**resolved, "tokenizer": tokenizer_digest(tokenizer), "processes": processes.size}
    if isinstance(sharding, Zero):
        resolved = {**resolved, "shard": str(sharding), "deepspeed": version("deepspeed")}
    else:
        resolved = {**resolved, "shard": sharding is not None}
    resolved["held_out_rows"] = digest_of([rows[index] for index in parts[1]])  # the stream compares the others
    rows = problems.render(rows, tokenizer, places, examples)
    stop = problems.stop(examples, tokenizer)
    choices = replace(choices, sampler=stopping(choices.sampler, stop))
    training: list[Row] = []
    held_out: list[Row] = []
    training_places: list[RowPlace] = []

    answers = max((len(ids) for ids in encode_prompts(references, tokenizer)), default=0)

    def room(model: nn.Module, tokenizer: Any, sampler: Sampler, estimator: MIEstimator) -> Room:
        """What follows a prompt at most: a completion, what an answer is asked for with, and a reference."""
        forced = forced_in_training(estimator, choices.assigner)
        limits = limits_of(model).scored
        limits.check_tokens(forced, tokenizer, "estimator: postfix and closing")
        reserved = new_tokens(sampler, limits) + len(forced) + answers
        return Room(tokenizer, limits, reserved, problems.long_prompts)

    def make_stream(model: nn.Module, tokenizer: Any, sampler: Sampler) -> PromptStream:
        """Rows that fit the policy. They are split before: which fit depends on the sampler, and the split must not."""
        own = room(model, tokenizer, sampler, choices.estimator)
        for part, kept, found in zip(parts, (training, held_out), (training_places, []), strict=True):
            fitting = own.fitting([rows[index] for index in part], [places[index] for index in part])
            kept.extend(rows[part[each]] for each in fitting)
            found.extend(places[part[each]] for each in fitting)
        return PromptStream(training, settings.prompts_per_step, settings.seed)

    task, device = problems.resolve(), policy.torch_device()
    kept = kept_style(folder, resolved) if settings.resume else None
    before = resolved if kept is None else {**resolved, "style": plain(kept)}
    session = set_up(policy, settings, choices, make_stream, before, processes, sharding)
    tell_examples(examples, shots, task, stop)
    tell_prompt(training[0], session.tokenizer, problems)
    tell_end_of_turn(training[0], session.tokenizer, problems, session.components.sampler)
    metadata = {
        "model": policy.model,
        "data": str(task),
        "method": method_of(choices),
        "learning rate": learning_rate_of(session.torch_optimizer, settings),
        "seed": settings.seed,
        "device": policy.torch_device(),
        "problems held out": len(held_out),
        "samples of each": settings.eval_samples,
    }
    metadata |= {"command": f"`{command}`"} if command else {}
    so_far = ReportSoFar(folder, metadata, training[0]["prompt"])
    new = kept is None and session.resumed_from is None and not (folder / "evaluation-0.json").exists()
    with processes.together():
        if processes.first and new:
            so_far.write("the first completions are being sampled")
    with session.update_settings.autocast_context(device):
        first = first_of(training)
        prompts = [row["prompt"] for row in first]
        sampler = divided(session.components.sampler, session.model, processes)
        ends = eos_ids_of(sampler, session.tokenizer)
        limit = settings.reward_time_limit
        look = FirstLook(first, choices.rewards, styles.lenient, session.tokenizer, ends, so_far, processes, limit)
        with (
            so_far.kept_if_sampled(processes.first and new),
            progress.phase("sampling first completions", session.model),
        ):
            style = kept or choose_style(
                styles, task, sampler, session.tokenizer, prompts, device, look if new else None
            )
    read_by(session, style, styles.lenient)
    parts_of = session.model, session.tokenizer, session.components.sampler
    asked = room(*parts_of, session.components.estimator)
    if asked.reserved > room(*parts_of, choices.estimator).reserved:  # than the prompts were checked with
        replace(asked, long_prompts="refuse").fitting(training, training_places)
    resolved = {**resolved, "style": plain(style)}
    classifier = task.classifier(session.tokenizer, [row["prompt"] for row in rows])
    diagnosis = Diagnosis(session.model, session.tokenizer, session.components, session.update_settings, classifier)
    with processes.together():
        if processes.first:
            for name in ("metrics.jsonl", SAMPLES):
                truncate_metrics(folder / name, session.step)
            warn_of_missing(folder / "metrics.jsonl", session.step)
            write_text(folder / "config.json", json.dumps(resolved, indent=2) + "\n")
    return Run(
        folder, settings, resolved, session, held_out, diagnosis, metadata, so_far, styles.known(task) is not None
    )
