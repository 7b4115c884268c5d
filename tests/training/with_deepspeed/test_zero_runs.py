"""`iapo train` on two processes of DeepSpeed: whole weights in checkpoints, and runs that are resumed bitwise."""

import pytest
import torch
from runs_on_processes import JUDGE, on_two, same_runs, settings_of, steps_of

from iapo.policy.loading import load_model

ZERO = {"ACCELERATE_USE_DEEPSPEED": "true", "ACCELERATE_MIXED_PRECISION": "no"}
ZERO2 = ZERO | {"ACCELERATE_DEEPSPEED_ZERO_STAGE": "2"}
ZERO3 = ZERO | {"ACCELERATE_DEEPSPEED_ZERO_STAGE": "3"}
ADAPTED = ["--lora.r=2", "--loss.kl_coef=0.1", "--gradient_checkpointing=true", "--diagnose=1"]
RUNS = {}
ENVIRONMENTS = {}
for _kind, _environment, _flags in (
    ("zero2", ZERO2, ["--loss.kl_coef=0.1"]),
    ("zero3", ZERO3, ["--loss.kl_coef=0.1"]),
    ("adapted2", ZERO2, ADAPTED),
    ("adapted3", ZERO3, ADAPTED),
):
    RUNS |= {
        f"{_kind} begun": settings_of(f"{_kind}-resumed", "--steps=1", *_flags),
        f"{_kind} resumed": settings_of(f"{_kind}-resumed", "--steps=2", "--resume", *_flags),
        f"{_kind} straight": settings_of(f"{_kind}-straight", "--steps=2", *_flags),
    }
    ENVIRONMENTS |= {f"{_kind} {_part}": _environment for _part in ("begun", "resumed", "straight")}


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    return on_two(RUNS, tmp_path_factory.mktemp("runs"), ENVIRONMENTS)


@pytest.mark.parametrize("kind", ["zero2", "zero3", "adapted2", "adapted3"])
def test_a_resumed_run_repeats_the_other_bitwise(runs, kind):
    folder, told = runs
    print(told)
    same_runs(folder / f"{kind}-resumed", folder / f"{kind}-straight", "adapter_model" if "adapted" in kind else "model")
