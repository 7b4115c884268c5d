"""What other engines cost and bring: information inside TRL's trainer, and sampling by vLLM.

Seconds of a step of TRL's GRPO trainer without information, and of probing with it, in the environment of
`make test-trl`::

    OMP_NUM_THREADS=1 .venv-peers/bin/python benchmarks/engines.py

The embedded model, 32 completions a step, TRL's defaults but for the learning rate. The first step of a run is not
counted: it compares the packed with the naive forward.

Completion tokens a second of `CompactingSampler`, vLLM and the continuous batching of transformers, in the environment
of `make test-vllm`::

    OMP_NUM_THREADS=1 .venv-vllm/bin/python benchmarks/engines.py sampling

The embedded model with heads of 32 (or `--model`), temperature 1. Each block draws its own problems and runs every
method on them once, in an order that turns from block to block; ratios are medians of ratios within a block.
"""

import argparse
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from typing import Any

import torch
from embedded_steps import step_ids
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig

from iapo.embedded import generate_problems, model_path, rows
from iapo.embedded.heads import with_head_size
from iapo.estimators import AnswerLikelihood, LeaveOut, Refined, StepBoundaries, TextBoundaries
from iapo.policy.loading import load_model
from iapo.rewards import ExactAnswer
from iapo.rollout import CompactingSampler, VLLMSampler
from iapo.tasks import EmbeddedTask


def steps_of(
    kind: type, config: type, steps: int, signal: str | None = None, **parts: object
) -> list[dict[str, float]]:
    """The logs of a run's steps, the first left out."""
    from datasets import Dataset

    with tempfile.TemporaryDirectory() as folder:
        trainer = kind(
            AutoModelForCausalLM.from_pretrained(model_path()),
            ExactAnswer(),
            config(
                folder,
                per_device_train_batch_size=32,
                max_completion_length=128,
                learning_rate=1e-4,
                max_steps=steps + 1,
                logging_steps=1,
                save_strategy="no",
                use_cpu=True,
                bf16=False,
                report_to="none",
                disable_tqdm=True,
                **({} if signal is None else {"signal": signal}),
            ),
            train_dataset=Dataset.from_list(rows(generate_problems(64, seed=1))),
            processing_class=AutoTokenizer.from_pretrained(model_path()),
            **parts,
        )
        trainer.train()
        return [log for log in trainer.state.log_history if "step_time" in log][1:]


def training(arguments: argparse.Namespace) -> None:
    """Print what information costs inside TRL."""
    from trl import GRPOConfig, GRPOTrainer

    from iapo.integrations.trl import IAPOConfig, IAPOTrainer

    steps = arguments.steps
    warnings.simplefilter("ignore")
    tokenizer = AutoTokenizer.from_pretrained(model_path())
    likelihood = AnswerLikelihood.from_text(tokenizer)
    at_steps = Refined(likelihood, stride=1, boundaries=StepBoundaries(**step_ids(tokenizer)))
    left_out = LeaveOut(TextBoundaries(tokenizer, EmbeddedTask.style.steps))
    runs = {
        "GRPO": steps_of(GRPOTrainer, GRPOConfig, steps),
        "the answer, every token": steps_of(IAPOTrainer, IAPOConfig, steps, "answer_likelihood"),
        "the answer, boundaries": steps_of(IAPOTrainer, IAPOConfig, steps, "answer_likelihood", estimator=at_steps),
        "left out": steps_of(IAPOTrainer, IAPOConfig, steps, estimator=left_out),
    }
    print("| probes | seconds a step | of it probes | share of the rest | completions probed | mean length |")
    print("|---|---|---|---|---|---|")
    for name, logs in runs.items():

        def mean(metric: str, logs: list[dict[str, float]] = logs) -> float:
            return sum(log.get(metric, 0.0) for log in logs) / len(logs)

        step, probes = mean("step_time"), mean("iapo/time/estimate")
        print(
            f"| {name} | {step:.2f} | {probes:.2f} | {probes / (step - probes):.0%} | "
            f"{mean('iapo/completions/probed'):.1f} | {mean('completions/mean_length'):.1f} |"
        )


def continuous_batching(model: Any, tokenizer: Any, tokens: int) -> Callable[[list[str], int], int]:
    """The tokens that transformers' `generate_batch` samples; with a cache of 256 blocks, else it takes all memory."""
    from transformers import ContinuousBatchingConfig

    def sample(prompts: list[str], group: int) -> int:
        config = GenerationConfig(
            max_new_tokens=tokens,
            do_sample=True,
            top_k=0,
            num_return_sequences=group,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
        inputs = [tokenizer(prompt, add_special_tokens=False)["input_ids"] for prompt in prompts]
        batching = ContinuousBatchingConfig(num_blocks=256, max_batch_tokens=512, return_logprobs=True)
        found = model.generate_batch(inputs, config, continuous_batching_config=batching)
        lengths = [len(each.generated_tokens) for each in found.values()]
        if len(lengths) != len(prompts) * group:
            raise RuntimeError(f"generate_batch: got {len(lengths)} completions, want {len(prompts) * group}")
        return sum(lengths)

    return sample


def sampling(arguments: argparse.Namespace) -> None:
    """Print tokens a second of the samplers."""
    model, tokenizer = load_model(arguments.model)
    model = (with_head_size(model) if arguments.model == "embedded" else model).eval()
    tokens, group = arguments.tokens, arguments.group

    def counted(sampler: Any) -> Callable[[list[str], int], int]:
        return lambda prompts, group: int(sampler(prompts, group).completion_mask.sum())

    cache = {"cache_gib": 1.0}
    methods = {
        "`CompactingSampler`": counted(CompactingSampler(model, tokenizer, tokens)),
        "`VLLMSampler`": counted(VLLMSampler(model, tokenizer, tokens, **cache)),
        "`VLLMSampler`, eager": counted(VLLMSampler(model, tokenizer, tokens, enforce_eager=True, **cache)),
        "`generate_batch` of transformers": continuous_batching(model, tokenizer, tokens),
    }
    rates: dict[str, list[float]] = {name: [] for name in methods}
    order = list(methods)
    for block in range(arguments.blocks + 1):
        prompts = [row["prompt"] for row in rows(generate_problems(arguments.prompts, seed=block))]
        for name in order[block % len(order) :] + order[: block % len(order)]:
            torch.manual_seed(block)
            start = time.perf_counter()
            rate = methods[name](prompts, group) / (time.perf_counter() - start)
            if block > 0:  # the first starts the engines and compiles
                rates[name].append(rate)
    base = rates["`CompactingSampler`"]
    print("| sampler | tokens a second | of CompactingSampler |\n|---|---|---|")
    for name, found in rates.items():
        ratio = statistics.median(each / other for each, other in zip(found, base, strict=True))
        print(f"| {name} | {statistics.median(found):.0f} | {ratio:.2f} |")


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("part", nargs="?", choices=["training", "sampling"], default="training")
    parser.add_argument("--steps", type=int, default=4, help="of each run, in TRL")
    parser.add_argument("--model", default="embedded")
    parser.add_argument("--blocks", type=int, default=5)
    parser.add_argument("--prompts", type=int, default=32)
    parser.add_argument("--group", type=int, default=8)
    parser.add_argument("--tokens", type=int, default=128)
    arguments = parser.parse_args()
    (training if arguments.part == "training" else sampling)(arguments)


if __name__ == "__main__":
    main()
