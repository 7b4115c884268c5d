"""`iapo export`: what is written loads elsewhere, computes the same, and says where it comes from."""

import pytest
import torch
from saved_runs import save
from transformers import AutoModelForCausalLM, AutoTokenizer

from iapo.cli import main
from iapo.commands.export import export
from iapo.policy.loading import load_model

SMALL = [
    *("--steps", "1", "--prompts_per_step", "2", "--group_size", "2", "--limit", "24"),
    *("--eval_problems", "4", "--eval_samples", "1"),
]


@pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")  # of PEFT, about transformers
@pytest.mark.parametrize("rank", [0, 2])
def test_the_model_that_is_exported_is_the_one_that_was_trained(tmp_path, capsys, rank):
    run, target = tmp_path / "run", tmp_path / "model"
    arguments = [*SMALL, "--sampler.max_new_tokens", "40", "--lora.r", str(rank)]
    assert main(["train", "--output", str(run), *arguments]) == 0
    assert main(["export", str(run), "--output", str(target)]) == 0
    assert f"iapo eval --models '[{target}]'" in capsys.readouterr().err.splitlines()[-1]
    exported, tokenizer = AutoModelForCausalLM.from_pretrained(target), AutoTokenizer.from_pretrained(target)
    trained, _ = load_model(str(run / "checkpoint-1"))
    ids = tokenizer("3+8=", return_tensors="pt").input_ids
    with torch.no_grad():
        assert torch.equal(exported(ids).logits, trained(ids).logits)
    names = {path.name for path in target.iterdir()}
    assert {"model.safetensors", "generation_config.json", "curves.png", "before_after.png"} <= names
    assert not any(path.suffix in (".bin", ".pt", ".pkl") for path in target.iterdir())
    card = (target / "README.md").read_text()
    for text in ("library_name: transformers", "method: LeaveOutPriced", "| accuracy |", "command: `iapo train"):
        assert text in card
    if rank:
        from peft import PeftModel

        apart = tmp_path / "adapter"
        assert main(["export", str(run), "--output", str(apart), "--adapter"]) == 0
        adapted = PeftModel.from_pretrained(load_model("embedded")[0], apart)
        with torch.no_grad():
            torch.testing.assert_close(adapted(ids).logits, exported(ids).logits)
        assert "library_name: peft" in (apart / "README.md").read_text()


def test_an_older_checkpoint_under_another_name_says_what_it_is(tmp_path):
    run = tmp_path / "run"
    for step in (1, 2):
        save(run, step)
    (run / "report.md").write_text("# Report\n\n- updates: 2\n\n## Before and after\n")
    older = (run / "checkpoint-1").rename(run / "good")
    for source, step in ((older, 1), (run, 2)):
        assert export(run=str(source), output=str(tmp_path / f"model-{step}"), adapter=False) == 0
        card = (tmp_path / f"model-{step}" / "README.md").read_text()
        assert f"after {step} updates" in card
        assert ("The numbers are of the model at its end, not of this one." in card) == (source == older)


def test_a_link_to_nothing_is_no_place_for_a_model(tmp_path):
    run, link = tmp_path / "run", tmp_path / "model"
    save(run, 1)
    link.symlink_to(tmp_path / "nowhere")
    with pytest.raises(FileExistsError, match=r"output: .*model is there already; name another folder$"):
        export(run=str(run), output=str(link), adapter=False)
    assert not list(tmp_path.glob("*.tmp"))
