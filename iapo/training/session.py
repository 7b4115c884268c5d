"""A run in progress: its policy, its components, and how far it has come."""

import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from iapo.evaluation import EvaluationResult, Sample, evaluate
from iapo.ops.json_files import read_sealed
from iapo.ops.random_state import capture_rng, fork_rng, restore_rng
from iapo.optimizers import ClippedOptimizer, DeepSpeedOptimizer
from iapo.policy.whole_weights import whole_weights
from iapo.policy.zero import zero_stage
from iapo.rewards import in_style
from iapo.rollout.greedy import greedy_beside
from iapo.styles import CompletionStyle
from iapo.tasks import PromptStream, Row
from iapo.training.checkpoints.checkpoint import Checkpoint, TrainingState, save_checkpoint
from iapo.training.checkpoints.reproducibility import settings_digest
from iapo.training.components import Components, UpdateSettings
from iapo.training.configuration.settings import RunSettings
from iapo.training.configuration.styles import estimator_in_style, sampler_in_style
from iapo.training.diagnosis import Diagnosis, diagnosed_update
from iapo.training.distributed.divided import divided, divided_scores
from iapo.training.distributed.sharded_state import whole_state
from iapo.training.distributed.zero_state import zero_state
from iapo.training.interruption import Interrupted
from iapo.training.loop import TrainingBatch
from iapo.training.reporting.log import METRICS, settled_digest
from iapo.training.resample import Resampling
from iapo.training.samples import first_samples


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
        samples: some completions of the last update.
        base: digest of the weights that are read anew when the run goes on, those below adapters or of the reference
            policy; empty: there are none.
        changed: what was overridden when the run went on, one sentence for each time; none if it is one run throughout.
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
    samples: Sequence[Sample] = ()
    base: str = ""
    changed: Sequence[str] = ()

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

        def see(batch: TrainingBatch) -> None:
            self.samples = first_samples(batch, self.settings.log_samples, self.tokenizer, self.components.sampler)

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
                see,
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

    def evaluate(
        self,
        rows: Sequence[Row],
        step: int,
        resolved: Mapping[str, Any],
        see: Callable[[Sequence[Sample]], None] | None = None,
    ) -> EvaluationResult:
        """Evaluate the policy in the precision of training, or read what was kept of the evaluation after ``step``.

        The global random generators are afterwards as they were before.

        Args:
            rows: the problems.
            step: updates done.
            resolved: all settings of the run, as plain data; what was kept is of the same, or of those before an
                override.
            see: is called with the completions so far, as they are sampled (`iapo.evaluation.evaluate`).

        Raises:
            ValueError: what was kept is damaged or of another size, or it is of an earlier step and not there or of
                another run.

        Warns:
            UserWarning: what was kept of this step is of another run; it is made again.
        """
        path, processes = Path(self.settings.output) / f"evaluation-{step}.json", self.update_settings.processes
        made_under = settings_digest(resolved)
        kept = processes.from_first(lambda: self._kept(path, step, made_under))
        if kept is not None:
            found, wanted = tuple(kept.correct.shape), (len(rows), self.settings.eval_samples)
            if found != wanted:
                raise ValueError(
                    f"{path}: holds {found[0]} problems with {found[1]} samples each, this run evaluates {wanted[0]} "
                    f"with {wanted[1]}; leave eval_problems and eval_samples as they were, or start a new run"
                )
            return kept
        device = next(self.model.parameters()).device
        sampler = self.components.sampler
        greedy = greedy_beside(sampler, self.model, self.tokenizer)
        with fork_rng(device), self.update_settings.autocast_context(device):
            torch.manual_seed(self.settings.seed + 1)
            result = evaluate(
                rows,
                tokenizer=self.tokenizer,
                sampler=divided(sampler, self.model, processes),
                greedy=divided(greedy, self.model, processes),
                rewards=self.components.rewards,
                samples=self.settings.eval_samples,
                batch=self.settings.eval_batch,
                score=divided_scores(processes, self.settings.reward_time_limit, self.settings.correct_above),
                see=see,
            )
        with processes.together():
            if processes.first:
                result.save(path, {"settings": made_under})
        return result

    def _kept(self, path: Path, step: int, made_under: str) -> EvaluationResult | None:
        """The evaluation after ``step`` if it is in its file; ``None`` if there is none, and it can be made now."""
        fault = f"{path}: is missing"
        try:
            if path.exists():
                content = read_sealed(path)
                if content.get("settings") == made_under or self.changed:
                    return EvaluationResult.of_content(content, path)
                fault = f"{path}: is of a run with other settings"
                if step == self.step:
                    warnings.warn(f"{fault}; it is made again", stacklevel=2)
        except ValueError as error:
            fault = str(error)
            if step == self.step:
                raise ValueError(f"{fault}; put the file back, or remove it, and it is made again") from error
        if step == self.step:
            return None
        raise ValueError(
            f"{fault}, and the policy of step {step} is not there any more to be evaluated again; put the file back (a "
            "run of the same settings in another folder begins with the same one), or start a new run"
        )

    def save(self, resolved: Mapping[str, Any]) -> None:
        """Write a checkpoint of this step, unless there is one, or nothing was trained yet."""
        if self.step == self.saved_step:
            return
        optimizer, processes = self.components.optimizer, self.update_settings.processes
        assert isinstance(optimizer, ClippedOptimizer | DeepSpeedOptimizer)
        metrics = processes.from_first(lambda: settled_digest(Path(self.settings.output) / METRICS))
        of_torch = self.torch_optimizer
        in_engine = zero_stage(self.model) > 0
        of_optimizer = (
            zero_state(self.model, of_torch, processes) if in_engine else whole_state(of_torch, processes.first)
        )
        state = TrainingState(
            optimizer=of_optimizer,
            data=self.stream.state(),
            config=resolved,
            counters={
                "optimizer": optimizer.state_dict(),
                "tokens_sampled": self.tokens_sampled,
                "base": self.base,
                "changed": list(self.changed),
                "metrics": metrics,
            },
        )
        run, keep = Path(self.settings.output), self.settings.keep_checkpoints
        with whole_weights(self.model), processes.together():
            if processes.first:
                save_checkpoint(run, self.step, state, self.model, self.tokenizer, keep)
        self.saved_step = self.step


def read_by(session: Session, style: CompletionStyle, lenient: bool = False) -> None:
    """Let the components of a run read completions, and ask for answers, in this style; rewards leniently or not."""
    components = session.components
    session.components = replace(
        components,
        sampler=sampler_in_style(components.sampler, style),
        rewards=in_style(components.rewards, style, lenient),
        estimator=estimator_in_style(components.estimator, style, session.tokenizer),
    )


def share_done(step: int, steps: int, tokens: int, max_tokens: int | None) -> float:
    """How much of a run is done, from 0 to 1, by the limit that is nearer: updates or sampled tokens.

    Example:
        >>> share_done(step=3, steps=4, tokens=900, max_tokens=1000), share_done(1, 4, tokens=1200, max_tokens=1000)
        (0.9, 1.0)
    """
    return min(1.0, max(step / steps, 0.0 if max_tokens is None else tokens / max_tokens))
