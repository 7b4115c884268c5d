"""Torch's default dtype, which users change to load their models, changes no number."""

import json

import pytest
import torch

from iapo.cli import main

TINY = (
    "--steps 2 --prompts_per_step 2 --group_size 2 --limit 16 --eval_problems 2 --eval_samples 1 --diagnose 1 "
    "--sampler.max_new_tokens 24 --answer_style AnswerTags"
)


@pytest.mark.parametrize("method", ["", "--estimator AnswerLikelihood --assigner InformationAware"])
def test_a_run_does_not_depend_on_it(method, tmp_path) -> None:
    found = {}
    for dtype in (torch.float32, torch.float64, torch.bfloat16):
        torch.set_default_dtype(dtype)
        try:
            run = tmp_path / str(dtype)
            assert main(["train", "--output", str(run), *TINY.split(), *method.split()]) == 0
        finally:
            torch.set_default_dtype(torch.float32)
        lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
        found[dtype] = [{name: line[name] for name in line if "time" not in name} for line in lines]
    assert found[torch.float64] == found[torch.float32]
    assert found[torch.bfloat16] == found[torch.float32]
