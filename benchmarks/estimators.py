"""Cost of the information estimate: the packed forward against a cache per position, and against a dense forward.

    OMP_NUM_THREADS=2 python benchmarks/estimators.py --output docs/benchmarks

A random model of SmolLM2-135M's shape (or `--model`), fp32 on a CPU, bf16 on CUDA; one completion (`--rows`) with a
prompt of 128 tokens, the entropy after a postfix of 5 tokens at each of its prefixes. Schemes take turns within a
block, and ratios are taken within a block. Peak memory is that of a process of its own, less what it held with the
model loaded.

- `packed`: this library.
- `replicated`: what is usually done: for every 16 positions, 16 copies of each row's key-value cache, cut to the
  longest of them, and one forward over 16 postfixes a row (with explicit positions, so that the numbers are right).
- `dense`: one causal forward over as many tokens as the probes add, no probes: the hardware's limit.
- `..., our matmul`: the same, given the library's matrix multiplication (`iapo.estimators.packed.matmul`),
  which the packed forward has; where those are PyTorch's own, as on a GPU, it is the same scheme once more.

`--least` prints only how long the products of matrices take that probing every prefix cannot do without (the layers'
weights and attention for the cache and for every postfix token, the head for every probe), at the highest rate that
one large product reaches here, and what rate it reaches by PyTorch's own choice of library.

Prints Markdown; writes `estimators.md` and `estimators.png` (cost against length with the fitted exponent).
"""

import argparse
import math
import multiprocessing
import platform
import statistics
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import torch
import transformers
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, DynamicCache, LlamaConfig

from iapo import Rollout
from iapo.estimators import EarlyExitEntropy
from iapo.estimators.packed.matmul import fast_matmul
from iapo.policy.forward import cache_argument
from iapo.policy.logprobs import entropy

PROMPT, POSTFIX, COPIES = 128, (11, 12, 13, 14, 15), 16
SMOLLM2 = {
    "vocab_size": 49152,
    "hidden_size": 576,
    "intermediate_size": 1536,
    "num_hidden_layers": 30,
    "num_attention_heads": 9,
    "num_key_value_heads": 3,
    "max_position_embeddings": 8192,
    "tie_word_embeddings": True,
}


def load(path: str | None, device: str) -> nn.Module:
    dtype = torch.bfloat16 if device == "cuda" else torch.float32
    torch.manual_seed(0)
    if path is None:
        model = AutoModelForCausalLM.from_config(LlamaConfig(**SMOLLM2), dtype=dtype)
    elif path.endswith(".gguf"):
        model = AutoModelForCausalLM.from_pretrained(Path(path).parent, gguf_file=Path(path).name, dtype=dtype)
    else:
        model = AutoModelForCausalLM.from_pretrained(path, dtype=dtype)
    return model.eval().to(device)


def draw(model: nn.Module, rows: int, length: int) -> Rollout:
    device = next(model.parameters()).device
    generator = torch.Generator().manual_seed(length)
    vocab = model.config.vocab_size
    everywhere = torch.ones(rows, length, dtype=torch.bool)
    return Rollout(
        prompt_ids=torch.randint(0, vocab, (rows, PROMPT), generator=generator),
        prompt_mask=torch.ones(rows, PROMPT, dtype=torch.bool),
        completion_ids=torch.randint(0, vocab, (rows, length), generator=generator),
        completion_mask=everywhere,
        reasoning_mask=everywhere,
        group_ids=torch.zeros(rows, dtype=torch.long),
    ).to(device)


def packed(model: nn.Module, rollout: Rollout) -> Tensor:
    return EarlyExitEntropy(POSTFIX, guard=False).probe(model, rollout)


@torch.no_grad()
def replicated(model: nn.Module, rollout: Rollout, last: int | None = None) -> Tensor:
    """A copy of the cache for each of the (``last``) positions, `COPIES` at a time."""
    ids = torch.cat([rollout.prompt_ids, rollout.completion_ids], 1)
    cache = DynamicCache()
    model(input_ids=ids, use_cache=True, logits_to_keep=1, **{cache_argument(model): cache})
    postfix = torch.tensor(POSTFIX, device=ids.device)
    found = []
    positions = torch.arange(PROMPT, ids.shape[1] + 1, device=ids.device)
    for ends in (positions if last is None else positions[-last:]).split(COPIES):
        longest, rows = int(ends[-1]), len(ids) * len(ends)
        copies = DynamicCache()
        for index, layer in enumerate(cache.layers):
            kept = (s[:, :, :longest].repeat_interleave(len(ends), 0) for s in (layer.keys, layer.values))
            copies.update(*kept, index)
        each = ends.repeat(len(ids))[:, None]
        seen = torch.arange(longest, device=ids.device) < each
        mask = torch.cat([seen, torch.ones(rows, len(postfix), dtype=torch.bool, device=ids.device)], 1)
        logits = model(
            input_ids=postfix.expand(rows, -1),
            attention_mask=mask.long(),
            position_ids=each + torch.arange(len(postfix), device=ids.device),
            use_cache=True,
            logits_to_keep=1,
            **{cache_argument(model): copies},
        ).logits
        found.append(entropy(logits[:, -1]).reshape(len(ids), -1))
    return torch.cat(found, 1)


