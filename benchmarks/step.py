"""Seconds per update: this library's loop against TRL's GRPOTrainer, and estimators against none, paired in one run.

Same model, prompts, group size, longest completion, optimizer, loss normalization and micro-batch. Blocks of updates
alternate (TRL, none, entropy, likelihood, likelihood at steps, none with a backward for completions without an
advantage too, TRL, ...); each block starts from the same weights and its first update is not counted. The learning rate
is small, so that lengths stay those of the base. The last column is taken within each update, so that what else the
machine does cancels out: seconds from the sampled completions to their advantages, by the seconds of the rest; its
median, and the lowest and highest block's.

Below the table: what reading takes, that is finding the spans, exits and answers of a batch whose completions all have
the greatest length, as a share of an update without information (whose completions are shorter).

Run: pip install 'trl>=1.16' && python benchmarks/step.py
"""

import argparse
import logging
import statistics
import tempfile
import time
import warnings
from typing import Any

import torch
from embedded_steps import step_ids, token_ids
from transformers import PrinterCallback, TrainerCallback, set_seed
from transformers.utils.logging import disable_progress_bar, set_verbosity_error

from iapo.advantages import GroupRelative, InformationAware
from iapo.embedded import generate_problems, rows
from iapo.estimators import AnswerLikelihood, EarlyExitEntropy, NoInformation, Refined, StepBoundaries
from iapo.interfaces import MIEstimator, PolicyLoss
from iapo.losses import ClippedPolicyLoss
from iapo.optimizers.clipped import ClippedOptimizer
from iapo.policy.loading import choose_autocast, choose_device, load_model
from iapo.rewards import MathAnswer
from iapo.rollout import CompactingSampler
from iapo.rollout.collation import read_anew
from iapo.styles import USUAL_STYLE
from iapo.tokenization.decoding import decode_completions
from iapo.training import Components, UpdateSettings, update
from iapo.types import Rollout

LEARNING_RATE = 1e-6
Block = tuple[list[float], list[float], list[float]]
"""Seconds, mean completion length and the estimate's share of the rest, of each counted update."""


class LearnsFromAll(ClippedPolicyLoss):
    """The loss of all other rows, with a backward for completions without an advantage too."""

    learns_from = PolicyLoss.learns_from


class Clock(TrainerCallback):
    """Notes when updates end."""

    def __init__(self) -> None:
        self.ends: list[float] = []
        self.lengths: list[float] = []

    def on_step_end(self, args, state, control, **rest):
        self.ends.append(time.perf_counter())

    def on_log(self, args, state, control, logs=None, **rest):
        if logs and "completions/mean_length" in logs:
            self.lengths.append(logs["completions/mean_length"])


def trl_block(arguments: argparse.Namespace, seed: int) -> Block:
    """One block of TRL's updates."""
    from datasets import Dataset
    from trl import GRPOConfig, GRPOTrainer

    model, tokenizer = load_model("embedded", arguments.device)
    reward, clock = MathAnswer(), Clock()
    data = Dataset.from_list(rows(generate_problems(arguments.prompts * arguments.updates, seed)))

    def accuracy(prompts, completions, completion_ids, **columns):
        return reward(prompts, completions, completion_ids, answer=columns["answer"])

    with tempfile.TemporaryDirectory() as folder:
        config = GRPOConfig(
            output_dir=folder,
            max_steps=arguments.updates,
            per_device_train_batch_size=arguments.micro_batch,
            gradient_accumulation_steps=arguments.prompts * arguments.group // arguments.micro_batch,
            num_generations=arguments.group,
            max_completion_length=arguments.tokens,
            learning_rate=LEARNING_RATE,
            beta=0.0,
            loss_type="dapo",
            epsilon_high=0.28,
            temperature=1.0,
            top_k=0,
            gradient_checkpointing=False,
            bf16=choose_autocast("auto", arguments.device) is not None,
            use_cpu=arguments.device.type == "cpu",
            logging_steps=1,
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
            seed=seed,
        )
        trainer = GRPOTrainer(
            model, accuracy, config, train_dataset=data, processing_class=tokenizer, callbacks=[clock]
        )
        trainer.remove_callback(PrinterCallback)
        trainer.train()
    seconds = [b - a for a, b in zip(clock.ends, clock.ends[1:], strict=False)]
    return seconds, clock.lengths[1 : arguments.updates], []


def make_estimator(name: str, tokenizer: Any) -> MIEstimator:
    """An estimator as `iapo train` makes it for the embedded model."""
    postfix = token_ids(tokenizer, "</think>", "<answer>")
    likelihood = AnswerLikelihood(postfix, token_ids(tokenizer, "</answer>"))
    steps = StepBoundaries(**step_ids(tokenizer))
    return {
        "NoInformation": NoInformation(),
        "EarlyExitEntropy": EarlyExitEntropy(postfix),
        "AnswerLikelihood": likelihood,
        "AnswerLikelihood at steps": Refined(likelihood, stride=1, boundaries=steps),
    }[name]


