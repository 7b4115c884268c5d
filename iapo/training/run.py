"""A training run: set up, resume, loop, save, evaluate before and after, report."""

import json
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from iapo.evaluation import EvaluationResult, evaluate
from iapo.interfaces import AdvantageAssigner, MIEstimator, PolicyLoss, Reward, Sampler
from iapo.optimizers import ClippedOptimizer
from iapo.rewards import check_columns
from iapo.rollout import TransformersSampler
from iapo.tasks import PromptStream, Row, hold_out
from iapo.training.checkpoint import (
    Checkpoint,
    TrainingState,
    latest_checkpoint,
    load_checkpoint,
    save_checkpoint,
)
from iapo.training.components import Components, UpdateSettings
from iapo.training.diagnosis import Diagnosis, describe_entropy, fork_rng
from iapo.training.interruption import EXIT_CODE, listening
from iapo.training.log import append_metrics, read_metrics, truncate_metrics
from iapo.training.loop import optimise, prepare
from iapo.training.metrics import timed
from iapo.training.progress import progress_bar
from iapo.training.random_state import restore_rng
from iapo.training.report import write_report
from iapo.training.resample import Resampling, Rows
from iapo.training.settings import PolicySource, ProblemSource, RunSettings


@dataclass(frozen=True)
class ComponentChoices:
    """The components of a run as the command line names them: those that need the policy are functions of it.

    Args:
        sampler: makes the sampler from the policy and its tokenizer.
        rewards: reward functions by name.
        estimator: as in `Components`.
        assigner: as in `Components`; its weights may be schedules.
        loss: as in `Components`.
        optimizer: makes the torch optimizer from the policy's parameters.
    """

    sampler: Callable[[nn.Module, Any], Sampler]
    rewards: Mapping[str, Reward]
    estimator: MIEstimator
    assigner: AdvantageAssigner
    loss: PolicyLoss
    optimizer: Callable[[Iterable[nn.Parameter]], Optimizer]


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
    if (folder / "report.md").exists() or (not settings.resume and (folder / "config.json").exists()):
        raise FileExistsError(
            f"output: {settings.output} holds a run already; remove it, name another, or go on with --resume"
        )
    rows = problems.load(settings.seed)
    check_columns(choices.rewards, rows[0])
    rows = problems.render(rows, policy.tokenizer())
    training, held_out = hold_out(rows, settings.eval_problems)
    stream = PromptStream(training, settings.prompts_per_step, settings.seed)
    run = set_up(policy, settings, choices, stream, resolved)
    classifier = problems.resolve().classifier(run.tokenizer, [row["prompt"] for row in rows])
    diagnosis = Diagnosis(run.model, run.tokenizer, run.components, run.update_settings, classifier)
    folder.mkdir(parents=True, exist_ok=True)
    truncate_metrics(folder / "metrics.jsonl", run.step)
    (folder / "config.json").write_text(json.dumps(resolved, indent=2) + "\n")

    before = run.evaluate(held_out, 0)
    if run.resumed_from is not None:
        restore_rng(run.resumed_from.state.rng)
    with listening() as interruption, progress_bar(settings.steps, run.step) as show:
        while (done := run.share_done()) < 1:
            due = settings.diagnose > 0 and run.step % settings.diagnose == 0
            metrics = run.advance(done, diagnosis if due else None)
            append_metrics(folder / "metrics.jsonl", run.step, metrics)
            show(run.step, metrics)
            ended = run.share_done() == 1
            if run.step % settings.checkpoint_every == 0 or ended or interruption:
                run.save(resolved)
            if interruption and not ended:
                return EXIT_CODE
    after = run.evaluate(held_out, run.step)
    metadata = {
        "model": policy.model,
        "data": str(problems.resolve()),
        "updates": run.step,
        "tokens sampled": run.tokens_sampled,
        "seed": settings.seed,
        "device": policy.torch_device(),
        "problems held out": len(held_out),
        "samples of each": settings.eval_samples,
    }
    write_report(folder, metadata, read_metrics(folder / "metrics.jsonl"), before, after)
    return 0


