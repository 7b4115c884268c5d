"""Part 3: completion tokens a second by sampler, and an update with information against one without and TRL's."""

import argparse
import importlib.util
import statistics
import time
import warnings
from collections.abc import Callable
from typing import Any

import torch
from transformers import ContinuousBatchingConfig, GenerationConfig

from benchmarks.gpu.estimate import build
from benchmarks.gpu.results import Results, Row
from iapo.embedded import generate_problems
from iapo.policy.loading import load_model
from iapo.rollout import CompactingSampler, TransformersSampler

Count = Callable[[], int]
CONTINUOUS = "generate_batch, continuous batching"
"""Measured last: what it leaves behind where it fails may go on in a thread."""


def run(results: Results, settings: argparse.Namespace) -> None:
    """The embedded model, whose completions end, then SmolLM2-135M's shape, whose completions all have full length."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model, tokenizer = load_model("embedded", device)
    prompts = [problem.prompt for problem in generate_problems(2 if settings.toy else 64, 0)]
    ids = [tokenizer.encode(prompt, add_special_tokens=False) for prompt in prompts]
    group, tokens = (2, 16) if settings.toy else (8, 128)
    cases = {
        f"embedded, {len(ids)} x {group}, at most {tokens}: {name}": count
        for name, count in methods(model.eval(), tokenizer, ids, group, tokens).items()
    }
    updates(results, settings, device)
    group, tokens, rows = (2, 8, 2) if settings.toy else (8, 512, 16)
    large = build("SmolLM2-135M", device, torch.float32 if settings.toy else torch.bfloat16, settings.toy)
    large.generation_config.eos_token_id = large.config.vocab_size - 1
    large.generation_config.pad_token_id = 0
    vocab = min(large.config.vocab_size, len(tokenizer))
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(3, vocab, (rows, 8 if settings.toy else 128), generator=generator).tolist()
    cases |= {
        f"SmolLM2-135M, {rows} x {group}, {tokens} tokens: {name}": count
        for name, count in methods(large, tokenizer, ids, group, tokens).items()
    }
    for name in sorted(cases, key=lambda name: CONTINUOUS in name):
        results.case(name, lambda c=cases[name]: rate(c))


def methods(model: Any, tokenizer: Any, ids: list[list[int]], group: int, tokens: int) -> dict[str, Count]:
    """Each draws ``group`` completions for each prompt and returns how many tokens they have."""
    ends = model.generation_config.eos_token_id
    ends = [ends] if isinstance(ends, int) else list(ends or [tokenizer.eos_token_id])
    settings = {"max_new_tokens": tokens, "do_sample": True, "temperature": 1.0, "top_k": 0, "top_p": 1.0}
    settings |= {"eos_token_id": ends, "pad_token_id": 0}

    def ours(kind: type) -> Count:
        sampler = kind(model, tokenizer, tokens)
        return lambda: int(sampler(ids, group).completion_lengths.sum())

    @torch.no_grad()
    def generate(**options: Any) -> int:
        width = max(map(len, ids))
        rows = [[0] * (width - len(row)) + row for row in ids for _ in range(group)]
        mask = [[0] * (width - len(row)) + [1] * len(row) for row in ids for _ in range(group)]
        given = {name: torch.tensor(each, device=model.device) for name, each in (("input_ids", rows), ("mask", mask))}
        found = model.generate(given["input_ids"], attention_mask=given["mask"], **settings, **options)[:, width:]
        ended = torch.isin(found, torch.tensor(ends, device=found.device)).cumsum(1)
        return int(((ended == 0) | ((ended == 1) & torch.isin(found, torch.tensor(ends, device=found.device)))).sum())

    @torch.no_grad()
    def continuous() -> int:
        rows = [row for row in ids for _ in range(group)]
        found = model.generate_batch(rows, GenerationConfig(**settings), continuous_batching_config=batching)
        if len(found) != len(ids) * group:
            raise AssertionError(f"{len(found)} of {len(ids) * group} requests came back")
        return sum(len(each.generated_tokens) for each in found.values())

    # By default the cache takes all memory, and on a CPU all of it is written.
    batching = None if torch.cuda.is_available() else ContinuousBatchingConfig(num_blocks=256, max_batch_tokens=512)
    return {
        "CompactingSampler": ours(CompactingSampler),
        "TransformersSampler": ours(TransformersSampler),
        "generate, dynamic cache": lambda: generate(disable_compile=True),
        "generate, static cache, compiled": lambda: generate(cache_implementation="static"),
        CONTINUOUS: continuous,
    }


def rate(count: Count) -> Row:
    """Tokens a second of the second run and the third; the first compiles and captures."""
    speeds = []
    for index in range(3):
        torch.manual_seed(index)
        start = time.perf_counter()
        tokens = count()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        speeds.append(tokens / (time.perf_counter() - start))
    return {"tokens/s": statistics.fmean(speeds[1:]), "first run": speeds[0], "tokens": tokens}


def updates(results: Results, settings: argparse.Namespace, device: torch.device) -> None:
    """Blocks of `benchmarks/step.py`."""
    warnings.simplefilter("ignore")
    from benchmarks.step import our_block, trl_block

    sizes = {"prompts": 2, "group": 2, "tokens": 16} if settings.toy else {"prompts": 32, "group": 8, "tokens": 128}
    arguments = argparse.Namespace(**sizes, micro_batch=4 if settings.toy else 256, updates=3, device=device)
    names = ("NoInformation", "AnswerLikelihood at steps", "AnswerLikelihood", "EarlyExitEntropy")
    blocks: dict[str, Callable[[int], Any]] = {
        f"iapo, {name}": lambda seed, n=name: our_block(arguments, seed, n) for name in names
    }
    if importlib.util.find_spec("trl") and importlib.util.find_spec("datasets"):
        blocks["TRL GRPOTrainer"] = lambda seed: trl_block(arguments, seed)
    for name, block in blocks.items():
        results.case(f"update, {name}", lambda b=block: of_block(b(0)))


def of_block(block: tuple[list[float], list[float], list[float]]) -> Row:
    """Seconds, lengths and the estimate's share of the rest of the update."""
    seconds, lengths, shares = block
    row: Row = {"seconds an update": statistics.median(seconds), "mean length": statistics.fmean(lengths)}
    return row | ({"estimate by the rest": statistics.median(shares)} if shares else {})
