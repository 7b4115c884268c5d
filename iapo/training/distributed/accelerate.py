"""What ``accelerate launch`` was configured for, honoured or refused; its launcher hands it on in the environment."""

import os
from collections.abc import Mapping

import torch

from iapo.ops.extras import check_installed
from iapo.training.distributed.accelerate_deepspeed import deepspeed_settings
from iapo.training.distributed.parallel import Sharding
from iapo.training.distributed.zero import Zero

_OFF = ("", "false", "no", "none")


def accelerate_sharding(
    autocast: torch.dtype | None, max_grad_norm: float = 1.0, environment: Mapping[str, str] = os.environ
) -> Sharding | Zero | None:
    """The sharding that ``accelerate launch`` was configured for; ``None``: none, which is DDP on several processes.

    Args:
        autocast: the reduced precision of forwards (``--precision``).
        max_grad_norm: the L2 norm that gradients are scaled down to (``--max_grad_norm``).
        environment: Accelerate's configuration as its launcher hands it on.

    Raises:
        ValueError: a setting that the run would not honour; the message says what to set instead.
    """
    _refuse(
        environment,
        {
            "ACCELERATE_USE_MEGATRON_LM": "Megatron-LM has models of its own; use FSDP (fsdp_version 2)",
            "ACCELERATE_USE_PARALLELISM_CONFIG": "tensor, context and sequence parallelism are not supported; use FSDP",
            "ACCELERATE_DYNAMO_BACKEND": "torch.compile is not applied by the loop; set dynamo_backend to no",
        },
    )
    precision = _given(environment, "ACCELERATE_MIXED_PRECISION")
    if precision and (precision != "bf16" or autocast is not torch.bfloat16):
        raise ValueError(
            f"accelerate: mixed_precision is {precision}, and --precision decides here; set --precision bf16 with "
            "mixed_precision bf16 or no, or --precision fp32 with no"
        )
    if _given(environment, "ACCELERATE_GRADIENT_ACCUMULATION_STEPS") not in ("", "1", "auto"):
        raise ValueError("accelerate: gradient_accumulation_steps is set; leave it 1, --micro_batch splits an update")
    if _given(environment, "ACCELERATE_USE_DEEPSPEED"):
        return _zero(environment, max_grad_norm)
    return _sharding(environment) if _given(environment, "ACCELERATE_USE_FSDP") else None


def _zero(environment: Mapping[str, str], max_grad_norm: float) -> Zero:
    _refuse(
        environment,
        {
            "ACCELERATE_DEEPSPEED_OFFLOAD_OPTIMIZER_DEVICE": "the optimizer's state stays on the device; set "
            "offload_optimizer_device to none",
            "ACCELERATE_DEEPSPEED_OFFLOAD_PARAM_DEVICE": "weights stay on the device; set offload_param_device to none",
            "ACCELERATE_DEEPSPEED_MOE_LAYER_CLS_NAMES": "layers of experts that are gathered as one were not tried; "
            "leave deepspeed_moe_layer_cls_names out, or use FSDP (fsdp_version 2)",
        },
    )
    clipping = _given(environment, "ACCELERATE_GRADIENT_CLIPPING")
    if clipping not in ("", "auto") and _number(clipping) != max_grad_norm:
        raise ValueError(
            f"accelerate: gradient_clipping is {clipping}, and --max_grad_norm {max_grad_norm} decides here; leave it "
            "out, or give both the same"
        )
    if source := _given(environment, "ACCELERATE_DEEPSPEED_CONFIG_FILE"):
        return deepspeed_settings(source, max_grad_norm)
    stage = environment.get("ACCELERATE_DEEPSPEED_ZERO_STAGE", "2")
    if stage not in ("1", "2", "3"):
        raise ValueError(f"accelerate: zero_stage is {stage}, want 1, 2 or 3; without sharding use no DeepSpeed")
    return Zero(int(stage))


def _sharding(environment: Mapping[str, str]) -> Sharding:
    _refuse(
        environment,
        {
            "FSDP_OFFLOAD_PARAMS": "weights stay on the device; set fsdp_offload_params to false",
            "FSDP_ACTIVATION_CHECKPOINTING": "use --gradient_checkpointing true, and set this to false",
            "FSDP_IGNORED_MODULES": "all weights are sharded; leave it out",
        },
    )
    if environment.get("FSDP_VERSION", "1") != "2":
        raise ValueError("accelerate: fsdp_version is 1; set it to 2")
    if (strategy := environment.get("FSDP_SHARDING_STRATEGY", "FULL_SHARD")) not in ("FULL_SHARD", "1"):
        raise ValueError(
            f"accelerate: fsdp_sharding_strategy is {strategy}, which fsdp_version 2 does not have; leave it out, "
            "fsdp_reshard_after_forward false does what SHARD_GRAD_OP did"
        )
    if environment.get("FSDP_AUTO_WRAP_POLICY") == "SIZE_BASED_WRAP":
        raise ValueError("accelerate: fsdp_auto_wrap_policy is SIZE_BASED_WRAP; set it to TRANSFORMER_BASED_WRAP")
    layers = _given(environment, "FSDP_TRANSFORMER_CLS_TO_WRAP")
    reshard = environment.get("FSDP_RESHARD_AFTER_FORWARD", "true").lower()
    return Sharding(tuple(layers.split(",")) if layers else (), reshard not in ("false", "shard_grad_op"))


def check_configured(processes: int) -> None:
    """Refuse, before processes are connected and anything loads, what a configuration of DeepSpeed lacks.

    Args:
        processes: how many the launcher started.

    Raises:
        ValueError: one process.
        ModuleNotFoundError: DeepSpeed is not installed.
    """
    if not _given(os.environ, "ACCELERATE_USE_DEEPSPEED"):
        return
    if processes == 1:
        raise ValueError(
            "accelerate: DeepSpeed is configured on one process, want several: accelerate launch --use_deepspeed "
            "--num_processes 2, or no DeepSpeed"
        )
    check_installed("deepspeed", "deepspeed")


def _number(text: str) -> float | None:
    """The number that a setting says, if it says one."""
    try:
        return float(text)
    except ValueError:
        return None


def _given(environment: Mapping[str, str], name: str) -> str:
    """A setting that is not off."""
    value = environment.get(name, "")
    return "" if value.lower() in _OFF else value


def _refuse(environment: Mapping[str, str], reasons: Mapping[str, str]) -> None:
    for name, reason in reasons.items():
        if value := _given(environment, name):
            raise ValueError(f"accelerate: {name} is {value}; {reason}")
