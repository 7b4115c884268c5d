"""The recipe of the embedded model: `python -m iapo.embedded.recipe --out DIR --seed 0` makes its folder again."""

import argparse
import json
import math
import platform
import random
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import safetensors
import tokenizers
import torch
import torch.nn.functional as F
import transformers
from torch import Tensor
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerBase

from iapo.embedded.measurement import measure
from iapo.embedded.reasoning import HABITS, Habits, demonstrate
from iapo.embedded.symbols import EOS, build_tokenizer
from iapo.embedded.task import generate_problems, sample_problem

MAX_LENGTH = 256
# Batches are cut from this many demonstrations sorted by length, so that little of a batch is padding.
_POOL = 32
_IGNORED = -100


@dataclass(frozen=True)
class Settings:
    """The settings that the recipe's result depends on, beside the versions of the packages.

    Args:
        steps: optimizer steps.
        batch: demonstrations a step.
        learning_rate: its peak, reached after `warmup` steps; a half cosine takes it to zero from there.
        warmup: steps of linear warm-up.
        weight_decay: of AdamW.
        layers: of the model, a Llama with tied embeddings.
        width: of the model.
        heads: attention heads; a divisor of the width.
        hidden: width of the feed-forward layer.
        seed: of the weights, the problems and the demonstrations.
        threads: intra-operation threads of torch; sums are rounded differently with another number.
        habits: of the demonstrations.
    """

    steps: int = 3000
    batch: int = 64
    learning_rate: float = 3e-3
    warmup: int = 100
    weight_decay: float = 0.01
    layers: int = 3
    width: int = 96
    heads: int = 4
    hidden: int = 256
    seed: int = 0
    threads: int = 2
    habits: Habits = HABITS


def build_model(settings: Settings, tokenizer: PreTrainedTokenizerBase) -> LlamaForCausalLM:
    """Make the untrained model, its weights sampled from the settings' seed; torch's random state stays as it is.

    Args:
        settings: sizes and seed.
        tokenizer: gives the vocabulary and the special tokens.

    Returns:
        The model, in float32, on the CPU.
    """
    special = {
        "pad_token_id": tokenizer.pad_token_id,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
    }
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=settings.width,
        intermediate_size=settings.hidden,
        num_hidden_layers=settings.layers,
        num_attention_heads=settings.heads,
        num_key_value_heads=settings.heads,
        max_position_embeddings=MAX_LENGTH,
        tie_word_embeddings=True,
        dtype="float32",
        **special,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        model = LlamaForCausalLM(config)
    model.generation_config = GenerationConfig(do_sample=True, temperature=1.0, top_k=0, top_p=1.0, **special)
    return model


def batches(settings: Settings, tokenizer: PreTrainedTokenizerBase) -> Iterator[tuple[Tensor, Tensor]]:
    """Write demonstrations of training problems without end, in batches of similar length.

    Args:
        settings: seed and batch size.
        tokenizer: of the model.

    Yields:
        Token ids `[batch token]`, padded on the right, and targets of the same shape: the ids of the completion and its
        end-of-sequence token, -100 over prompt and padding.
    """
    rng = random.Random(settings.seed)
    padding = tokenizer.pad_token_id
    while True:
        problems = [sample_problem(rng, "train") for _ in range(_POOL * settings.batch)]
        prompts = tokenizer([p.prompt for p in problems], add_special_tokens=False)["input_ids"]
        completions = tokenizer(
            [demonstrate(p, rng, settings.habits) + EOS for p in problems], add_special_tokens=False
        )["input_ids"]
        pairs = sorted(zip(prompts, completions, strict=True), key=lambda pair: len(pair[0]) + len(pair[1]))
        pool = [pairs[i : i + settings.batch] for i in range(0, len(pairs), settings.batch)]
        rng.shuffle(pool)
        for pairs in pool:
            length = max(len(prompt) + len(completion) for prompt, completion in pairs)
            ids = torch.full((len(pairs), length), padding)
            targets = torch.full((len(pairs), length), _IGNORED)
            for i, (prompt, completion) in enumerate(pairs):
                start, end = len(prompt), len(prompt) + len(completion)
                ids[i, :end] = torch.tensor(prompt + completion)
                targets[i, start:end] = torch.tensor(completion)
            yield ids, targets