@dataclass
class Run:
    """A run in progress: what a checkpoint saves and an update changes.

    Args:
        settings: of the run.
        update_settings: of each update.
        model: the policy.
        tokenizer: of the policy.
        ref_model: the reference policy, if the loss needs one.
        components: of each update; the assigner's weights are those of the start.
        torch_optimizer: inside the optimizer component.
        stream: the prompts of the updates.
        resumed_from: the checkpoint that the run goes on from.
        step: updates done.
        tokens_sampled: in all updates.
    """

    settings: RunSettings
    update_settings: UpdateSettings
    model: nn.Module
    tokenizer: Any
    ref_model: nn.Module | None
    components: Components
    torch_optimizer: Optimizer
    stream: PromptStream
    resumed_from: Checkpoint | None = None
    step: int = 0
    tokens_sampled: int = 0

    def share_done(self) -> float:
        """How much of the run is done, from 0 to 1."""
        return share_done(self.step, self.settings.steps, self.tokens_sampled, self.settings.max_tokens)

    def advance(self, progress: float, diagnosis: Diagnosis | None) -> dict[str, float]:
        """Make the next update.

        Args:
            progress: share of the run that is done, at which weights are taken from their schedules.
            diagnosis: measures the update; ``None``: it is not diagnosed.
        """
        start = time.perf_counter()
        rounds = self.settings.resample
        metrics = diagnosed_update(
            self.stream.next(),
            self.model,
            self.tokenizer,
            self.components.at(progress),
            self.update_settings,
            self.ref_model,
            Resampling(rounds, self.stream.next) if rounds else None,
            diagnosis,
        )
        self.step += 1
        self.tokens_sampled += int(metrics["num_tokens"])
        return metrics | {"iapo/tokens_sampled": self.tokens_sampled, "step_time": time.perf_counter() - start}

    def evaluate(self, rows: list[Row], step: int) -> EvaluationResult:
        """Evaluate the policy in the precision of training, or read what was kept of the evaluation after ``step``.

        Torch's random state is afterwards as it was before.
        """
        path = Path(self.settings.output) / f"evaluation-{step}.json"
        if path.exists():
            return EvaluationResult.load(path)
        device = next(self.model.parameters()).device
        sampler = self.components.sampler
        with fork_rng(device), self.update_settings.autocast_context(device):
            torch.manual_seed(self.settings.seed + 1)
            result = evaluate(
                rows,
                tokenizer=self.tokenizer,
                sampler=sampler,
                greedy=TransformersSampler(self.model, self.tokenizer, longest(sampler), temperature=0.0),
                rewards=self.components.rewards,
                samples=self.settings.eval_samples,
            )
        result.save(path)
        return result

    def save(self, resolved: Mapping[str, Any]) -> None:
        """Write a checkpoint of this step."""
        optimizer = self.components.optimizer
        assert isinstance(optimizer, ClippedOptimizer)
        state = TrainingState(
            optimizer=self.torch_optimizer.state_dict(),
            data=self.stream.state(),
            config=resolved,
            counters={"optimizer": optimizer.state_dict(), "tokens_sampled": self.tokens_sampled},
        )
        save_checkpoint(
            Path(self.settings.output), self.step, state, self.model, self.tokenizer, self.settings.keep_checkpoints
        )


def set_up(
    policy: PolicySource,
    settings: RunSettings,
    choices: ComponentChoices,
    stream: PromptStream,
    resolved: Mapping[str, Any],
) -> Run:
    """Load the policy and build the components; of a run that is resumed, as they were at its newest checkpoint."""
    folder = Path(settings.output)
    update_settings = UpdateSettings(
        settings.group_size, settings.micro_batch, settings.epochs, settings.answer, policy.autocast()
    )
    torch.manual_seed(settings.seed)
    resuming = settings.resume and latest_checkpoint(folder)
    saved = load_checkpoint(folder, resolved, settings.override) if resuming else None
    model, tokenizer = policy.load(None if saved is None else saved.path)
    ref_model = policy.load()[0] if choices.loss.requires_reference else None
    torch_optimizer = choices.optimizer(model.parameters())
    warmup = max(1, settings.warmup_steps)
    schedule = torch.optim.lr_scheduler.LambdaLR(torch_optimizer, lambda step: min(1.0, (step + 1) / warmup))
    optimizer = ClippedOptimizer(torch_optimizer, settings.max_grad_norm, schedule)
    sampler = choices.sampler(model, tokenizer)
    if not sampler.temperature > 0:
        raise ValueError(
            f"sampler.temperature: got {sampler.temperature}, want a positive number: greedy groups are all alike"
        )
    components = Components(sampler, choices.rewards, choices.estimator, choices.assigner, choices.loss, optimizer)
    run = Run(settings, update_settings, model, tokenizer, ref_model, components, torch_optimizer, stream)
    if saved is not None:
        run.resumed_from, run.step = saved, saved.step
        run.tokens_sampled = saved.state.counters["tokens_sampled"]
        torch_optimizer.load_state_dict(dict(saved.state.optimizer))
        optimizer.load_state_dict(dict(saved.state.counters["optimizer"]))
        stream.restore(dict(saved.state.data), settings.override)
    return run


def diagnosed_update(
    rows: Rows,
    model: nn.Module,
    tokenizer: Any,
    components: Components,
    settings: UpdateSettings,
    ref_model: nn.Module | None = None,
    resampling: Resampling | None = None,
    diagnosis: Diagnosis | None = None,
) -> dict[str, float]:
    """`iapo.training.loop.update`, with the entropy on right and wrong completions, and measured by ``diagnosis``.

    Without a diagnosis, only its metrics are missing; the update is the same.
    """
    batch = prepare(rows, model, tokenizer, components, settings, resampling)
    metrics = dict(batch.metrics)
    if diagnosis is not None:
        with timed(metrics, "iapo/time/diagnose"):
            metrics |= diagnosis.before(batch)
    done = optimise(batch, model, components, settings, ref_model)
    metrics |= done.metrics | describe_entropy(batch, done)
    if diagnosis is not None:
        with timed(metrics, "iapo/time/diagnose"):
            metrics |= diagnosis.after(batch, done)
    return metrics


def share_done(step: int, steps: int, tokens: int, max_tokens: int | None) -> float:
    """How much of a run is done, from 0 to 1, by the limit that is nearer: updates or sampled tokens.

    Example:
        >>> share_done(step=3, steps=4, tokens=900, max_tokens=1000), share_done(1, 4, tokens=1200, max_tokens=1000)
        (0.9, 1.0)
    """
    return min(1.0, max(step / steps, 0.0 if max_tokens is None else tokens / max_tokens))


def longest(sampler: Sampler) -> int:
    """The largest number of tokens that a sampler samples, for the greedy completions beside its own."""
    return int(getattr(sampler, "max_new_tokens", 1024))
