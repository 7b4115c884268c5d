"""NaN that appears in the middle of a run: named with tensor, rows and update before anything is changed."""

import shutil
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM
from updates import embedded_model, run

from iapo.cli import main
from iapo.embedded import model_path


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_forward_that_is_not_finite_changes_no_weight(value):
    model = embedded_model()
    before = torch.cat([parameter.detach().flatten().clone() for parameter in model.parameters()])

    def spoil(module, inputs, output):
        if output.logits.requires_grad:  # the forward that learns
            output.logits[1] = value
        return output

    model.register_forward_hook(spoil)
    with pytest.raises(FloatingPointError, match=r"policy_logprobs: NaN or infinite value in rows \[1\]"):
        run(model=model)
    assert torch.equal(torch.cat([parameter.detach().flatten() for parameter in model.parameters()]), before)


def test_a_run_says_in_which_update(tmp_path, capsys, monkeypatch):
    folder, forward = tmp_path / "run", AutoModelForCausalLM.from_pretrained(model_path()).__class__.forward
    learning = []

    def spoilt(self, *values, **names):
        output = forward(self, *values, **names)
        if output.logits.requires_grad:
            learning.append(1)
            if len(learning) == 2:
                output.logits = output.logits * float("nan")
        return output

    spoilt.__wrapped__ = forward
    monkeypatch.setattr(f"{forward.__module__}.LlamaForCausalLM.forward", spoilt)
    arguments = ["train", "--output", str(folder), "--limit", "32", "--diagnose", "0", "--steps", "3"]
    arguments += [
        "--prompts_per_step",
        "2",
        "--group_size",
        "2",
        "--sampler.max_new_tokens",
        "8",
        "--eval_problems",
        "2",
    ]
    assert main([*arguments, "--eval_samples", "1", "--checkpoint_every", "1"]) == 1
    last = capsys.readouterr().err.splitlines()[-1]
    assert "policy_logprobs: NaN or infinite value in rows [0, 1, 2, 3]" in last
    assert last.endswith("(in update 2)")
    assert [path.name for path in folder.glob("checkpoint-*")] == ["checkpoint-1"]


def test_a_policy_whose_weights_are_not_finite_is_named_before_any_update(tmp_path, capsys):
    folder = Path(shutil.copytree(model_path(), tmp_path / "model"))
    model = embedded_model()
    model.get_output_embeddings().weight.data.fill_(float("nan"))
    model.save_pretrained(folder)
    arguments = ["train", "--output", str(tmp_path / "run"), "--model", str(folder), "--limit", "32"]
    assert main([*arguments, "--prompts_per_step", "2", "--eval_problems", "2"]) == 1
    assert "policy: the logits of LlamaForCausalLM are NaN or infinite" in capsys.readouterr().err.splitlines()[-1]
