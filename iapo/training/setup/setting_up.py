"""A run set up: its policy loaded, its components built and joined, as they were at a checkpoint if it has one."""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from iapo.ops.random_state import seed_rng
from iapo.ops.tree import other_kind
from iapo.optimizers import ClippedOptimizer, DeepSpeedOptimizer
from iapo.policy.lora import AdapterOff, LoRA, name_base, with_adapters
from iapo.tasks import PromptStream
from iapo.training.checkpoints.checkpoint import Checkpoint, checkpoints, load_checkpoint
from iapo.training.checkpoints.reproducibility import weights_digest
from iapo.training.components import Components, UpdateSettings
from iapo.training.configuration.policy_source import PolicySource
from iapo.training.configuration.run_config import RunConfig
from iapo.training.distributed.parallel import Sharding, wrap
from iapo.training.distributed.processes import SINGLE, Processes
from iapo.training.distributed.sharded_state import load_whole_state
from iapo.training.distributed.zero import Zero
from iapo.training.distributed.zero_state import load_zero_state
from iapo.training.session import Session
from iapo.training.setup.alike import check_alike
from iapo.training.setup.making_optimizer import make_optimizer
from iapo.training.setup.problems import FittingProblems, RunProblems

_KEPT = ("optimizer.class_path", "lora.r", "lora.alpha", "lora.target_modules")
"""Settings that a checkpoint's state is made for: it could not go on with others."""


def set_up(
    config: RunConfig,
    problems: RunProblems,
    processes: Processes = SINGLE,
    sharding: Sharding | Zero | None = None,
) -> tuple[Session, FittingProblems]:
    """Load the policy and build the components; of a run that is resumed, as they were at its newest checkpoint.

    Args:
        config: of the run.
        problems: of the run, rendered.
        processes: those of the run.
        sharding: how FSDP2 or DeepSpeed shares the policy out over them; ``None``: each has all weights.

    Returns:
        The run in progress, and the problems that its policy has room for.
    """
    settings, choices = config.settings, config.choices
    seed_rng(settings.seed)
    folder = Path(settings.output)
    resuming = settings.resume and checkpoints(folder)
    saved = load_checkpoint(folder, config.resolved, settings.override) if resuming else None
    if saved is not None:
        _check_kept(saved)
    loaded, tokenizer = _load(config.policy, settings.lora, None if saved is None else saved.path)
    frozen = (each for each in loaded.parameters() if not each.requires_grad)
    base = weights_digest(frozen) if settings.lora.r else ""
    if processes.size > 1:
        step = 0 if saved is None else saved.step
        check_alike(processes, {"updates of the checkpoint": step, "weights": weights_digest(loaded.parameters())})
    model = loaded if isinstance(sharding, Zero) else wrap(loaded, processes, sharding)
    ref_model: nn.Module | None = None
    if choices.loss.requires_reference and settings.lora.r:
        ref_model = AdapterOff(loaded)
    elif choices.loss.requires_reference:
        ref_model, base = _reference(config.policy, processes, sharding)
        check_alike(processes, {"weights of the reference policy": base})
    torch_optimizer = make_optimizer(choices.optimizer, [each for each in model.parameters() if each.requires_grad])
    warmup = max(1, settings.warmup_steps)
    schedule = LambdaLR(torch_optimizer, lambda step: min(1.0, (step + 1) / warmup))
    optimizer: ClippedOptimizer | DeepSpeedOptimizer
    if isinstance(sharding, Zero):
        model = sharding.engine(loaded, torch_optimizer, settings.max_grad_norm)
        optimizer = DeepSpeedOptimizer(model, torch_optimizer, schedule)
    else:
        optimizer = ClippedOptimizer(torch_optimizer, settings.max_grad_norm, schedule)
    sampler = choices.sampler(model, tokenizer)
    if not sampler.temperature > 0:
        raise ValueError(
            f"sampler.temperature: got {sampler.temperature}, want a positive number: greedy groups are all alike"
        )
    components = Components(sampler, choices.rewards, choices.estimator, choices.assigner, choices.loss, optimizer)
    fitting = problems.fitting(problems.room(model, tokenizer, components))
    session = Session(
        settings,
        _update_settings(config, processes),
        model,
        tokenizer,
        ref_model,
        components,
        torch_optimizer,
        PromptStream(fitting.training.rows, settings.prompts_per_step, settings.seed),
        base=base,
    )
    if saved is not None:
        _restore(session, schedule, saved, isinstance(sharding, Zero))
    return session, fitting


def _update_settings(config: RunConfig, processes: Processes) -> UpdateSettings:
    settings = config.settings
    return UpdateSettings(
        settings.group_size,
        settings.micro_batch,
        settings.epochs,
        settings.answer,
        config.policy.autocast(),
        settings.reward_time_limit,
        settings.correct_above,
        settings.gradient_checkpointing,
        processes,
    )