@torch.no_grad()
def dense(model: nn.Module, rollout: Rollout) -> Tensor:
    count = (rollout.completion_ids.shape[1] + 1) * len(POSTFIX)
    ids = torch.zeros(len(rollout), count, dtype=torch.long, device=rollout.prompt_ids.device)
    return model(input_ids=ids, use_cache=False, logits_to_keep=1).logits


@torch.no_grad()
def naive(model: nn.Module, rollout: Rollout, at: list[int]) -> Tensor:
    postfix = torch.tensor(POSTFIX, device=rollout.prompt_ids.device).expand(len(rollout), -1)
    parts = [torch.cat([rollout.prompt_ids, rollout.completion_ids[:, :t], postfix], 1) for t in at]
    return torch.stack([entropy(model(input_ids=ids, use_cache=False).logits[:, -1]) for ids in parts], 1)


def fullest(model: nn.Module, rollout: Rollout) -> Tensor:
    """What `replicated` needs the most memory for: its last copies."""
    return replicated(model, rollout, COPIES)


Scheme = Callable[[nn.Module, Rollout], Tensor]


def with_our_matmul(scheme: Scheme) -> Scheme:
    def run(model: nn.Module, rollout: Rollout) -> Tensor:
        with fast_matmul(model):
            return scheme(model, rollout)

    return run


SCHEMES: dict[str, Scheme] = {
    "packed": packed,
    "replicated": replicated,
    "replicated, our matmul": with_our_matmul(replicated),
    "dense": dense,
    "dense, our matmul": with_our_matmul(dense),
}
FULLEST: dict[str, Scheme] = {
    "replicated": fullest,
    "replicated, our matmul": with_our_matmul(fullest),
}
"""What shows the memory that a scheme needs sooner than the whole of it does."""


def seconds(scheme: str, model: nn.Module, rollout: Rollout) -> float:
    on_gpu = rollout.prompt_ids.is_cuda
    if on_gpu:
        torch.cuda.synchronize()
    start = time.perf_counter()
    SCHEMES[scheme](model, rollout)
    if on_gpu:
        torch.cuda.synchronize()
    return time.perf_counter() - start


