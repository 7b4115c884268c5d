"""A run in progress: its policy, its components, and how far it has come."""

import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from iapo.evaluation import EvaluationResult, evaluate
from iapo.interfaces import AdvantageAssigner, MIEstimator, PolicyLoss, Reward, Sampler
from iapo.ops.random_state import fork_rng
from iapo.optimizers import ClippedOptimizer
from iapo.rewards import in_style
from iapo.rollout import TransformersSampler, style_of
from iapo.styles import CompletionStyle
from iapo.tasks import PromptStream, Row
from iapo.training.checkpoint import Checkpoint, TrainingState, latest_checkpoint, load_checkpoint, save_checkpoint
from iapo.training.components import Components, UpdateSettings
from iapo.training.diagnosis import Diagnosis, diagnosed_update
from iapo.training.interruption import Interrupted
from iapo.training.random_state import capture_rng, restore_rng
from iapo.training.resample import Resampling
from iapo.training.settings import PolicySource, RunSettings
from iapo.training.styles import estimator_in_style, sampler_in_style


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


@dataclass
class Session:
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
        saved_step: updates done at the newest checkpoint; 0: there is none.
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
    saved_step: int = 0

    def share_done(self) -> float:
        """How much of the run is done, from 0 to 1."""
        return share_done(self.step, self.settings.steps, self.tokens_sampled, self.settings.max_tokens)

    def advance(
        self,
        progress: float,
        diagnosis: Diagnosis | None = None,
        leaving: Callable[[], AbstractContextManager[Any]] = nullcontext,
    ) -> dict[str, float]:
        """Make the next update.

        Args:
            progress: share of the run that is done, at which weights are taken from their schedules.
            diagnosis: measures the update; ``None``: it is not diagnosed.
            leaving: makes a context that may be left before the update is made; see `diagnosed_update`.

        Raises:
            iapo.training.interruption.Interrupted: before the update; everything is then as it was before the call.
        """
        start = time.perf_counter()
        rounds = self.settings.resample
        rng, position = capture_rng(), self.stream.state()
        try:
            metrics = diagnosed_update(
                self.stream.next(),
                self.model,
                self.tokenizer,
                self.components.at(progress),
                self.update_settings,
                self.ref_model,
                Resampling(rounds, self.stream.next) if rounds else None,
                diagnosis,
                leaving,
            )
        except Interrupted:
            restore_rng(rng)
            self.stream.restore(position)
            raise
        except Exception as error:
            error.add_note(f"(in update {self.step + 1})")
            raise
        self.step += 1
        self.tokens_sampled += int(metrics["num_tokens"])
        return metrics | {"iapo/tokens_sampled": self.tokens_sampled, "step_time": time.perf_counter() - start}

    def evaluate(self, rows: list[Row], step: int) -> EvaluationResult:
        """Evaluate the policy in the precision of training, or read what was kept of the evaluation after ``step``.

        Torch's random state is afterwards as it was before.

        Raises:
            ValueError: what was kept is damaged or of another size, or it is of an earlier step and not there.
        """
        path = Path(self.settings.output) / f"evaluation-{step}.json"
        if path.exists():
            kept = EvaluationResult.load(path)
            found, wanted = tuple(kept.correct.shape), (len(rows), self.settings.eval_samples)
            if found != wanted:
                raise ValueError(
                    f"{path}: holds {found[0]} problems with {found[1]} samples each, this run evaluates {wanted[0]} "
                    f"with {wanted[1]}; leave eval_problems and eval_samples as they were, or start a new run"
                )
            return kept
        if step < self.step:
            raise ValueError(
                f"{path}: is missing, and the policy of step {step} is not there any more to be evaluated again; put "
                "the file back, or start a new run"
            )
        device = next(self.model.parameters()).device
        sampler = self.components.sampler
        with fork_rng(device), self.update_settings.autocast_context(device):
            torch.manual_seed(self.settings.seed + 1)
            result = evaluate(
                rows,
                tokenizer=self.tokenizer,
                sampler=sampler,
                greedy=TransformersSampler(
                    self.model, self.tokenizer, longest(sampler), temperature=0.0, style=style_of(sampler)
                ),
                rewards=self.components.rewards,
                samples=self.settings.eval_samples,
            )
        result.save(path)
        return result

    def save(self, resolved: Mapping[str, Any]) -> None:
        """Write a checkpoint of this step, unless there is one, or nothing was trained yet."""
        if self.step == self.saved_step:
            return
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
        self.saved_step = self.step


def set_up(
    policy: PolicySource,
    settings: RunSettings,
    choices: ComponentChoices,
    make_stream: Callable[[nn.Module, Any, Sampler], PromptStream],
    resolved: Mapping[str, Any],
) -> Session:
    """Load the policy and build the components; of a run that is resumed, as they were at its newest checkpoint.

    Args:
        policy: where the policy comes from.
        settings: of the run.
        choices: the components.
        make_stream: from the policy, its tokenizer and the sampler to the prompts of the run, those that fit.
        resolved: all settings as plain data.
    """
    folder = Path(settings.output)
    update_settings = UpdateSettings(
        settings.group_size,
        settings.micro_batch,
        settings.epochs,
        settings.answer,
        policy.autocast(),
        settings.reward_time_limit,
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
    stream = make_stream(model, tokenizer, sampler)
    components = Components(sampler, choices.rewards, choices.estimator, choices.assigner, choices.loss, optimizer)
    session = Session(settings, update_settings, model, tokenizer, ref_model, components, torch_optimizer, stream)
    if saved is not None:
        session.resumed_from, session.step, session.saved_step = saved, saved.step, saved.step
        session.tokens_sampled = saved.state.counters["tokens_sampled"]
        torch_optimizer.load_state_dict(dict(saved.state.optimizer))
        optimizer.load_state_dict(dict(saved.state.counters["optimizer"]))
        stream.restore(dict(saved.state.data), settings.override)
    return session


def read_by(session: Session, style: CompletionStyle) -> None:
    """Let the components of a run read completions, and ask for answers, in this style."""
    components = session.components
    session.components = replace(
        components,
        sampler=sampler_in_style(components.sampler, style),
        rewards=in_style(components.rewards, style),
        estimator=estimator_in_style(components.estimator, style, session.tokenizer),
    )


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
