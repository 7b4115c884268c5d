"""A training run: set up, resume, loop, save, evaluate before and after, report."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from iapo.interfaces import Sampler
from iapo.policy.limits import limits_of
from iapo.rewards import check_columns, check_references
from iapo.rewards.scores import read_references
from iapo.rollout.prompts import encode_prompts
from iapo.tasks import PromptStream, Row
from iapo.tasks.splitting import split_indices
from iapo.training.diagnosis import Diagnosis
from iapo.training.fitting import Room, forced_tokens
from iapo.training.interruption import EXIT_CODE, listening
from iapo.training.log import append_metrics, read_metrics, truncate_metrics
from iapo.training.progress import progress_bar
from iapo.training.random_state import restore_rng
from iapo.training.report import write_report
from iapo.training.session import ComponentChoices, set_up
from iapo.training.settings import PolicySource, ProblemSource, RunSettings
from iapo.training.signals import check_reference_columns


def train(
    policy: PolicySource,
    problems: ProblemSource,
    settings: RunSettings,
    choices: ComponentChoices,
    resolved: Mapping[str, Any],
) -> int:
    """Train a policy and report what happened.

    Args:
        policy: where the policy comes from.
        problems: where the problems come from.
        settings: the run's folder, its length and its size.
        choices: the components.
        resolved: all settings as plain data, kept in the run folder and compared on resuming.

    Returns:
        The exit code: 0, or `iapo.training.interruption.EXIT_CODE` if a signal ended the run after saving.

    Raises:
        FileExistsError: the run folder holds a run and ``resume`` is off.
        ValueError: settings that cannot work; raised before the model loads where that is possible.
    """
    folder = Path(settings.output)
    if (folder / "report.md").exists():
        raise FileExistsError(f"output: {settings.output} holds a finished run already; remove it, or name another")
    if not settings.resume and (folder / "config.json").exists():
        raise FileExistsError(
            f"output: {settings.output} holds a run already; remove it, name another, or go on with --resume"
        )
    rows = problems.load(settings.seed)
    check_columns(choices.rewards, rows[0])
    check_references(choices.rewards, rows)
    check_reference_columns(choices.assigner.requires, rows[0])
    parts = split_indices(rows, settings.eval_problems)
    references = read_references(rows) if settings.answer == "reference" else []
    rows = problems.render(rows, policy.tokenizer())
    held_out: list[Row] = []

    def make_stream(model: nn.Module, tokenizer: Any, sampler: Sampler) -> PromptStream:
        """Rows that fit the policy. They are split before: which fit depends on the sampler, and the split must not."""
        forced = forced_tokens(choices.estimator, choices.assigner)
        limits = limits_of(model)
        limits.check_tokens(forced, tokenizer, "estimator: postfix and closing")
        answers = max((len(ids) for ids in encode_prompts(references, tokenizer)), default=0)
        reserved = getattr(sampler, "max_new_tokens", 0) + len(forced) + answers
        room = Room(tokenizer, limits, reserved, problems.long_prompts)
        training, held = (
            [rows[part[place]] for place in room.fitting([rows[index] for index in part], part)] for part in parts
        )
        held_out.extend(held)
        return PromptStream(training, settings.prompts_per_step, settings.seed)

    session = set_up(policy, settings, choices, make_stream, resolved)
    classifier = problems.resolve().classifier(session.tokenizer, [row["prompt"] for row in rows])
    diagnosis = Diagnosis(session.model, session.tokenizer, session.components, session.update_settings, classifier)
    folder.mkdir(parents=True, exist_ok=True)
    truncate_metrics(folder / "metrics.jsonl", session.step)
    (folder / "config.json").write_text(json.dumps(resolved, indent=2) + "\n")

    before = session.evaluate(held_out, 0)
    if session.resumed_from is not None:
        restore_rng(session.resumed_from.state.rng)
    with listening() as interruption, progress_bar(settings.steps, session.step) as show:
        while (done := session.share_done()) < 1:
            due = settings.diagnose > 0 and session.step % settings.diagnose == 0
            metrics = session.advance(done, diagnosis if due else None)
            append_metrics(folder / "metrics.jsonl", session.step, metrics)
            show(session.step, metrics)
            ended = session.share_done() == 1
            if session.step % settings.checkpoint_every == 0 or ended or interruption:
                session.save(resolved)
            if interruption and not ended:
                return EXIT_CODE
    after = session.evaluate(held_out, session.step)
    metadata = {
        "model": policy.model,
        "data": str(problems.resolve()),
        "updates": session.step,
        "tokens sampled": session.tokens_sampled,
        "seed": settings.seed,
        "device": policy.torch_device(),
        "problems held out": len(held_out),
        "samples of each": settings.eval_samples,
    }
    write_report(folder, metadata, read_metrics(folder / "metrics.jsonl"), before, after)
    return 0
