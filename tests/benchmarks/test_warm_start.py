"""A warm start at toy size: its files are what `iapo train` and a study read."""

import json
import shutil

import pytest
import warm_start
import word_problems
from demonstrations import count_tokens, shortest
from transformers import AutoModelForCausalLM, AutoTokenizer


@pytest.mark.parametrize("task", ["sums", "words"])
def test_what_it_writes(text_model, tmp_path, tmp_path_factory, task):
    chat_model = shutil.copytree(text_model, tmp_path_factory.mktemp("chat"), dirs_exist_ok=True)
    tokenizer = AutoTokenizer.from_pretrained(text_model)
    tokenizer.chat_template = "<|user|>{{ messages[-1]['content'] }}"
    tokenizer.save_pretrained(chat_model)
    sizes = ["--problems", "12", "--demonstrations", "8", "--measured", "4", "--batch", "4"]
    warm_start.main(["--model", str(chat_model), "--out", str(tmp_path), "--task", task, *sizes, "--device", "cpu"])

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
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    assert tokenizer.chat_template is None, "prompts are sent as they were demonstrated"
    if task == "words":
        problems = {problem.question: problem for problem in word_problems.sample_problems(20, 50, seed=0)}
        needed = [count_tokens(shortest(problems[row["prompt"]]), tokenizer) for row in rows[:4]]
        assert measured["shortest_length"] == pytest.approx(sum(needed) / 4)
