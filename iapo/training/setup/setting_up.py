"""A run set up: its policy loaded, its components built and joined, as they were at a checkpoint if it has one."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from iapo.interfaces import Sampler
from iapo.ops.random_state import seed_rng
from iapo.optimizers import ClippedOptimizer, DeepSpeedOptimizer
from iapo.policy.lora import AdapterOff, LoRA, with_adapters
from iapo.tasks import PromptStream
from iapo.training.checkpoints.checkpoint import checkpoints, load_checkpoint
from iapo.training.components import Components, UpdateSettings
from iapo.training.configuration.settings import PolicySource, RunSettings
from iapo.training.distributed.parallel import Sharding, wrap
from iapo.training.distributed.processes import SINGLE, Processes
from iapo.training.distributed.sharded_state import load_whole_state
from iapo.training.distributed.zero import Zero
from iapo.training.distributed.zero_state import load_zero_state
from iapo.training.session import ComponentChoices, Session
from iapo.training.setup.making_optimizer import make_optimizer


def set_up(
    policy: PolicySource,
    settings: RunSettings,
    choices: ComponentChoices,
    make_stream: Callable[[nn.Module, Any, Sampler], PromptStream],
    resolved: Mapping[str, Any],
    processes: Processes = SINGLE,
    sharding: Sharding | Zero | None = None,
) -> Session:
    """Load the policy and build the components; of a run that is resumed, as they were at its newest checkpoint.

    Args:
        policy: where the policy comes from.
        settings: of the run.
        choices: the components.
        make_stream: from the policy, its tokenizer and the sampler to the prompts of the run, those that fit.
        resolved: all settings as plain data.
        processes: those of the run.
        sharding: how FSDP2 or DeepSpeed shares the policy out over them; ``None``: each has all weights.
    """
    folder = Path(settings.output)
    update_settings = UpdateSettings(
        settings.group_size,
        settings.micro_batch,
        settings.epochs,
        settings.answer,
        policy.autocast(),
        settings.reward_time_limit,
        settings.gradient_checkpointing,
        processes,
    )
    seed_rng(settings.seed)
    resuming = settings.resume and checkpoints(folder)
    saved = load_checkpoint(folder, resolved, settings.override) if resuming else None
    path = None if saved is None else saved.path
    loaded, tokenizer = _load(policy, settings.lora, path)
    model = loaded if isinstance(sharding, Zero) else wrap(loaded, processes, sharding)
    ref_model = (
        _reference(policy, settings.lora, loaded, processes, sharding) if choices.loss.requires_reference else None
    )
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    torch_optimizer = make_optimizer(choices.optimizer, trained)
    warmup = max(1, settings.warmup_steps)
    schedule = torch.optim.lr_scheduler.LambdaLR(torch_optimizer, lambda step: min(1.0, (step + 1) / warmup))
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
    stream = make_stream(model, tokenizer, sampler)
    components = Components(sampler, choices.rewards, choices.estimator, choices.assigner, choices.loss, optimizer)
    session = Session(settings, update_settings, model, tokenizer, ref_model, components, torch_optimizer, stream)
    if saved is not None:
        session.resumed_from, session.step, session.saved_step = saved, saved.step, saved.step
        if isinstance(sharding, Zero):
            load_zero_state(model, torch_optimizer, saved.state.optimizer, processes)
        else:
            load_whole_state(torch_optimizer, saved.state.optimizer)
        try:
            session.tokens_sampled = saved.state.counters["tokens_sampled"]
            optimizer.load_state_dict(dict(saved.state.counters["optimizer"]))
        except KeyError as error:
            raise ValueError(
                f"{saved.path}: its counters lack {error}; the run cannot be resumed exactly without them"
            ) from error
        stream.restore(dict(saved.state.data), settings.override)
    return session


def _load(policy: PolicySource, lora: LoRA, path: Path | None) -> tuple[nn.Module, Any]:
    """The policy and its tokenizer, of a checkpoint if one is given; with adapters, if adapters are trained."""
    if not lora.r:
        return policy.load(path)
    model, tokenizer = policy.load()
    return (lora.attach(model, policy.model) if path is None else with_adapters(model, path, trainable=True)), tokenizer


def _reference(
    policy: PolicySource, lora: LoRA, loaded: nn.Module, processes: Processes, sharding: Sharding | Zero | None
) -> nn.Module:
    """The policy before training: itself without its adapters, or a copy of all weights."""
    if lora.r:
        return AdapterOff(loaded)
    copy = policy.load()[0]
    if isinstance(sharding, Zero):
        return sharding.engine(copy, None) if sharding.stage == 3 else copy
    return copy if sharding is None else wrap(copy, processes, sharding)
