"""What Accelerate's configuration means to a run: honoured, or refused with what to set instead."""

import pytest
import torch

from iapo.training.distributed.accelerate import accelerate_sharding
from iapo.training.distributed.parallel import Sharding
from iapo.training.distributed.zero import Zero

FSDP = {"ACCELERATE_USE_FSDP": "true", "FSDP_VERSION": "2", "ACCELERATE_MIXED_PRECISION": "no"}


@pytest.mark.parametrize(
    ("environment", "sharding"),
    [
        ({}, None),
        ({"ACCELERATE_MIXED_PRECISION": "no", "ACCELERATE_DYNAMO_BACKEND": "no"}, None),
        (FSDP, Sharding()),
        (FSDP | {"FSDP_RESHARD_AFTER_FORWARD": "false"}, Sharding(reshard_after_forward=False)),
        (FSDP | {"FSDP_SHARDING_STRATEGY": "FULL_SHARD"}, Sharding()),
        (FSDP | {"FSDP_TRANSFORMER_CLS_TO_WRAP": "A,B", "FSDP_OFFLOAD_PARAMS": "false"}, Sharding(("A", "B"))),
    ],
)
def test_sharding_as_accelerate_is_configured(environment, sharding):
    assert accelerate_sharding(None, environment=environment) == sharding


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"ACCELERATE_USE_MEGATRON_LM": "true"}, "Megatron"),
        ({"ACCELERATE_USE_PARALLELISM_CONFIG": "true"}, "context and sequence parallelism"),
        ({"ACCELERATE_DYNAMO_BACKEND": "INDUCTOR"}, "set dynamo_backend to no"),
        ({"ACCELERATE_MIXED_PRECISION": "fp16"}, "mixed_precision is fp16"),
        ({"ACCELERATE_MIXED_PRECISION": "bf16"}, "--precision bf16"),
        ({"ACCELERATE_GRADIENT_ACCUMULATION_STEPS": "4"}, "--micro_batch"),
        ({"FSDP_VERSION": "1"}, "fsdp_version is 1; set it to 2"),
        ({"FSDP_SHARDING_STRATEGY": "HYBRID_SHARD"}, "fsdp_sharding_strategy is HYBRID_SHARD"),
        ({"FSDP_IGNORED_MODULES": "lm_head"}, "all weights are sharded"),
        ({"FSDP_OFFLOAD_PARAMS": "true"}, "fsdp_offload_params"),
        ({"FSDP_ACTIVATION_CHECKPOINTING": "true"}, "--gradient_checkpointing"),
        ({"FSDP_AUTO_WRAP_POLICY": "SIZE_BASED_WRAP"}, "TRANSFORMER_BASED_WRAP"),
    ],
)
def test_what_would_not_be_honoured_is_refused(changed, message):
    with pytest.raises(ValueError, match=f"^accelerate: .*{message}"):
        accelerate_sharding(None, environment=FSDP | changed)


def test_bf16_on_both_sides_is_one_setting():
    both = FSDP | {"ACCELERATE_MIXED_PRECISION": "bf16"}
    assert accelerate_sharding(torch.bfloat16, environment=both) == Sharding()


ZERO = {"ACCELERATE_USE_DEEPSPEED": "true", "ACCELERATE_MIXED_PRECISION": "no"}


@pytest.mark.parametrize(
    ("environment", "sharding"),
    [
        (ZERO, Zero(2)),
        (ZERO | {"ACCELERATE_DEEPSPEED_ZERO_STAGE": "3", "ACCELERATE_DEEPSPEED_OFFLOAD_PARAM_DEVICE": "none"}, Zero(3)),
        (ZERO | {"ACCELERATE_GRADIENT_CLIPPING": "1.0", "ACCELERATE_GRADIENT_ACCUMULATION_STEPS": "auto"}, Zero(2)),
        (ZERO | {"ACCELERATE_DEEPSPEED_ZERO3_INIT": "true", "ACCELERATE_DEEPSPEED_ZERO_STAGE": "1"}, Zero(1)),
    ],
)
def test_deepspeed_as_accelerate_is_configured(environment, sharding):
    assert accelerate_sharding(None, 1.0, environment) == sharding


@pytest.mark.parametrize(
    ("text", "number"), [("0.10", 0.1), ("1e-1", 0.1), ("1", 1.0), ("1.00", 1.0), ("1000000", 1e6), ("auto", 0.3)]
)
def test_a_clipping_of_the_same_number_is_the_same(text, number):
    assert accelerate_sharding(None, number, ZERO | {"ACCELERATE_GRADIENT_CLIPPING": text}) == Zero(2)


def test_a_stage_says_its_options():
    assert str(Zero(2)) == "ZeRO-2"
    assert str(Zero(3, {"sub_group_size": 20, "overlap_comm": True})) == "ZeRO-3, overlap_comm True, sub_group_size 20"


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"ACCELERATE_DEEPSPEED_ZERO_STAGE": "0"}, "zero_stage is 0, want 1, 2 or 3"),
        ({"ACCELERATE_DEEPSPEED_OFFLOAD_OPTIMIZER_DEVICE": "cpu"}, "set offload_optimizer_device to none"),
        ({"ACCELERATE_DEEPSPEED_OFFLOAD_PARAM_DEVICE": "nvme"}, "set offload_param_device to none"),
        ({"ACCELERATE_DEEPSPEED_MOE_LAYER_CLS_NAMES": "Experts"}, "deepspeed_moe_layer_cls_names"),
        ({"ACCELERATE_GRADIENT_CLIPPING": "0.5"}, "gradient_clipping is 0.5, and --max_grad_norm 1.0 decides"),
        ({"ACCELERATE_GRADIENT_CLIPPING": "one"}, "gradient_clipping is one, and --max_grad_norm 1.0 decides"),
        ({"ACCELERATE_GRADIENT_CLIPPING": "0.0"}, "gradient_clipping is 0.0, and --max_grad_norm 1.0 decides"),
        ({"ACCELERATE_GRADIENT_ACCUMULATION_STEPS": "4"}, "--micro_batch"),
        ({"ACCELERATE_MIXED_PRECISION": "fp16"}, "mixed_precision is fp16"),
        ({"ACCELERATE_DEEPSPEED_CONFIG_FILE": "nowhere.json"}, "nowhere.json cannot be read: there is no such file"),
    ],
)
def test_what_deepspeed_would_do_otherwise_is_refused(changed, message):
    with pytest.raises(ValueError, match=f"^accelerate: .*{message}"):
        accelerate_sharding(None, 1.0, ZERO | changed)
