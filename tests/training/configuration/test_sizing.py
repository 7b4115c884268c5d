"""Defaults by the size of the model: for whom, that flags come first, and that a resumed run keeps its own."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from jsonargparse import Namespace
from transformers import LlamaConfig, LlamaForCausalLM

from iapo.commands.flags import eval_parser, inspect_parser
from iapo.embedded import model_path
from iapo.policy.lora import LoRA
from iapo.policy.size import ModelSize, model_size
from iapo.training.configuration.parser import train_parser
from iapo.training.configuration.sizing import SizeDefaults, defaults_for, set_defaults

SHAPE = {"hidden_size": 512, "intermediate_size": 1024, "num_hidden_layers": 4, "num_attention_heads": 8}


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The folder of a model of some 13M weights, of which only the configuration and a tokenizer are there."""
    folder = tmp_path_factory.mktemp("real")
    for path in Path(model_path()).glob("*token*"):
        shutil.copy(path, folder)
    LlamaConfig(vocab_size=8000, num_key_value_heads=4, tie_word_embeddings=True, **SHAPE).save_pretrained(folder)
    return str(folder)


def parsed(make: Any, command: str, *arguments: str) -> tuple[Namespace, SizeDefaults | None]:
    """Settings as the command line gets them: parsed, and parsed again with the defaults that they ask for."""
    parser = make()
    parser.exit_on_error = False
    given = ["--device", "cpu", *arguments]
    found = set_defaults(command, parser, parser.parse_args(given))
    return parser.parse_args(given), found


def test_a_size_is_that_of_the_model(real: str) -> None:
    config = LlamaConfig.from_pretrained(real)
    model = LlamaForCausalLM(config)
    weights = sum(parameter.numel() for parameter in model.parameters())
    assert model_size(real) == ModelSize(weights, weights)
    for names in (None, ["q_proj", "v_proj"]):
        adapted = LoRA(4, target_modules=names).attach(model, real)
        trained = sum(parameter.numel() for parameter in adapted.parameters() if parameter.requires_grad)
        assert model_size(real, LoRA(4, target_modules=names)) == ModelSize(weights, trained)
        model = adapted.unload()


def test_a_size_needs_no_attention_that_a_configuration_names(real: str, tmp_path: Path) -> None:
    path = Path(shutil.copytree(real, tmp_path / "model")) / "config.json"
    named = {"_attn_implementation": "flash_attention_2", "attn_implementation": "flash_attention_2"}
    path.write_text(json.dumps(json.loads(path.read_text()) | named))
    assert model_size(str(path.parent)) == model_size(real)


def test_the_embedded_model_keeps_the_defaults() -> None:
    settings, found = parsed(train_parser, "train")
    assert found is None
    assert (settings.prompts_per_step, settings.eval_problems, settings.optimizer.init_args.lr) == (32, 256, 5e-4)


def test_a_larger_model_gets_its_own_unless_a_flag_says_otherwise(real: str) -> None:
    settings, found = parsed(train_parser, "train", "--model", real, "--eval_problems", "100")
    assert found is not None
    assert settings.eval_problems == 100
    assert (settings.prompts_per_step, settings.diagnose, settings.optimizer.init_args.lr) == (4, 0, 1e-5)
    assert settings.sampler.init_args.max_new_tokens == 256
    told = found.told(settings)
    assert told.startswith("defaults for 1")
    assert "--prompts_per_step 4" in told
    assert "eval_problems" not in told, "it is the user's"
    adapted, _ = parsed(train_parser, "train", "--model", real, "--lora.r", "8")
    assert adapted.optimizer.init_args.lr == pytest.approx(1e-4)
    own, _ = parsed(train_parser, "train", "--model", real, "--optimizer.lr", "0.5", "--sampler.max_new_tokens", "9")
    assert (own.optimizer.init_args.lr, own.sampler.init_args.max_new_tokens) == (0.5, 9)
    other, _ = parsed(train_parser, "train", "--model", real, "--optimizer", "torch.optim.SGD")
    assert other.optimizer.init_args.get("lr") != 1e-5, "another optimizer starts from its own"


def test_a_file_of_settings_comes_before_the_size(real: str, tmp_path: Path) -> None:
    path = tmp_path / "own.yaml"
    path.write_text("prompts_per_step: 7\n")
    settings, _ = parsed(train_parser, "train", "--model", real, "--config", str(path))
    assert (settings.prompts_per_step, settings.eval_problems) == (7, 8)


def test_other_commands_get_what_concerns_them(real: str) -> None:
    settings, _ = parsed(eval_parser, "eval", "--models", f"[embedded, {real}]")
    assert (settings.problems, settings.samples) == (8, 4)
    assert settings.sampler.init_args.max_new_tokens == 256
    shown, _ = parsed(inspect_parser, "inspect", "--model", real)
    assert shown.sampler.init_args.max_new_tokens == 256


def test_a_resumed_run_keeps_what_it_began_with(real: str, tmp_path: Path) -> None:
    kept = {
        "eval_batch": None,
        "prompts_per_step": 5,
        "sampler": {"class_path": "iapo.CompactingSampler", "init_args": {"max_new_tokens": 77}},
        "optimizer": {"class_path": "torch.optim.AdamW", "init_args": {"lr": 0.25}},
    }
    (tmp_path / "config.json").write_text(json.dumps(kept))
    settings, _ = parsed(train_parser, "train", "--model", real, "--output", str(tmp_path), "--resume")
    assert (settings.prompts_per_step, settings.sampler.init_args.max_new_tokens) == (5, 77)
    assert settings.optimizer.init_args.lr == 0.25
    assert settings.eval_batch is None
    for damaged in ("[1]", "{"):
        (tmp_path / "config.json").write_text(damaged)
        settings, _ = parsed(train_parser, "train", "--model", real, "--output", str(tmp_path), "--resume")
        assert settings.prompts_per_step == 4
    fresh, _ = parsed(train_parser, "train", "--model", real, "--output", str(tmp_path))
    assert fresh.prompts_per_step == 4


def test_rates_fall_with_the_weights_and_adapters_learn_faster() -> None:
    sizes = [20_000_000, 500_000_000, 7_000_000_000]
    whole = [defaults_for(ModelSize(size, size), "cuda").values["optimizer.lr"] for size in sizes]
    assert whole == sorted(whole, reverse=True)
    assert len(set(whole)) == 3
    adapted = [defaults_for(ModelSize(size, size // 99), "cuda").values["optimizer.lr"] for size in sizes]
    assert adapted == pytest.approx([10 * rate for rate in whole])
