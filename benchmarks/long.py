"""Long completions: what an estimate costs beside one forward over the completion, and what memory it takes.

    OMP_NUM_THREADS=1 python benchmarks/estimators.py --long 2048 8192 16384 --output docs/benchmarks

Random weights of SmolLM2-135M's width with 4 layers, fp32, one completion with a prompt of 128 tokens, lines of 24
tokens. Seconds are CPU seconds of one thread, as other work on the machine doubles and triples the wall's. A process
for each row: first the estimate, its peak memory less what the process held before, then the forward that it is
compared with: `completion_logprobs`, which has the logits of every token, as an update needs them. Of the memory, the
keys and values of all layers are the cache; the last column is what there is beside it.
"""

import itertools
import multiprocessing
import time
from collections.abc import Callable
from pathlib import Path

import torch
from estimators import PROMPT, SMOLLM2, draw
from memory import resident
from torch import nn
from transformers import AutoModelForCausalLM, LlamaConfig

from iapo import MIEstimator, Rollout
from iapo.estimators import AnswerLikelihood, EarlyExitEntropy, EveryTokens, LeaveOut, Refined
from iapo.policy.logprobs import completion_logprobs

LINES = EveryTokens(24)
POSTFIX, ANSWER = (11, 12, 13, 14, 15), (16, 17, 18)
AT_LINES: dict[str, Callable[[], MIEstimator]] = {
    "entropy at line ends": lambda: Refined(EarlyExitEntropy(POSTFIX, guard=False), stride=1, boundaries=LINES),
    "entropy at line ends, refined from every 8th": lambda: Refined(
        EarlyExitEntropy(POSTFIX, guard=False), stride=8, boundaries=LINES
    ),
    "likelihood at line ends": lambda: Refined(AnswerLikelihood(POSTFIX, guard=False), stride=1, boundaries=LINES),
    "left out lines, 8 tokens behind": lambda: LeaveOut(LINES, runs=1, tokens=8, guard=False),
}
COSTLY: dict[str, Callable[[], MIEstimator]] = {
    "entropy at every token": lambda: EarlyExitEntropy(POSTFIX, guard=False),
    "left out lines and pairs, 3 lines behind": lambda: LeaveOut(LINES, guard=False),
}
"""Those that cost several forwards; the last one is left out beyond 8192 tokens."""


def four_layers() -> nn.Module:
    torch.manual_seed(0)
    shape = SMOLLM2 | {"num_hidden_layers": 4, "max_position_embeddings": 2**17}
    return AutoModelForCausalLM.from_config(LlamaConfig(**shape), dtype=torch.float32).eval()


def drawn(model: nn.Module, length: int) -> Rollout:
    answers = torch.tensor([ANSWER])
    rollout = draw(model, 1, length)
    fields = {"answer_ids": answers, "answer_mask": torch.ones_like(answers, dtype=torch.bool)}
    return Rollout(**{**vars(rollout), **fields})


def cache_bytes(model: nn.Module, length: int) -> int:
    config = model.config
    heads = config.num_key_value_heads * config.hidden_size // config.num_attention_heads
    return 2 * 4 * config.num_hidden_layers * heads * (PROMPT + length)


def measure(name: str, length: int) -> tuple[float, float, float, float]:
    """CPU seconds of the estimate and of the forward, MiB that the estimate took, MiB of its cache."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_measure, (name, length))


@torch.no_grad()
def _measure(name: str, length: int) -> tuple[float, float, float, float]:
    model, estimator = four_layers(), (AT_LINES | COSTLY)[name]()
    estimator.probe(model, drawn(model, 64))
    rollout = drawn(model, length)
    # Linux: writing 5 sets the peak back to what is resident now.
    Path("/proc/self/clear_refs").write_text("5")
    before = resident("VmRSS")
    start = time.process_time()
    estimator.probe(model, rollout)
    seconds, peak = time.process_time() - start, (resident("VmHWM") - before) / 2**10
    start = time.process_time()
    completion_logprobs(model, rollout)
    return seconds, time.process_time() - start, peak, cache_bytes(model, length) / 2**20


def write_table(lengths: list[int], head: str, path: Path) -> None:
    """The table at these lengths, written anew after each row."""
    columns = (
        "length",
        "estimate",
        "CPU seconds",
        "of the forward",
        "estimate by forward",
        "MiB",
        "cache",
        "beside it",
    )
    lines = [head, "", f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    for rows in (AT_LINES, COSTLY):
        for length, name in itertools.product(lengths, rows):
            if name == list(COSTLY)[-1] and length > 8192:
                continue
            seconds, forward, peak, cache = measure(name, length)
            cells = (f"{seconds:.1f}", f"{forward:.1f}", f"{seconds / forward:.2f}")
            cells += (f"{peak:.0f}", f"{cache:.0f}", f"{peak - cache:.0f}")
            lines.append(f"| {length} | {name} | {' | '.join(cells)} |")
            path.write_text("\n".join(lines) + "\n")
            print(lines[-1], flush=True)