def train(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerBase, settings: Settings) -> float:
    """Train the model on demonstrations by maximum likelihood.

    loss = mean over completion tokens of -log p(token | before), nats.

    Args:
        model: changed in place.
        tokenizer: of the model.
        settings: of the optimizer.

    Returns:
        The loss, as the mean over the last hundredth of the steps (at least one).
    """
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=settings.learning_rate, betas=(0.9, 0.98), weight_decay=settings.weight_decay
    )

    def factor(step: int) -> float:
        if step < settings.warmup:
            return (step + 1) / settings.warmup
        return 0.5 * (1 + math.cos(math.pi * (step - settings.warmup) / max(1, settings.steps - settings.warmup)))

    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
    model.train()
    losses = []
    for _, (ids, targets) in zip(range(settings.steps), batches(settings, tokenizer), strict=False):
        # Padding is on the right, where no earlier token attends to it: no attention mask is needed.
        logits = model(input_ids=ids, use_cache=False).logits[:, :-1]
        loss = F.cross_entropy(logits.flatten(0, 1), targets[:, 1:].flatten(), ignore_index=_IGNORED)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        losses.append(loss.detach())
    model.eval()
    return torch.stack(losses[-max(1, settings.steps // 100) :]).mean().item()


def build(out: Path, settings: Settings, problems: int = 500) -> None:
    """Make the model's folder: configuration, weights, tokenizer, and `recipe.json`, which says how they were made.

    The weights are the same bytes for the same settings, versions and machine.

    Args:
        out: the folder; made if missing, its files replaced.
        settings: of model and training.
        problems: how many validation problems to measure the result on, one sampled completion each.

    Raises:
        ValueError: if torch does not run with `settings.threads` threads.
    """
    if torch.get_num_threads() != settings.threads:
        raise ValueError(f"settings.threads: got {settings.threads}, but torch runs with {torch.get_num_threads()}")
    tokenizer = build_tokenizer(MAX_LENGTH)
    model = build_model(settings, tokenizer)
    loss = train(model, tokenizer, settings)
    model.save_pretrained(out)
    tokenizer.save_pretrained(out)
    record = {
        "settings": asdict(settings),
        "versions": {
            "python": platform.python_version(),
            **{module.__name__: module.__version__ for module in (torch, transformers, tokenizers, safetensors)},
        },
        "parameters": model.num_parameters(),
        "loss": loss,
        "measured": measure(
            model, tokenizer, generate_problems(problems, settings.seed, "validation"), seed=settings.seed
        ),
    }
    (out / "recipe.json").write_text(json.dumps(record, indent=2) + "\n")


def main() -> None:
    """Read the command line and build the folder it names."""
    parser = argparse.ArgumentParser(
        prog="python -m iapo.embedded.recipe", description="Make the embedded model's folder."
    )
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    parser.add_argument("--seed", type=int, default=Settings.seed)
    parser.add_argument("--steps", type=int, default=Settings.steps)
    parser.add_argument("--threads", type=int, default=Settings.threads, help="another number rounds differently")
    parser.add_argument(
        "--shortcut", type=float, nargs=2, default=HABITS.shortcut, help="lowest and highest chance of a shortcut"
    )
    parser.add_argument(
        "--shortcut_slip", type=float, default=HABITS.shortcut_slip, help="chance that a shortcut goes wrong"
    )
    arguments = parser.parse_args()
    habits = replace(HABITS, shortcut=tuple(arguments.shortcut), shortcut_slip=arguments.shortcut_slip)
    torch.set_num_threads(arguments.threads)
    build(
        arguments.out,
        Settings(steps=arguments.steps, seed=arguments.seed, threads=arguments.threads, habits=habits),
    )


if __name__ == "__main__":
    main()
