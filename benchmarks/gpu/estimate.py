"""Part 2: what the estimate costs, by model, length and scheme: random weights, bf16, one completion."""

import argparse
import math
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile
from transformers import AutoConfig, AutoModelForCausalLM

from benchmarks.estimators import POSTFIX, SMOLLM2, dense, draw, least, packed, replicated
from benchmarks.gpu.results import Results, Row
from iapo import Rollout
from iapo.estimators import EarlyExitEntropy, EveryTokens, LeaveOut, Refined
from iapo.policy.logprobs import completion_logprobs

LINES = EveryTokens(24)
QWEN = {"max_position_embeddings": 2**17, "num_key_value_heads": 4}
SHAPES: dict[str, tuple[str, dict[str, Any]]] = {
    "SmolLM2-135M": ("llama", SMOLLM2 | {"max_position_embeddings": 2**17}),
    "Qwen2.5-1.5B": (
        "qwen2",
        QWEN
        | {"vocab_size": 151936, "hidden_size": 1536, "intermediate_size": 8960, "num_hidden_layers": 28}
        | {"num_attention_heads": 12, "num_key_value_heads": 2, "tie_word_embeddings": True},
    ),
    "Qwen2.5-7B": (
        "qwen2",
        QWEN
        | {"vocab_size": 152064, "hidden_size": 3584, "intermediate_size": 18944, "num_hidden_layers": 28}
        | {"num_attention_heads": 28, "tie_word_embeddings": False},
    ),
}
TINY = {"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "vocab_size": 512}
TINY |= {"num_attention_heads": 4, "num_key_value_heads": 2}
LENGTHS = (2048, 8192, 512, 4096, 16384)
"""In order of worth."""


@dataclass(frozen=True)
class Scheme:
    """What is timed, under which attention, and up to which length and for which models."""

    run: Callable[[nn.Module, Rollout], Any]
    attention: str = "sdpa"
    longest: int = 16384
    models: tuple[str, ...] = tuple(SHAPES)


def logits_of_all(model: nn.Module, rollout: Rollout) -> Tensor:
    with torch.no_grad():
        return completion_logprobs(model, rollout)[0]


SCHEMES = {
    "packed, sdpa": Scheme(packed),
    "dense forward of as many tokens": Scheme(dense, longest=8192),
    "packed, FlexAttention": Scheme(packed, "flex_attention"),
    "forward over the completion": Scheme(logits_of_all),
    "entropy at line ends": Scheme(
        lambda m, r: Refined(EarlyExitEntropy(POSTFIX, guard=False), stride=1, boundaries=LINES).probe(m, r)
    ),
    "left out lines, 8 tokens behind": Scheme(lambda m, r: LeaveOut(LINES, runs=1, tokens=8, guard=False).probe(m, r)),
    "left out lines and pairs, 3 lines behind": Scheme(lambda m, r: LeaveOut(LINES, guard=False).probe(m, r)),
    "replicated caches": Scheme(replicated, longest=2048, models=("SmolLM2-135M", "Qwen2.5-1.5B")),
}


def run(results: Results, settings: argparse.Namespace) -> None:
    """All cases: models and lengths in turn, the schemes of one side by side."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    dtype = torch.float32 if settings.toy else torch.bfloat16
    limit = results.case("products of matrices", lambda: {"TFLOP/s": product_rate(device, dtype, settings.toy) / 1e12})
    shapes = list(SHAPES)[:1] if settings.toy else list(SHAPES)
    lengths = (32, 64) if settings.toy else LENGTHS
    loaded: dict[str, nn.Module] = {}

    def model_of(name: str) -> nn.Module:
        if name not in loaded:
            loaded.clear()
            if device.type == "cuda":
                torch.cuda.empty_cache()
            loaded[name] = build(name, device, dtype, settings.toy)
        return loaded[name]

    for name in shapes:
        for length in lengths:
            for title, scheme in SCHEMES.items():
                if length > scheme.longest or name not in scheme.models:
                    continue
                case = f"{name}, {length}, {title}"
                results.case(case, lambda n=name, t=length, s=scheme: measure(model_of(n), t, s, limit))
        exponent(results, name, lengths)
    slowest(results, model_of, shapes)


def build(name: str, device: torch.device, dtype: torch.dtype, toy: bool) -> nn.Module:
    """Random weights, made where they are used."""
    kind, shape = SHAPES[name]
    config = AutoConfig.for_model(kind, **(shape | TINY if toy else shape))
    torch.manual_seed(0)
    with torch.device(device):
        return AutoModelForCausalLM.from_config(config, dtype=dtype).eval()


def measure(model: nn.Module, length: int, scheme: Scheme, limit: Row | None) -> Row:
    """Seconds of a second run (the first compiles), memory beyond the model, and the share of the limit."""
    rollout = draw(model, 1, length)
    model.set_attn_implementation(scheme.attention)
    first = timed(scheme.run, model, rollout)
    cuda = rollout.prompt_ids.is_cuda
    before = 0
    if cuda:
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
    runs = [timed(scheme.run, model, rollout) for _ in range(3 if first < 10 else 1)]
    row: Row = {"seconds": statistics.median(runs), "first run, s": first}
    if cuda:
        row["peak MiB beyond model"] = (torch.cuda.max_memory_allocated() - before) / 2**20
    row["tokens of the completion/s"] = length / row["seconds"]
    if scheme.run is packed and limit is not None:
        row["share of the limit"] = least(model, 1, length) / row["seconds"] / (limit["TFLOP/s"] * 1e12)
    model.set_attn_implementation("sdpa")
    return row


def timed(function: Callable[[nn.Module, Rollout], Any], model: nn.Module, rollout: Rollout) -> float:
    """Seconds, the device's work included."""
    if rollout.prompt_ids.is_cuda:
        torch.cuda.synchronize()
    start = time.perf_counter()
    function(model, rollout)
    if rollout.prompt_ids.is_cuda:
        torch.cuda.synchronize()
    return time.perf_counter() - start


def product_rate(device: torch.device, dtype: torch.dtype, toy: bool) -> float:
    """Operations a second of one large product of matrices, the fastest of several."""
    size = 256 if toy else 8192
    left, right = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
    times = []
    for _ in range(10):
        if device.type == "cuda":
            torch.cuda.synchronize()
        start = time.perf_counter()
        left @ right
        if device.type == "cuda":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    return 2 * size**3 / min(times)


def exponent(results: Results, name: str, lengths: tuple[int, ...]) -> None:
    """Of the seconds of the packed forward by length, and its ratio to the dense one, from what is measured."""
    for title in ("packed, sdpa", "packed, FlexAttention"):
        points = []
        for length in sorted(lengths):
            row = results.rows.get(f"{name}, {length}, {title}", {})
            if "seconds" in row:
                points.append((math.log(length), math.log(row["seconds"])))
        if len(points) == len(lengths):
            slope = statistics.linear_regression(*zip(*points[-3:], strict=True)).slope
            results.case(f"{name}, {title}: exponent", lambda s=slope: {"exponent of the longest three": s})


def slowest(results: Results, model_of: Callable[[str], nn.Module], shapes: list[str]) -> None:
    """A profile of the packed case that took longest: the operations with most time of their own."""
    packed_rows = {
        case: row["seconds"]
        for case, row in results.rows.items()
        if "packed, " in case and "seconds" in row and case.split(",")[0] in shapes
    }
    if not packed_rows:
        return
    name, length, *title = max(packed_rows, key=lambda case: packed_rows[case]).split(", ")
    scheme = SCHEMES[", ".join(title)]

    def profiled() -> Row:
        model, cuda = model_of(name), torch.cuda.is_available()
        model.set_attn_implementation(scheme.attention)
        rollout = draw(model, 1, min(int(length), 4096))
        scheme.run(model, rollout)
        activities = [ProfilerActivity.CPU] + [ProfilerActivity.CUDA] * cuda
        with profile(activities=activities, acc_events=True) as found:
            scheme.run(model, rollout)
        table = found.key_averages()
        by = "self_device_time_total" if cuda else "self_cpu_time_total"
        (results.folder / "profile.txt").write_text(table.table(sort_by=by, row_limit=25))
        entries = sorted(table, key=lambda entry: -getattr(entry, by))[:6]
        total = sum(getattr(entry, by) for entry in table)
        shares = ", ".join(f"{entry.key[:60]} {getattr(entry, by) / total:.0%}" for entry in entries)
        return {"of": f"{name}, {min(int(length), 4096)}, {', '.join(title)}", "own time": shares}

    results.case("profile of the slowest packed case", profiled)