def our_block(arguments: argparse.Namespace, seed: int, estimator_name: str, loss: PolicyLoss | None = None) -> Block:
    """One block of our updates."""
    model, tokenizer = load_model("embedded", arguments.device)
    estimator = make_estimator(estimator_name, tokenizer)
    assigner = GroupRelative() if isinstance(estimator, NoInformation) else InformationAware()
    components = Components(
        CompactingSampler(model, tokenizer, max_new_tokens=arguments.tokens),
        {"accuracy": MathAnswer()},
        estimator,
        assigner,
        ClippedPolicyLoss() if loss is None else loss,
        ClippedOptimizer(torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE)),
    )
    settings = UpdateSettings(
        arguments.group, arguments.micro_batch, autocast=choose_autocast("auto", arguments.device)
    )
    data = rows(generate_problems(arguments.prompts * arguments.updates, seed))
    seconds, lengths, shares = [], [], []
    for index in range(arguments.updates):
        start = time.perf_counter()
        problems = data[index * arguments.prompts : (index + 1) * arguments.prompts]
        metrics = update(problems, model, tokenizer, components, settings)
        seconds.append(time.perf_counter() - start)
        lengths.append(metrics["completions/mean_length"])
        shares.append(metrics["iapo/time/estimate"] / (seconds[-1] - metrics["iapo/time/estimate"]))
    return seconds[1:], lengths[1:], shares[1:]


def seconds_of_reading(arguments: argparse.Namespace) -> float:
    """Median seconds of reading a batch of full length: its spans and exits, and the answers of its texts."""
    model, tokenizer = load_model("embedded", arguments.device)
    problems = rows(generate_problems(arguments.prompts, 0))
    sampler = CompactingSampler(model, tokenizer, max_new_tokens=arguments.tokens)
    rollout = sampler([row["prompt"] for row in problems], arguments.group)
    ids = []
    for row, length in zip(rollout.completion_ids.tolist(), rollout.completion_lengths.tolist(), strict=True):
        # Its reasoning over and over, in front of its end.
        missing = arguments.tokens - length
        ids.append((row[1 : max(2, length - 5)] * arguments.tokens)[:missing] + row[:length])
    whole = torch.tensor(ids, device=arguments.device)
    prompt_ids, prompt_mask = rollout.prompt_ids, rollout.prompt_mask
    mask = torch.ones_like(whole, dtype=torch.bool)
    batch = Rollout(prompt_ids, prompt_mask, whole, mask, mask, rollout.group_ids)
    taken = []
    for _ in range(20):
        start = time.perf_counter()
        read_anew(batch, tokenizer, USUAL_STYLE, sampler.eos_ids)
        answers = [USUAL_STYLE.answer_in(text) for text in decode_completions(tokenizer, batch, sampler.eos_ids)]
        taken.append(time.perf_counter() - start)
    assert len(answers) == arguments.prompts * arguments.group
    return statistics.median(taken)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--blocks", type=int, default=3)
    parser.add_argument("--updates", type=int, default=4, help="of a block, the first is not counted")
    parser.add_argument("--prompts", type=int, default=32)
    parser.add_argument("--group", type=int, default=8)
    parser.add_argument("--tokens", type=int, default=128)
    parser.add_argument("--micro_batch", type=int, default=64)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    arguments.device = choose_device()
    torch.set_num_threads(arguments.threads)
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    disable_progress_bar()
    set_verbosity_error()
    methods = {"TRL GRPOTrainer": lambda seed: trl_block(arguments, seed)}
    for name in ("NoInformation", "EarlyExitEntropy", "AnswerLikelihood", "AnswerLikelihood at steps"):
        methods[f"iapo, {name}"] = lambda seed, name=name: our_block(arguments, seed, name)
    methods["iapo, NoInformation, backward for all"] = lambda seed: our_block(
        arguments, seed, "NoInformation", LearnsFromAll()
    )
    found: dict[str, list[Block]] = {name: [] for name in methods}
    for seed in range(arguments.blocks):
        for name, block in methods.items():
            set_seed(seed)
            found[name].append(block(seed))
    medians = {name: [statistics.median(seconds) for seconds, _, _ in blocks] for name, blocks in found.items()}
    device = torch.cuda.get_device_name() if arguments.device.type == "cuda" else f"CPU, {arguments.threads} threads"
    print(f"{device}; {vars(arguments) | {'device': str(arguments.device)}}\n")
    columns = ("", "seconds per update, median", "mean length", "to TRL, by block", "to NoInformation", "estimate")
    print(f"| {' | '.join(columns)} |\n|{'---|' * len(columns)}")
    for name, blocks in found.items():
        lengths = statistics.fmean(length for _, block, _ in blocks for length in block)
        shares = [statistics.median(block) for _, _, block in blocks if block]
        estimate = f"{statistics.median(shares):+.0%} ({min(shares):+.0%} to {max(shares):+.0%})" if shares else ""
        ratios = [
            ", ".join(f"{a / b:.2f}" for a, b in zip(medians[name], medians[base], strict=True))
            for base in ("TRL GRPOTrainer", "iapo, NoInformation")
        ]
        seconds = f"{statistics.median(medians[name]):.2f}"
        print(f"| {' | '.join((name, seconds, f'{lengths:.1f}', *ratios, estimate))} |")
    reading, update_ = seconds_of_reading(arguments), statistics.median(medians["iapo, NoInformation"])
    size = f"{arguments.prompts * arguments.group} x {arguments.tokens} tokens"
    print(f"\nReading spans and answers of {size}: {reading:.3f} s, {reading / update_:.1%} of an update")


if __name__ == "__main__":
    main()
