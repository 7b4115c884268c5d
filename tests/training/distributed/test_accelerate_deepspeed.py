"""What a configuration file of DeepSpeed means to a run: honoured, or refused with what to set instead."""

import base64
import json

import pytest

from iapo.training.distributed.accelerate_deepspeed import deepspeed_settings
from iapo.training.distributed.zero import Zero

AUTO = {  # as the documentation of Accelerate has it
    "fp16": {"enabled": "auto", "loss_scale": 0, "initial_scale_power": 16},
    "bf16": {"enabled": False},
    "zero_optimization": {
        "stage": 3,
        "offload_optimizer": {"device": "none"},
        "offload_param": {"device": "none"},
        "overlap_comm": True,
        "contiguous_gradients": True,
        "reduce_bucket_size": "auto",
        "stage3_prefetch_bucket_size": "auto",
        "stage3_max_live_parameters": 1e9,
        "stage3_gather_16bit_weights_on_model_save": "auto",
        "zero_hpz_partition_size": 1,
        "zero_quantized_weights": False,
    },
    "gradient_accumulation_steps": 1,
    "gradient_clipping": "auto",
    "steps_per_print": 2000,
    "train_batch_size": "auto",
    "train_micro_batch_size_per_gpu": "auto",
    "wall_clock_breakdown": False,
}
TUNED = {"overlap_comm": True, "contiguous_gradients": True, "stage3_max_live_parameters": 1e9}


def test_what_is_automatic_or_only_tunes_is_honoured(tmp_path):
    file = tmp_path / "zero.json"
    file.write_text(json.dumps(AUTO))
    encoded = base64.urlsafe_b64encode(file.read_bytes()).decode()
    assert deepspeed_settings(str(file), 1.0) == deepspeed_settings(encoded, 1.0) == Zero(3, TUNED)
    file.write_text(json.dumps(AUTO | {"gradient_clipping": 0.5, "zero_allow_untested_optimizer": True}))
    assert deepspeed_settings(str(file), 0.5) == Zero(3, TUNED, any_optimizer=True)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"optimizer": {"type": "AdamW"}}, "--optimizer names it"),
        ({"scheduler": {"type": "WarmupLR"}}, "--warmup_steps"),
        ({"fp16": {"enabled": True}}, "weights stay in fp32"),
        ({"bf16": {"enabled": True}}, "--precision bf16 is for forwards"),
        ({"gradient_clipping": 0.5}, "--max_grad_norm decides"),
        ({"gradient_clipping": 0}, "--max_grad_norm decides"),
        ({"gradient_accumulation_steps": 4}, "--micro_batch splits an update"),
        ({"train_batch_size": 32}, "--prompts_per_step"),
        ({"train_micro_batch_size_per_gpu": 2}, "--micro_batch"),
        ({"prescale_gradients": True}, "it was not tried with this loop; take it out"),
        ({"communication_data_type": "bf16"}, "take it out"),
        ({"zero_optimization": {"stage": 0}}, "zero_optimization.stage is 0, want 1, 2 or 3"),
        ({"zero_optimization": True}, "zero_optimization.stage is None"),
        ({"zero_optimization": {"stage": 2, "offload_optimizer": {"device": "cpu"}}}, "stays on the device"),
        ({"zero_optimization": {"stage": 3, "zero_quantized_gradients": True}}, "the update would be another"),
        ({"zero_optimization": {"stage": 3, "zero_hpz_partition_size": 8}}, "zero_hpz_partition_size is 8"),
        ({"zero_optimization": {"stage": 2, "zenflow": {"topk_ratio": 0.1}}}, "zenflow"),
    ],
)
def test_what_would_change_the_update_is_refused(tmp_path, changed, message):
    file = tmp_path / "zero.json"
    file.write_text(json.dumps(AUTO | changed))
    with pytest.raises(ValueError, match=f"^accelerate: .*zero.json: .*{message}"):
        deepspeed_settings(str(file), 1.0)


@pytest.mark.parametrize("text", ["[1]", "{", "\xff"])
def test_what_is_no_configuration_is_refused(tmp_path, text):
    file = tmp_path / "zero.json"
    file.write_bytes(text.encode("latin-1"))
    with pytest.raises(ValueError, match=r"^accelerate: deepspeed_config_file .*zero\.json (cannot be read|holds no)"):
        deepspeed_settings(str(file), 1.0)
