"""Completion tokens per second: CompactingSampler, TransformersSampler and plain `generate`, paired in one run.

The embedded model (or `--model`), temperature 1. Each block draws its own problems and runs every method on them once,
in an order that turns from block to block; ratios are taken within a block. Tokens are those of completions, the end of
sequence included; methods draw different ones of the same distribution.

- `generate`: transformers' loop with `num_return_sequences`, no log-probabilities, no rollout.
- `CompactingSampler, nothing dropped`: all rows stay until the last has ended, as in `generate`.

Run: python benchmarks/sampling.py
"""

import argparse
import statistics
import time
from collections.abc import Callable
from unittest.mock import patch

import torch
from torch import Tensor

from iapo import Sampler
from iapo.embedded import generate_problems
from iapo.policy.loading import choose_device, load_model
from iapo.rollout import CompactingSampler, TransformersSampler, compacting

BASE = "TransformersSampler"


@torch.no_grad()
def plain(arguments: argparse.Namespace, model, tokenizer, prompts: list[str]) -> Tensor:
    """Lengths of completions of the loop of transformers."""
    inputs = tokenizer(prompts, add_special_tokens=False, padding=True, return_tensors="pt").to(model.device)
    ids = model.generate(
        **inputs,
        max_new_tokens=arguments.tokens,
        num_return_sequences=arguments.group,
        do_sample=True,
        temperature=1.0,
        top_k=0,
        top_p=1.0,
        disable_compile=True,
    )[:, inputs["input_ids"].shape[1] :]
    ended = (ids == tokenizer.eos_token_id).cumsum(1)
    return ((ended == 0) | ((ended == 1) & (ids == tokenizer.eos_token_id))).sum(1)


def drawn(arguments: argparse.Namespace, sampler: Sampler, prompts: list[str]) -> Tensor:
    """Lengths of completions of a sampler."""
    return sampler(prompts, arguments.group).completion_lengths


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="embedded")
    parser.add_argument("--blocks", type=int, default=7)
    parser.add_argument("--prompts", type=int, default=32)
    parser.add_argument("--group", type=int, default=8)
    parser.add_argument("--tokens", type=int, default=128)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    model, tokenizer = load_model(arguments.model, choose_device())
    model.eval()
    ours, theirs = (kind(model, tokenizer, arguments.tokens) for kind in (CompactingSampler, TransformersSampler))

    def undropped(prompts: list[str]) -> Tensor:
        with patch.object(compacting, "_DROP", 2.0):
            return drawn(arguments, ours, prompts)

    methods: dict[str, Callable[[list[str]], Tensor]] = {
        "generate": lambda prompts: plain(arguments, model, tokenizer, prompts),
        BASE: lambda prompts: drawn(arguments, theirs, prompts),
        "CompactingSampler": lambda prompts: drawn(arguments, ours, prompts),
        "CompactingSampler, nothing dropped": undropped,
    }
    speeds: dict[str, list[float]] = {name: [] for name in methods}
    lengths: dict[str, list[Tensor]] = {name: [] for name in methods}
    for block in range(-1, arguments.blocks):  # the first only warms up
        torch.manual_seed(block + 1)
        prompts = [problem.prompt for problem in generate_problems(arguments.prompts, block + 1)]
        turn = (block + 1) % len(methods)
        for name in [*methods][turn:] + [*methods][:turn]:
            start = time.perf_counter()
            found = methods[name](prompts).cpu()
            seconds = time.perf_counter() - start
            if block >= 0:
                speeds[name].append(float(found.sum()) / seconds)
                lengths[name].append(found)
    device = torch.cuda.get_device_name() if model.device.type == "cuda" else f"CPU, {arguments.threads} threads"
    print(f"{device}; {vars(arguments)}\n")
    print("| | tokens/s, median | mean length | longest, mean | to TransformersSampler, by block | to generate |")
    print("|---|---|---|---|---|---|")
    for name in methods:
        ratios = [
            f"{statistics.median(each):.2f} ({', '.join(f'{ratio:.2f}' for ratio in each)})"
            for each in (
                [a / b for a, b in zip(speeds[name], speeds[base], strict=True)] for base in (BASE, "generate")
            )
        ]
        longest = statistics.fmean(float(found.max()) for found in lengths[name])
        mean = float(torch.cat(lengths[name]).float().mean())
        print(f"| {name} | {statistics.median(speeds[name]):.0f} | {mean:.1f} | {longest:.0f} | {' | '.join(ratios)} |")


if __name__ == "__main__":
    main()
