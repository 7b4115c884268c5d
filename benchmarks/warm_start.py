"""A language model that has learned to reason on a task, at too great a length: the base of a study on a real model.

    python benchmarks/warm_start.py --model SmolLM2-135M-Instruct.Q4_1.gguf --out runs/models/smollm2

The task is reasoning-gym's `chain_sum`, two to four numbers of at most `--digits` digits. The demonstrations have the
habits of the embedded model's (`iapo.embedded.reasoning`), in words: a line a step, lines that say nothing, repeated
steps, checks, slips. Writes the model's folder; `problems.jsonl` in it, none of them demonstrated, with the columns
`prompt`, `answer` and `difficulty` (operations); and `warm_start.json`: the settings and what the result was measured
to do.

Needs the extras `train` and `tasks`, and `gguf` for a GGUF file. On a CPU `--precision bf16` is faster.
"""

import argparse
import json
import random
from collections.abc import Sequence
from pathlib import Path

import reasoning_gym
import torch
from datasets import Dataset
from transformers import DataCollatorForSeq2Seq, GenerationConfig, Trainer, TrainingArguments, set_seed

from iapo.embedded.reasoning import HABITS
from iapo.policy.loading import choose_autocast, choose_device, load_model
from iapo.rewards import MathAnswer
from iapo.rewards.rollouts import score_rollout
from iapo.rollout import CompactingSampler
from iapo.rollout.text import decode_completions

FILLERS = (
    "Okay, let me think.",
    "So far so good.",
    "Now, what comes next?",
    "Hmm, let me see.",
    "I have to be careful here.",
    "Let me go on.",
)
PLACES = 2
"""How many lines that say nothing there may be wherever there may be some."""


def demonstrate(numbers: Sequence[int], rng: random.Random) -> str:
    """A completion that adds signed numbers from left to right, with the habits of `iapo.embedded.reasoning`."""
    filler, repeat, checked = (rng.uniform(*chances) for chances in (HABITS.filler, HABITS.repeat, HABITS.checked))
    lines = ["<think>"]

    def chatter() -> None:
        lines.extend(rng.choice(FILLERS) for _ in range(PLACES) if rng.random() < filler)

    chatter()
    value = numbers[0]
    for number in numbers[1:]:
        right = value + number
        slipped = rng.random() < HABITS.slip
        result = right + rng.choice((-10, -2, -1, 1, 2, 10)) if slipped else right
        asked = f"{value} {'-' if number < 0 else '+'} {abs(number)} ="
        lines.append(f"{asked} {result}")
        chatter()
        if rng.random() < repeat:
            lines.append(f"Again, {asked} {result}")
        if rng.random() < (HABITS.noticed if slipped else checked):
            lines.append(f"Let me check: {asked} {right}. {'That was wrong.' if slipped else 'Yes.'}")
            result = right
        value = result
    chatter()
    return "\n".join([*lines, f"</think><answer>{value}</answer>"])


def sample_problems(count: int, digits: int, seed: int) -> list[dict[str, str | int | list[int]]]:
    """Distinct problems; ``numbers`` are the signed terms. `ValueError` where there are too few."""
    entries = reasoning_gym.create_dataset(
        "chain_sum", size=2 * count, seed=seed, min_terms=2, max_terms=4, min_digits=1, max_digits=digits
    )
    rows = {}
    for entry in entries:
        expression = entry["metadata"]["expression"]
        numbers = [int(term) for term in expression.replace("- ", "-").replace("+ ", "").split()]
        rows[expression] = {
            "prompt": entry["question"] + "\n",
            "answer": entry["answer"],
            "difficulty": len(numbers) - 1,
            "numbers": numbers,
        }
    if len(rows) < count:
        raise ValueError(f"--problems and --demonstrations ask for {count} distinct sums; there are {len(rows)}")
    return list(rows.values())[:count]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="as `iapo train --model` takes it")
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    parser.add_argument("--problems", type=int, default=12000, help="to train a policy on")
    parser.add_argument("--demonstrations", type=int, default=8000)
    parser.add_argument("--digits", type=int, default=2, help="of a number, at most")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--lr", type=float, default=2e-4)
    parser.add_argument("--measured", type=int, default=128, help="problems, one sampled completion each")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--precision", default="auto")
    arguments = parser.parse_args()
    set_seed(arguments.seed)
    device = choose_device(arguments.device)
    autocast = choose_autocast(arguments.precision, device)
    model, tokenizer = load_model(arguments.model, device)
    model.generation_config = GenerationConfig(
        do_sample=True, eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id
    )
    rng = random.Random(arguments.seed)
    rows = sample_problems(arguments.demonstrations + arguments.problems, arguments.digits, arguments.seed)
    rng.shuffle(rows)
    shown, kept = rows[: arguments.demonstrations], rows[arguments.demonstrations :]

    def encode(row: dict) -> dict[str, list[int]]:
        prompt = tokenizer.encode(row["prompt"])
        completion = tokenizer.encode(demonstrate(row["numbers"], rng), add_special_tokens=False)
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
        train_dataset=Dataset.from_list([encode(row) for row in shown]),
        data_collator=DataCollatorForSeq2Seq(tokenizer),
    )
    loss = trainer.train().training_loss
    model.eval()
    model.save_pretrained(arguments.out)
    tokenizer.save_pretrained(arguments.out)
    lines = [json.dumps({name: row[name] for name in ("prompt", "answer", "difficulty")}) for row in kept]
    (arguments.out / "problems.jsonl").write_text("\n".join(lines) + "\n")

    torch.manual_seed(arguments.seed)
    asked = kept[: arguments.measured]
    with torch.autocast(device.type, torch.bfloat16, enabled=autocast is not None):
        rollout = CompactingSampler(model, tokenizer, 192)([row["prompt"] for row in asked], 1)
    right = score_rollout(rollout, asked, tokenizer, {"accuracy": MathAnswer()}).total
    settings = {name: str(value) if isinstance(value, Path) else value for name, value in vars(arguments).items()}
    measured = {
        "problems": len(asked),
        "accuracy": float(right.mean()),
        "mean_length": float(rollout.completion_mask.sum(1).float().mean()),
    }
    record = json.dumps({"settings": settings, "loss": loss, "measured": measured}, indent=2)
    (arguments.out / "warm_start.json").write_text(record + "\n")
    print(record, decode_completions(tokenizer, rollout)[0], sep="\n")


if __name__ == "__main__":
    main()
