"""DeepSpeed's own configuration, a file of Accelerate's: what of it the loop honours, and what it refuses."""

import base64
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from iapo.ops.json_files import read_json_file
from iapo.training.distributed.zero import Zero

_TUNING = {
    "contiguous_gradients",
    "reduce_scatter",
    "reduce_bucket_size",
    "use_multi_rank_bucket_allreduce",
    "allgather_partitions",
    "allgather_bucket_size",
    "allgather_sequential",
    "overlap_comm",
    "round_robin_gradients",
    "sub_group_size",
    "prefetch_bucket_size",
    "param_persistence_threshold",
    "model_persistence_threshold",
    "max_live_parameters",
    "max_reuse_distance",
    "module_granularity_threshold",
    "ignore_unused_parameters",
    "use_all_reduce_for_fetch_params",
}
"""Entries of ``zero_optimization`` that change memory and speed; those of stage 3 may begin with ``stage3_``."""
_UNREAD = {"gather_16bit_weights_on_model_save", "gather_fp16_weights_on_model_save"}
"""Entries of ``zero_optimization`` about what DeepSpeed saves; checkpoints of a run hold whole weights."""
_LOGGING = {"steps_per_print", "wall_clock_breakdown", "memory_breakdown", "dump_state", "zero_force_ds_cpu_optimizer"}
"""Entries that are not read: a run has its own log, and nothing is offloaded."""
_REASONS = {
    "optimizer": "--optimizer names it",
    "scheduler": "--warmup_steps says how the learning rate rises",
    "fp16": "weights stay in fp32; --precision bf16 is for forwards",
    "bf16": "weights stay in fp32; --precision bf16 is for forwards",
    "torch_autocast": "--precision decides",
    "gradient_clipping": "--max_grad_norm decides; leave it out, or give both the same",
    "gradient_accumulation_steps": "leave it 1, --micro_batch splits an update",
    "train_batch_size": "--prompts_per_step and --group_size are the batch",
    "train_micro_batch_size_per_gpu": "--micro_batch is the completions of a forward",
    "activation_checkpointing": "use --gradient_checkpointing true",
    "zero_optimization.offload_optimizer": "the optimizer's state stays on the device",
    "zero_optimization.offload_param": "weights stay on the device",
    "zero_optimization.zero_quantized_weights": "forwards would see other weights",
    "zero_optimization.zero_quantized_nontrainable_weights": "forwards would see other weights",
    "zero_optimization.zero_quantized_gradients": "the update would be another",
}
"""Why an entry is refused; of others the message is that they were not tried."""


def deepspeed_settings(source: str, max_grad_norm: float) -> Zero:
    """The sharding of a configuration of DeepSpeed.

    Args:
        source: a JSON file, or its content in base64.
        max_grad_norm: the L2 norm that gradients are scaled down to (``--max_grad_norm``).

    Raises:
        ValueError: what cannot be read, or an entry that the run would not honour; the message says what to do.
    """
    config = _read(source)
    source = source if os.path.exists(source) else "deepspeed_config_file in base64"
    allowed = {"gradient_clipping": max_grad_norm, "gradient_accumulation_steps": 1}
    for name, value in config.items():
        if name in ("zero_optimization", "zero_allow_untested_optimizer", *_LOGGING) or _is_off(value):
            continue
        if name not in allowed or value != allowed[name]:
            raise _refusal(source, name, value)
    zero = config.get("zero_optimization", {})
    stage = zero.get("stage") if isinstance(zero, Mapping) else None
    if stage not in (1, 2, 3):
        raise ValueError(f"accelerate: {source}: zero_optimization.stage is {stage}, want 1, 2 or 3")
    options: dict[str, Any] = {}
    for name, value in zero.items():
        bare = name.removeprefix("stage3_")
        if name == "stage" or bare in _UNREAD:
            continue
        if bare in _TUNING:
            options |= {} if value == "auto" else {name: value}
        elif not (_is_off(value) or (name == "zero_hpz_partition_size" and value == 1)):
            raise _refusal(source, f"zero_optimization.{name}", value)
    return Zero(stage, options, config.get("zero_allow_untested_optimizer") is True)


def _read(source: str) -> dict[str, Any]:
    try:
        config = read_json_file(Path(source)) if os.path.exists(source) else json.loads(_decoded(source))
    except (OSError, ValueError) as error:
        raise ValueError(f"accelerate: deepspeed_config_file {source} cannot be read: {error}") from error
    if not isinstance(config, dict):
        raise ValueError(f"accelerate: deepspeed_config_file {source} holds no JSON object")
    return config


def _decoded(source: str) -> str:
    try:
        return base64.urlsafe_b64decode(source).decode("utf-8")
    except ValueError as error:
        raise ValueError("there is no such file, and it is no base64") from error


def _is_off(value: Any) -> bool:
    """``auto``, which the loop decides; or something that is not there, or that is switched off."""
    if isinstance(value, Mapping):
        return value.get("enabled") in (False, "auto") or value.get("device") == "none" or not value
    return value is None or value is False or value == "auto"


def _refusal(source: str, name: str, value: Any) -> ValueError:
    reason = _REASONS.get(name, "it was not tried with this loop; take it out")
    return ValueError(f"accelerate: {source}: {name} is {json.dumps(value)}; {reason}")
