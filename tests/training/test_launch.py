"""What a launcher's configuration means to a run: honoured, or refused with what to set instead."""

import pytest
import torch

from iapo.cli import main
from iapo.training.configured import accelerate_sharding
from iapo.training.launch import joined
from iapo.training.parallel import Sharding
from iapo.training.processes import SINGLE, Processes
from iapo.training.random_state import capture_rng

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


def test_sharding_one_process_and_other_commands_on_several_are_refused(monkeypatch, capsys, tmp_path):
    assert main(["train", "--shard", "true", "--output", str(tmp_path / "run")]) == 1
    assert "shard: there is one process, want several" in capsys.readouterr().err
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert main(["eval"]) == 1
    assert "got 2 processes, want one" in capsys.readouterr().err


def test_a_tracker_that_is_not_installed_is_said_before_anything_loads(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr("iapo.training.tracking.find_spec", lambda name: None if name == "wandb" else name)
    assert main(["train", "--tracker", "wandb", "--output", str(tmp_path / "run")]) == 1
    assert capsys.readouterr().err == "iapo train: tracker: got 'wandb', but wandb is missing: pip install wandb\n"
    assert not (tmp_path / "run").exists()


def test_one_process_needs_nothing():
    with joined("cpu") as (processes, device):
        assert (processes, device) == (SINGLE, torch.device("cpu"))
    state = capture_rng()["torch"]
    with processes.own_random(), processes.together():
        assert torch.equal(capture_rng()["torch"], state), "its stream is the common one"
    assert processes.gather(3) == [3]
    assert processes.from_first(lambda: 4) == 4


@pytest.mark.parametrize("size", [1, 2, 3, 7])
@pytest.mark.parametrize("count", range(9))
def test_shares_are_all_there_is_once_and_differ_by_one_at_most(size, count):
    shares = [Processes(index, size).share(count) for index in range(size)]
    assert [each for share in shares for each in share] == list(range(count))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1