def _check_kept(saved: Checkpoint) -> None:
    """Raise ``ValueError`` if settings differ that the checkpoint's state is made for."""
    kept = [change for change in saved.changes if change.partition(":")[0] in _KEPT]
    if kept:
        raise ValueError(
            f"{saved.path}: its state is of the saved setting and cannot go on with another, not by --override either "
            f"({'; '.join(kept)}); leave it as it was, or start a new run from the weights with --model {saved.path}"
        )


def _restore(session: Session, schedule: LambdaLR, saved: Checkpoint, in_engine: bool) -> None:
    """Put everything but the weights and the random state back to where it was at a checkpoint.

    Where ``override`` is on, the optimizer's settings are those of this run, at the checkpoint's place of the schedule.

    Raises:
        ValueError: a counter is missing, or it or a setting of the optimizer is of another kind than in a new run.

    Warns:
        UserWarning: something differs and is overridden.
    """
    session.resumed_from, session.step, session.saved_step = saved, saved.step, saved.step
    fresh = _settings_of(session.torch_optimizer)
    if in_engine:
        processes = session.update_settings.processes
        load_zero_state(session.model, session.torch_optimizer, saved.state.optimizer, processes)
    else:
        load_whole_state(session.torch_optimizer, saved.state.optimizer)
    optimizer = session.components.optimizer
    assert isinstance(optimizer, ClippedOptimizer | DeepSpeedOptimizer)
    counters = {"tokens_sampled": 0, "optimizer": optimizer.state_dict(), "base": "", "changed": [], "metrics": ""}
    other = other_kind(_settings_of(session.torch_optimizer), fresh, "optimizer.param_groups") or other_kind(
        saved.state.counters, counters, "counters"
    )
    if other:
        raise ValueError(f"{saved.path}: {other}; the run cannot be resumed exactly from it")
    try:
        session.tokens_sampled = saved.state.counters["tokens_sampled"]
        session.changed, base = saved.state.counters["changed"], saved.state.counters["base"]
        optimizer.load_state_dict(dict(saved.state.counters["optimizer"]))
    except KeyError as error:
        raise ValueError(
            f"{saved.path}: its counters lack {error}; the run cannot be resumed exactly without them"
        ) from error
    other_base = bool(base and session.base) and base != session.base
    if other_base and not session.settings.override:
        raise ValueError(
            f"{saved.path}: the weights of the model that it goes on from, below its adapters or as the reference "
            "policy, are others than they were; put them back (override to go on all the same)"
        )
    same = session.stream.restore(dict(saved.state.data), session.settings.override)
    if session.settings.override:
        _take_settings(schedule, fresh)
    changes = [*saved.changes, *([] if same else ["data: other rows to train on"])]
    changes += ["model: other weights below the adapters, or of the reference policy"] if other_base else []
    if changes:
        told = "; ".join(changes)
        session.changed = [*session.changed, f"after update {saved.step}: {told}"]
        warnings.warn(
            f"override: going on with the weights and the optimizer's state of {saved.path}, although these differ: "
            f"{told}",
            stacklevel=2,
        )


def _take_settings(schedule: LambdaLR, settings: Sequence[dict[str, Any]]) -> None:
    """Let an optimizer go on with these settings of its groups, at the place of its schedule."""
    groups = schedule.optimizer.param_groups
    for group, wanted in zip(groups, settings, strict=True):
        group.update(wanted)
    schedule.base_lrs = [group["initial_lr"] for group in groups]
    for group, rise in zip(groups, schedule.lr_lambdas, strict=True):
        group["lr"] = group["initial_lr"] * rise(schedule.last_epoch)


def _settings_of(optimizer: Optimizer) -> list[dict[str, Any]]:
    """What each group of an optimizer's parameters is stepped with: learning rate, weight decay and the like."""
    return [{name: value for name, value in group.items() if name != "params"} for group in optimizer.param_groups]


def _load(policy: PolicySource, lora: LoRA, path: Path | None) -> tuple[nn.Module, Any]:
    """The policy and its tokenizer, of a checkpoint if one is given; with adapters, if adapters are trained."""
    if not lora.r:
        return policy.load(path)
    model, tokenizer = policy.load()
    if path is None:
        return lora.attach(model, policy.model), tokenizer
    adapted = with_adapters(model, path, trainable=True)
    name_base(adapted, policy.model)
    return adapted, tokenizer


def _reference(policy: PolicySource, processes: Processes, sharding: Sharding | Zero | None) -> tuple[nn.Module, str]:
    """The policy before training, a copy of all its weights, and their digest."""
    copy = policy.load()[0]
    digest = weights_digest(copy.parameters())
    if isinstance(sharding, Zero):
        return (sharding.engine(copy, None) if sharding.stage == 3 else copy), digest
    return (copy if sharding is None else wrap(copy, processes, sharding)), digest
