"""`iapo train` on two processes of DeepSpeed: whole weights in checkpoints, and runs that are resumed bitwise."""

import json
import os
import subprocess
import sys

import pytest
import torch
from ports import held_port
from runs_on_processes import JUDGE, SETTINGS, on_two, same_runs, settings_of, steps_of

from iapo.cli import main
from iapo.policy.loading import load_model

CONFIG = {
    "zero_optimization": {"stage": 3, "stage3_param_persistence_threshold": 0, "offload_param": {"device": "none"}},
    "gradient_clipping": "auto",
    "bf16": {"enabled": False},
}
WHOLE = ["--loss.kl_coef=0.1", "--eval_problems=1", "--eval_samples=1", "--micro_batch=6"]
ADAPTED = ["--lora.r=2", *WHOLE]
RUNS = {
    "zero2 begun": settings_of("adapted2", "--steps=1", *ADAPTED),
    "zero2 resumed": settings_of("adapted2", "--steps=2", "--resume", *ADAPTED),
    "zero2 straight": settings_of("adapted2-straight", "--steps=2", *ADAPTED),
    "zero3 adapted": settings_of("adapted3", "--steps=1", *ADAPTED),
    "zero3 begun": settings_of("whole3", "--steps=1", *WHOLE),
    "zero3 straight": settings_of("whole3-straight", "--steps=2", *WHOLE),
    "zero3 of zero2": settings_of("adapted2", "--steps=3", "--resume", "--override", *ADAPTED),
    "zero3 judge": settings_of("judge", *JUDGE),
    "zero3 and FSDP2": settings_of("none", "--shard=true"),
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    (folder / "zero3.json").write_text(json.dumps(CONFIG))
    zero = {"ACCELERATE_USE_DEEPSPEED": "true", "ACCELERATE_MIXED_PRECISION": "no"}
    kinds = {
        "zero2": zero | {"ACCELERATE_DEEPSPEED_ZERO_STAGE": "2"},
        "zero3": zero | {"ACCELERATE_DEEPSPEED_CONFIG_FILE": str(folder / "zero3.json")},
    }
    return on_two(RUNS, folder, {name: kinds[name.split()[0]] for name in RUNS})


def test_a_resumed_run_repeats_the_other_bitwise(runs):
    folder, told = runs
    for name in ("zero2 begun", "zero2 resumed", "zero2 straight"):
        assert [process[name] for process in told] == [[0, told[0][name][1]], [0, ""]], "the second one says nothing"
    same_runs(folder / "adapted2", folder / "adapted2-straight", "adapter_model")


def test_a_run_that_accelerate_launched_goes_on_bitwise(runs):
    folder, told = runs
    assert [process[name][0] for name in ("zero3 begun", "zero3 straight") for process in told] == [0] * 4
    launch = [sys.executable, "-m", "accelerate.commands.launch", "--num_processes=2"]
    launch += ["--use_deepspeed", f"--deepspeed_config_file={folder / 'zero3.json'}"]
    flags = (each.format(folder=folder) for each in settings_of("whole3", "--steps=2", "--resume", *WHOLE))
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    with held_port() as port:
        command = [*launch, f"--main_process_port={port}", "-m", "iapo.cli", "train", *SETTINGS, *flags]
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert f"the report is in {folder / 'whole3' / 'report.md'}" in done.stderr
    same_runs(folder / "whole3", folder / "whole3-straight", "model")


def test_whole_weights_are_saved(runs):
    folder, _ = runs
    saved, _ = load_model(str(folder / "whole3-straight" / "checkpoint-2"))
    base, _ = load_model("embedded")
    assert {name: value.shape for name, value in saved.state_dict().items()} == {
        name: value.shape for name, value in base.state_dict().items()
    }
    assert not torch.equal(saved.model.layers[0].mlp.up_proj.weight, base.model.layers[0].mlp.up_proj.weight)


def test_stages_make_the_same_update(runs):
    folder, _ = runs
    second, third = (steps_of(folder / name)[0] for name in ("adapted2-straight", "adapted3"))
    assert third == pytest.approx(second, abs=2e-5, rel=1e-4)
    second, third = (load_model(str(folder / name / "checkpoint-1"))[0] for name in ("adapted2-straight", "adapted3"))
    for one, other in zip(second.parameters(), third.parameters(), strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=0)


def test_what_cannot_go_on_is_refused(runs, capsys):
    folder, told = runs
    for process in told:
        assert process["zero3 of zero2"][0] == process["zero3 judge"][0] == process["zero3 and FSDP2"][0] == 1
        assert "DeepSpeed is configured, want one of them" in process["zero3 and FSDP2"][1]
    assert "the optimizer's state is of ZeRO-2 on 2 processes, want ZeRO-3 on 2" in told[0]["zero3 of zero2"][1]
    assert "process 1 of 2 failed: RuntimeError: reward 'judge'" in told[0]["zero3 judge"][1]
    assert "the judge is gone" in told[1]["zero3 judge"][1]
    resume = [each.format(folder=folder) for each in settings_of("adapted2", "--steps=3", "--resume", *ADAPTED)]
    assert main(["train", *SETTINGS, *resume]) == 1
    assert 'shard: saved "ZeRO-2", now false' in capsys.readouterr().err
    assert main(["train", *SETTINGS, *resume, "--override"]) == 1
    assert "the optimizer's state is of DeepSpeed, in parts" in capsys.readouterr().err
