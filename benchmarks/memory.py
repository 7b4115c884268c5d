"""What a model needs of memory and time, by the length of completions: measured here, and computed for other sizes.

    python benchmarks/memory.py --model SmolLM2-135M-Instruct          # measures, a process for each row
    python benchmarks/memory.py --table                                # computes, for models by their shape

Measured is a step of sampling (seconds of the processor a token of one completion) and the gradient of one micro-batch
with adapters of rank 8: the peak of the process less what it held with the model loaded, and seconds of the processor.
"""

import argparse
import json
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

CASES = ((1, 128), (1, 256), (1, 512), (2, 256))
"""Completions of a micro-batch, and tokens of each."""
PROMPT = 70
_KEPT, _LOGITS = 22, 7
"""Multiples of the width that a layer keeps of a token for the backward, and copies of a token's logits: as measured
with SmolLM2-135M, see `needed`."""
_SECONDS, _MEASURED = 263, 135 * 256
"""Of the processor: an update of 32 completions of 256 tokens with 135M weights, and what that is in proportion to."""


@dataclass(frozen=True)
class Shape:
    """What memory follows from.

    Args:
        name: of the model.
        weights: their number, in millions.
        layers: their number.
        width: of the residual stream.
        vocab: tokens of the vocabulary.
    """

    name: str
    weights: float
    layers: int
    width: int
    vocab: int


SHAPES = (
    Shape("SmolLM2-135M", 135, 30, 576, 49_152),
    Shape("Qwen2.5-0.5B", 494, 24, 896, 151_936),
    Shape("Llama-3.2-1B", 1_236, 16, 2_048, 128_256),
    Shape("Qwen2.5-1.5B", 1_544, 28, 1_536, 151_936),
    Shape("Qwen2.5-7B", 7_616, 28, 3_584, 152_064),
)


def needed(shape: Shape, completions: int, tokens: int, adapters: bool = True, checkpointed: bool = False) -> float:
    """Gigabytes of an update in fp32: weights, what the optimizer keeps, and one micro-batch.

    ``4 N`` bytes of weights; ``12 N`` more of gradients and AdamW's moments if all are trained (of adapters: nothing to
    speak of); for each token that goes through the model ``4 * layers * kept * width`` bytes of what the backward
    needs, with gradient checkpointing ``4 * (layers + kept) * width``; and for each token of a completion
    ``4 * copies * vocab`` bytes of logits.
    """
    weights = shape.weights * 1e6 * (4 if adapters else 16)
    layers = shape.layers + _KEPT if checkpointed else shape.layers * _KEPT
    states = 4 * completions * (PROMPT + tokens) * layers * shape.width
    logits = 4 * completions * tokens * _LOGITS * shape.vocab
    return (weights + states + logits) / 1e9


def measure(model: str, completions: int, tokens: int, checkpointed: bool) -> dict[str, float]:
    """One row, in this process: MiB of the gradient above the loaded model, and seconds of the processor."""
    import torch

    from iapo import CompactingSampler, Rollout
    from iapo.policy import completion_logprobs
    from iapo.policy.loading import load_model
    from iapo.policy.lora import LoRA
    from iapo.training.gradient_checkpointing import checkpointing

    loaded, tokenizer = load_model(model)
    policy = LoRA(r=8).attach(loaded, model)
    ids = torch.randint(100, 1000, (PROMPT,)).tolist()
    sampler = CompactingSampler(policy, tokenizer, max_new_tokens=32, stop=())
    before = time.process_time()
    sampled = sampler([ids], completions)
    a_step = (time.process_time() - before) / max(1, int(sampled.completion_lengths.max()))
    generator = torch.Generator().manual_seed(0)
    drawn = torch.randint(100, 1000, (completions, PROMPT + tokens), generator=generator)
    ones = torch.ones_like(drawn, dtype=torch.bool)
    rollout = Rollout(
        prompt_ids=drawn[:, :PROMPT],
        prompt_mask=ones[:, :PROMPT],
        completion_ids=drawn[:, PROMPT:],
        completion_mask=ones[:, PROMPT:],
        reasoning_mask=ones[:, PROMPT:],
        group_ids=torch.zeros(completions, dtype=torch.long),
    )
    Path("/proc/self/clear_refs").write_text("5")
    held, before = resident("VmRSS"), time.process_time()
    with checkpointing(policy, checkpointed):
        logprobs, _ = completion_logprobs(policy, rollout)
        logprobs.sum().backward()
    seconds = time.process_time() - before
    return {"step": a_step, "gradient": seconds, "peak": (resident("VmHWM") - held) / 2**10, "held": held / 2**10}


def resident(field: str) -> int:
    """KiB, as the kernel counts this process."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(field)).split()[1])


def main() -> None:
    """Print the table that is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", help="a model to measure")
    parser.add_argument("--table", action="store_true", help="compute for models by their shape")
    parser.add_argument("--case", nargs=3, type=int, help="one row, as JSON: completions, tokens, checkpointed")
    given = parser.parse_args()
    if given.case:
        print(json.dumps(measure(given.model, given.case[0], given.case[1], bool(given.case[2]))))
    elif given.model:
        print("| completions at once | tokens | gradient, MiB | the same, checkpointed | gradient, s | s a token |")
        print("|---" * 6 + "|")
        for completions, tokens in CASES:
            rows = []
            for checkpointed in (0, 1):
                case = ["--case", str(completions), str(tokens), str(checkpointed)]
                line = [sys.executable, __file__, "--model", given.model, *case]
                rows.append(json.loads(subprocess.run(line, check=True, capture_output=True, text=True).stdout))
            one, two = rows
            cells = f"{one['peak']:.0f} | {two['peak']:.0f} | {one['gradient']:.1f} | {one['step'] / completions:.3f}"
            print(f"| {completions} | {tokens} | {cells} |", flush=True)
    elif given.table:
        print("| model | weights | tokens | adapters | checkpointed | all weights, checkpointed | minutes of a core |")
        print("|---" * 7 + "|")
        for shape in SHAPES:
            for tokens in (256, 1024):
                sizes = [needed(shape, 1, tokens), needed(shape, 1, tokens, checkpointed=True)]
                sizes += [needed(shape, 1, tokens, adapters=False, checkpointed=True)]
                cells = " | ".join(f"{size:.1f}" for size in sizes)
                minutes = _SECONDS / 60 * shape.weights * tokens / _MEASURED
                print(f"| {shape.name} | {shape.weights / 1e3:.2f}B | {tokens} | {cells} | {minutes:.0f} |")


if __name__ == "__main__":
    main()