def peak_memory(scheme: str, path: str | None, device: str, rows: int, length: int) -> float:
    """MiB that a scheme needs beyond the loaded model, in a process of its own."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_peak, (scheme, path, device, rows, length))


def _peak(scheme: str, path: str | None, device: str, rows: int, length: int) -> float:
    from memory import resident

    model = load(path, device)
    rollout = draw(model, rows, length)
    run = FULLEST.get(scheme, SCHEMES[scheme])
    if device == "cuda":
        dense(model, draw(model, rows, 1))
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        run(model, rollout)
        return (torch.cuda.max_memory_allocated() - before) / 2**20
    dense(model, draw(model, rows, 1))
    # Linux: writing 5 sets the peak back to what is resident now.
    Path("/proc/self/clear_refs").write_text("5")
    before = resident("VmRSS")
    run(model, rollout)
    return (resident("VmHWM") - before) / 2**10


def side_by_side(model: nn.Module, rows: int, length: int, blocks: int, path: str | None, device: str) -> list[str]:
    """Rows of the table at one length."""
    rollout = draw(model, rows, length)
    times: dict[str, list[float]] = {scheme: [] for scheme in SCHEMES}
    for _ in range(blocks):
        for scheme, values in times.items():
            values.append(seconds(scheme, model, rollout))
    probes = packed(model, rollout)
    at = [0, length // 3, length]
    reference = naive(model, rollout, at)
    memory = {scheme: peak_memory(scheme, path, device, rows, length) for scheme in SCHEMES}
    table = []
    for scheme, values in times.items():
        ratios = ", ".join(f"{v / p:.2f}" for v, p in zip(values, times["packed"], strict=True))
        table.append(
            f"| {length} | {scheme} | {statistics.median(values):.2f} | {ratios} | {memory[scheme]:.0f} "
            f"| {memory[scheme] / memory['packed']:.1f} |"
        )
    table.append(f"| {length} | packed against naive | | {(probes[:, at] - reference).abs().max():.1e} nats | | |")
    return table


def rate(model: nn.Module, products: Callable[[nn.Module], AbstractContextManager]) -> float:
    """Operations a second of one large product of matrices, the fastest of several."""
    device, dtype = next(model.parameters()).device, next(model.parameters()).dtype
    config = model.config
    left = torch.ones(4096, config.hidden_size, device=device, dtype=dtype)
    right = torch.ones(config.intermediate_size, config.hidden_size, device=device, dtype=dtype)
    times = []
    for _ in range(30):
        if device.type == "cuda":
            torch.cuda.synchronize()
        start = time.perf_counter()
        with torch.no_grad(), products(model):
            for _ in range(4):
                nn.functional.linear(left, right)
        if device.type == "cuda":
            torch.cuda.synchronize()
        times.append((time.perf_counter() - start) / 4)
    return 2 * left.shape[0] * right.numel() / min(times)


def least(model: nn.Module, rows: int, length: int) -> float:
    """Operations of the products of matrices behind one estimate: a multiplication and an addition are two."""
    config = model.config
    weights = sum(module.weight.numel() for module in model.modules() if isinstance(module, nn.Linear))
    weights -= config.vocab_size * config.hidden_size
    cached, probes = PROMPT + length, length + 1
    filling = 2 * weights * cached + 4 * config.num_hidden_layers * config.hidden_size * cached * cached // 2
    shown = sum(PROMPT + t for t in range(probes)) * len(POSTFIX)
    asking = 2 * weights * probes * len(POSTFIX) + 4 * config.num_hidden_layers * config.hidden_size * shown
    return rows * (filling + asking + 2 * probes * config.vocab_size * config.hidden_size)


def against_length(
    model: nn.Module, rows: int, lengths: list[int], path: Path
) -> tuple[list[tuple[int, float]], float]:
    """Seconds of the packed scheme by length, and the exponent fitted to the longer half of the lengths."""
    points = [(length, seconds("packed", model, draw(model, rows, length))) for length in lengths]
    upper = points[-max(2, (len(points) + 1) // 2) :]
    exponent = statistics.linear_regression(*zip(*((math.log(x), math.log(y)) for x, y in upper), strict=True)).slope
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator

    figure = Figure(figsize=(4.6, 3.4), layout="constrained")
    axis = figure.subplots()
    axis.loglog(*zip(*points, strict=True), "o-", color="#3b6ea8", label="packed, measured")
    reach = [points[0][0], points[-1][0]]
    axis.loglog(
        reach,
        [points[-1][1] * (x / points[-1][0]) ** exponent for x in reach],
        "--",
        color="#8a8a8a",
        label=f"length to the {exponent:.2f}",
    )
    axis.set_xlabel("completion length, tokens")
    axis.set_ylabel("seconds")
    axis.set_xticks(lengths, [str(length) for length in lengths])
    axis.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.yaxis.set_major_formatter("{x:g}")
    axis.minorticks_off()
    axis.legend(frameon=False)
    figure.savefig(path, dpi=120)
    return points, exponent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", help="directory or .gguf file; left out: random weights of SmolLM2-135M's shape")
    parser.add_argument("--rows", type=int, default=1, help="completions")
    parser.add_argument("--lengths", type=int, nargs="*", default=[1024, 2048])
    parser.add_argument("--curve", type=int, nargs="*", default=[256, 512, 1024, 2048, 4096], help="none: no plot")
    parser.add_argument("--blocks", type=int, default=2)
    parser.add_argument("--least", action="store_true", help="only print what the products of matrices take")
    parser.add_argument("--long", type=int, nargs="*", help="only the rows of `benchmarks/long.py`, at these lengths")
    parser.add_argument("--output", type=Path, default=Path("docs/benchmarks"))
    settings = parser.parse_args()
    settings.output.mkdir(parents=True, exist_ok=True)
    if settings.long:
        from long import write_table

        place = f"{platform.processor() or 'CPU'}, {torch.get_num_threads()} threads, torch {torch.__version__}"
        write_table(settings.long, f"{place}, transformers {transformers.__version__}", settings.output / "long.md")
        return
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = load(settings.model, device)
    if settings.least:
        speed, plain = rate(model, fast_matmul), rate(model, lambda _: nullcontext())
        for length in settings.lengths:
            operations = least(model, settings.rows, length)
            print(f"{length}: {operations:.3g} operations, {operations / speed:.1f} s at {speed:.3g} a second")
        print(f"by PyTorch's own products: {plain:.3g} a second")
        return
    seconds("packed", model, draw(model, settings.rows, 64))
    place = torch.cuda.get_device_name() if device == "cuda" else f"{platform.processor() or 'CPU'}, fp32"
    lines = [
        f"{place}, {torch.get_num_threads()} threads, torch {torch.__version__}, "
        f"transformers {transformers.__version__}; completions: {settings.rows}",
        "",
        "| length | scheme | seconds, median | time by packed, by block | peak MiB beyond model | memory by packed |",
        "|---|---|---|---|---|---|",
    ]
    for length in settings.lengths:
        lines += side_by_side(model, settings.rows, length, settings.blocks, settings.model, device)
        (settings.output / "estimators.md").write_text("\n".join(lines) + "\n")
    if settings.curve:
        points, exponent = against_length(model, settings.rows, settings.curve, settings.output / "estimators.png")
        curve = ", ".join(f"{length}: {value:.1f} s" for length, value in points)
        lines += ["", f"Packed, by length: {curve}; exponent fitted to the longer half: {exponent:.2f}."]
    table = "\n".join(lines)
    (settings.output / "estimators.md").write_text(table + "\n")
    print(table)


if __name__ == "__main__":
    main()
