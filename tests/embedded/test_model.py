"""The shipped model, and the recipe that made it."""

import json
from collections import Counter
from dataclasses import asdict

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from iapo.embedded import TokenClass, classify, generate_problems, measure, model_path, parse_answer, sample
from iapo.embedded.recipe import Settings, build
from iapo.embedded.symbols import SYMBOLS


@pytest.fixture(scope="module")
def tokenizer():
    return AutoTokenizer.from_pretrained(model_path())


@pytest.fixture(scope="module")
def model():
    return AutoModelForCausalLM.from_pretrained(model_path()).eval()


def test_folder_is_small_and_has_no_pickle():
    files = [path for path in model_path().rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) <= 2_000_000
    assert {path.suffix for path in files} == {".json", ".safetensors"}


def test_tokenizer_loads_as_it_was_built(tokenizer):
    assert tokenizer.convert_ids_to_tokens(range(len(tokenizer))) == list(SYMBOLS)
    text = "3+8=<think>3 hmm +8=1 check 3+8=1 ok </think><answer>1</answer><eos>"
    assert tokenizer.decode(tokenizer(text)["input_ids"]) == text
    assert tokenizer.padding_side == "left"


def test_special_tokens_agree(model, tokenizer):
    for config in (model.config, model.generation_config):
        assert config.pad_token_id == tokenizer.pad_token_id
        assert config.eos_token_id == tokenizer.eos_token_id
        assert config.bos_token_id == tokenizer.bos_token_id
    assert model.config.vocab_size == len(tokenizer)


def test_left_padding_does_not_change_completions(model, tokenizer):
    problems = generate_problems(8, 0, "test")
    assert sample(model, tokenizer, problems, None) == sample(model, tokenizer, problems, None, batch=1)


def test_base_has_room_to_move(model, tokenizer):
    problems = generate_problems(300, 0, "test")
    completions = sample(model, tokenizer, problems, seed=0)
    state = torch.get_rng_state()
    assert completions == sample(model, tokenizer, problems, seed=0)
    assert torch.equal(state, torch.get_rng_state())
    right = [parse_answer(c) == p.answer for p, c in zip(problems, completions, strict=True)]
    assert 0.75 <= sum(right) / len(right) <= 0.95
    labels = [classify(p.prompt, c) for p, c in zip(problems, completions, strict=True)]
    assert sum(map(len, labels)) > 2 * sum(4 * p.difficulty + 7 for p in problems)
    with_shortcut = [r for r, one in zip(right, labels, strict=True) if TokenClass.SHORTCUT in one]
    without = [r for r, one in zip(right, labels, strict=True) if TokenClass.SHORTCUT not in one]
    assert sum(with_shortcut) / len(with_shortcut) < sum(without) / len(without) - 0.1
    counts = Counter(label for one in labels for label in one)
    assert counts[TokenClass.CATCH] > 0
    assert counts[TokenClass.OTHER] < 0.01 * counts.total()


def test_recipe_builds_the_same_folder_twice(tmp_path, monkeypatch):
    threads = torch.get_num_threads()
    settings = Settings(steps=3, batch=4, warmup=1, width=16, heads=2, hidden=32, layers=1, threads=threads)
    state = torch.get_rng_state()
    for name in ("one", "two"):
        build(tmp_path / name, settings, problems=4)
    assert torch.equal(state, torch.get_rng_state())
    weights = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("one", "two")]
    assert weights[0] == weights[1]
    built = AutoModelForCausalLM.from_pretrained(tmp_path / "one")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "one")
    assert measure(built, tokenizer, generate_problems(4, 0, "validation"), seed=0)["problems"] == 4
    record = json.loads((tmp_path / "one" / "recipe.json").read_text())
    assert record["settings"]["steps"] == 3
    with pytest.raises(ValueError, match=r"^settings\.threads: got"):
        build(tmp_path / "three", Settings(threads=threads + 1))


def test_recipe_record_is_of_the_shipped_weights(model):
    record = json.loads((model_path() / "recipe.json").read_text())
    assert record["parameters"] == model.num_parameters()
    assert record["settings"] == json.loads(json.dumps(asdict(Settings())))
