"""A warm start at toy size: its files are what `iapo train` and a study read."""

import json

import pytest
import torch
import warm_start
import word_problems
from demonstrations import count_tokens, shortest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerFast


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A tiny model, and a tokenizer of bytes."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet, special = pre_tokenizers.ByteLevel.alphabet(), ["<eos>", "<pad>"]
    trainer = trainers.BpeTrainer(vocab_size=300, special_tokens=special, initial_alphabet=alphabet)
    tokenizer.train_from_iterator(["Let me check: 12 + 3 = 15. Yes.\n"], trainer)
    wrapped = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<eos>", pad_token="<pad>")
    shape = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    ids = {"eos_token_id": wrapped.eos_token_id, "pad_token_id": wrapped.pad_token_id}
    config = AutoConfig.for_model("llama", vocab_size=len(wrapped), max_position_embeddings=1024, **shape, **ids)
    path = tmp_path_factory.mktemp("model")
    AutoModelForCausalLM.from_config(config, dtype=torch.float32).save_pretrained(path)
    wrapped.save_pretrained(path)
    return path


@pytest.mark.parametrize("task", ["sums", "words"])
def test_what_it_writes(folder, tmp_path, task):
    sizes = ["--problems", "12", "--demonstrations", "8", "--measured", "4", "--batch", "4"]
    warm_start.main(["--model", str(folder), "--out", str(tmp_path), "--task", task, *sizes, "--device", "cpu"])

    rows = [json.loads(line) for line in (tmp_path / "problems.jsonl").read_text().splitlines()]
    assert len({row["prompt"] for row in rows}) == 12
    assert all(set(row) == {"prompt", "answer", "difficulty"} for row in rows)
    record = json.loads((tmp_path / "warm_start.json").read_text())
    assert record["settings"]["task"] == task
    measured = record["measured"]
    assert measured["problems"] == 4
    assert measured["length_ratio"] == pytest.approx(measured["mean_length"] / measured["shortest_length"])
    assert len(measured["lengths"]) == len(warm_start.QUANTILES)
    AutoModelForCausalLM.from_pretrained(tmp_path)
    if task == "words":
        tokenizer = AutoTokenizer.from_pretrained(tmp_path)
        problems = {problem.question: problem for problem in word_problems.sample_problems(20, seed=0)}
        needed = [count_tokens(shortest(problems[row["prompt"]]), tokenizer) for row in rows[:4]]
        assert measured["shortest_length"] == pytest.approx(sum(needed) / 4)
