"""A language model that has learned to reason on a task, at too great a length: the base of a study on a real model.

    python benchmarks/warm_start.py --model SmolLM2-135M-Instruct.Q4_1.gguf --out runs/models/smollm2
    python benchmarks/warm_start.py --model SmolLM2-135M-Instruct.Q4_1.gguf --task words --out runs/models/words

The task is `sums`, of two to four numbers of at most `--digits` digits (`benchmarks/chain_sums.py`), or `words`, word
problems of two to four steps and results of at most `--largest` (`benchmarks/word_problems.py`). The demonstrations are
those of `benchmarks/demonstrations.py`. Writes the model's folder; `problems.jsonl` in it, none of them demonstrated,
with the columns `prompt`, `answer` and `difficulty` (steps); and `warm_start.json`: the settings and what the result
was measured to do, also how long its completions are beside the shortest that have every step.

Needs the extras `train` and `tasks`, and `gguf` for a GGUF file. On a CPU `--precision bf16` is faster.
"""

import argparse
import json
import random
from collections import Counter
from pathlib import Path
from typing import Any

import chain_sums
import torch
import word_problems
from datasets import Dataset
from demonstrations import KINDS, Problem, count_tokens, demonstrate, read_lines, shortest, written
from transformers import (
    DataCollatorForSeq2Seq,
    GenerationConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    Trainer,
    TrainingArguments,
    set_seed,
)

from iapo.policy.loading import choose_autocast, choose_device, load_model
from iapo.rewards import MathAnswer
from iapo.rewards.rollouts import score_rollout
from iapo.rollout import CompactingSampler
from iapo.tokenization.decoding import decode_completions

LONGEST = 256
"""Tokens of a measured completion, at most."""
QUANTILES = (0.2, 0.33, 0.5, 0.8, 0.95)


def measure(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, problems: list[Problem], autocast: torch.dtype | None
) -> dict[str, Any]:
    """What the model does, by one sampled completion of each problem: lengths are tokens, lines are per completion."""
    device = next(model.parameters()).device
    with torch.autocast(device.type, torch.bfloat16, enabled=autocast is not None):
        rollout = CompactingSampler(model, tokenizer, LONGEST)([problem.question for problem in problems], 1)
    rows = [{"prompt": problem.question, "answer": problem.answer} for problem in problems]
    right = score_rollout(rollout, rows, tokenizer, {"accuracy": MathAnswer()}).total
    lengths = rollout.completion_mask.sum(1).double()
    needed = torch.tensor([float(count_tokens(shortest(problem), tokenizer)) for problem in problems])
    texts = decode_completions(tokenizer, rollout)
    lines = Counter(line.kind for text in texts for line in read_lines(text))
    return {
        "problems": len(problems),
        "accuracy": float(right.mean()),
        "mean_length": float(lengths.mean()),
        "shortest_length": float(needed.mean()),
        "length_ratio": float(lengths.mean() / needed.mean()),
        "lengths": {str(share): float(lengths.quantile(share)) for share in QUANTILES},
        "cut": float((lengths == LONGEST).double().mean()),
        "lines": {kind: lines[kind] / len(problems) for kind in (*KINDS, "other")},
        "example": texts[0],
    }


def row_of(problem: Problem) -> dict[str, str | int]:
    """A row of `problems.jsonl`."""
    return {"prompt": problem.question, "answer": problem.answer, "difficulty": len(problem.steps)}


def main(given: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="as `iapo train --model` takes it")
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    parser.add_argument("--problems", type=int, default=12000, help="to train a policy on")
    parser.add_argument("--demonstrations", type=int, default=8000)
    parser.add_argument("--task", choices=("sums", "words"), default="sums")
    parser.add_argument("--digits", type=int, default=2, help="of sums: of a number, at most")
    parser.add_argument("--largest", type=int, default=50, help="of words: no number and no result is larger")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--lr", type=float, default=2e-4)
    parser.add_argument("--measured", type=int, default=128, help="problems, one sampled completion each")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--precision", default="auto")
    arguments = parser.parse_args(given)
    set_seed(arguments.seed)
    device = choose_device(arguments.device)
    autocast = choose_autocast(arguments.precision, device)
    model, tokenizer = load_model(arguments.model, device)
    tokenizer.chat_template = None  # the demonstrations are behind bare problems, and so are prompts of the model
    model.generation_config = GenerationConfig(
        do_sample=True, eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id
    )
    rng = random.Random(arguments.seed)
    count = arguments.demonstrations + arguments.problems
    if arguments.task == "sums":
        problems = chain_sums.sample_problems(count, arguments.digits, arguments.seed)
    else:
        problems = word_problems.sample_problems(count, arguments.largest, arguments.seed)
    rng.shuffle(problems)
    shown, kept = problems[: arguments.demonstrations], problems[arguments.demonstrations :]

    def encode(problem: Problem) -> dict[str, list[int]]:
        prompt = tokenizer.encode(problem.question)
        completion = tokenizer.encode(written(demonstrate(problem, rng)), add_special_tokens=False)
        completion = [*completion, tokenizer.eos_token_id]
        ids = prompt + completion
        return {"input_ids": ids, "attention_mask": [1] * len(ids), "labels": [-100] * len(prompt) + completion}

    trainer = Trainer(
        model,
        TrainingArguments(
            output_dir=str(arguments.out),
            per_device_train_batch_size=arguments.batch,
            num_train_epochs=1,
            learning_rate=arguments.lr,
            lr_scheduler_type="cosine",
            warmup_steps=10,
            bf16=autocast is torch.bfloat16,
            use_cpu=device.type == "cpu",
            logging_steps=10,
            save_strategy="no",
            report_to="none",
            seed=arguments.seed,
        ),
        train_dataset=Dataset.from_list([encode(problem) for problem in shown]),
        data_collator=DataCollatorForSeq2Seq(tokenizer),
    )
    loss = trainer.train().training_loss
    model.eval()
    model.save_pretrained(arguments.out)
    tokenizer.save_pretrained(arguments.out)
    lines = [json.dumps(row_of(problem)) for problem in kept]
    (arguments.out / "problems.jsonl").write_text("\n".join(lines) + "\n")

    torch.manual_seed(arguments.seed)
    measured = measure(model, tokenizer, kept[: arguments.measured], autocast)
    settings = {name: str(value) if isinstance(value, Path) else value for name, value in vars(arguments).items()}
    example = measured.pop("example")
    record = json.dumps({"settings": settings, "loss": loss, "measured": measured}, indent=2)
    (arguments.out / "warm_start.json").write_text(record + "\n")
    print(record, example, sep="\n")


if __name__ == "__main__":
    main()
