"""What log-probabilities and their gradient cost by the size of the vocabulary, beside the plain operations of torch.

    OMP_NUM_THREADS=1 python benchmarks/logprobs.py

1024 positions, logits in bf16, a process for each row: `token_logprobs` and its backward, against `log_softmax` of the
logits in fp32, and `entropy` without gradient, against what follows from that `log_softmax`. Seconds are of the
processor; the peak is what the process held beyond the logits and their gradient.
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from memory import resident
from torch import Tensor

from iapo.policy.logprobs import entropy, token_logprobs

VOCABULARIES = (49_152, 151_936, 262_144)
"""Of SmolLM2, Qwen2.5 and Gemma 3."""
POSITIONS = 1024
REPEATS = 3
"""Times that each is measured, after one that is not; the least counts."""


def plain_logprobs(logits: Tensor, ids: Tensor) -> Tensor:
    """What `token_logprobs` returns."""
    return logits.float().log_softmax(-1).gather(-1, ids[:, None])[:, 0]


def plain_entropy(logits: Tensor) -> Tensor:
    """What `entropy` returns, where no logit is ``-inf``."""
    logp = logits.float().log_softmax(-1)
    return -(logp.exp() * logp).sum(-1)


def measure(vocabulary: int, plain: bool) -> dict[str, float]:
    """Seconds of both, and MiB of the first, in this process."""
    logits = torch.randn(POSITIONS, vocabulary).bfloat16().requires_grad_()
    ids = torch.randint(vocabulary, (POSITIONS,))
    logits.grad = torch.zeros_like(logits)
    logprobs, spread = (plain_logprobs, plain_entropy) if plain else (token_logprobs, entropy)
    Path("/proc/self/clear_refs").write_text("5")
    held = resident("VmRSS")
    trained = least(lambda: logprobs(logits, ids).sum().backward())
    peak = resident("VmHWM") - held - logits.numel() * 2 / 2**10  # the gradient that is added to the one there
    with torch.no_grad():
        return {"trained": trained, "peak": peak / 2**10, "entropy": least(lambda: spread(logits))}


def least(call: Callable[[], object]) -> float:
    """Seconds of the processor."""
    seconds = []
    for _ in range(1 + REPEATS):
        before = time.process_time()
        call()
        seconds.append(time.process_time() - before)
    return min(seconds[1:])


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", nargs=2, type=int, help="one row, as JSON: vocabulary, plain")
    given = parser.parse_args()
    if given.case:
        print(json.dumps(measure(given.case[0], bool(given.case[1]))))
        return
    print(
        "| vocabulary | log-probabilities and gradient, s | plain, s | peak, MiB | plain, MiB | entropy, s | plain, s |"
    )
    print("|---" * 7 + "|")
    for vocabulary in VOCABULARIES:
        own, plain = (
            json.loads(subprocess.check_output([sys.executable, __file__, "--case", str(vocabulary), str(case)]))
            for case in (0, 1)
        )
        cells = [own["trained"], plain["trained"], own["peak"], plain["peak"], own["entropy"], plain["entropy"]]
        shown = [f"{cell:.0f}" if index in (2, 3) else f"{cell:.2f}" for index, cell in enumerate(cells)]
        print(f"| {vocabulary} | {' | '.join(shown)} |", flush=True)


if __name__ == "__main__":
    main()
