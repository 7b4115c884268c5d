"""Does the length change as the diagnostics say? Predictions against what updates do, on the embedded task.

Two tables, of 32 prompts by 8 completions an update. The parts that the terms of the advantage have in the first one:
by doing it with and without each term, evaluated on completions that had no part in it, against `length_gradient`. And
the change of the expected length by whole updates in a row: predicted from the update's own completions, predicted from
others, and realized.

Run: python benchmarks/diagnostics.py --output docs/benchmarks
"""

import argparse
import logging
from dataclasses import dataclass
from pathlib import Path

import torch
from transformers.utils.logging import disable_progress_bar, set_verbosity_error

from iapo import AdvantageAssigner, AdvantageOutput
from iapo.advantages import InformationAware
from iapo.diagnostics import length_change, realized_length_change
from iapo.embedded import generate_problems, rows
from iapo.estimators import AnswerLikelihood
from iapo.losses import ClippedPolicyLoss
from iapo.optimizers.clipped import ClippedOptimizer
from iapo.policy.forward import inference_mode
from iapo.policy.loading import load_model
from iapo.policy.logprobs import completion_logprobs
from iapo.rewards import MathAnswer
from iapo.rollout import CompactingSampler
from iapo.training import Components, UpdateSettings
from iapo.training.diagnosis import Diagnosis, diagnosed_update

PROMPTS, GROUP, OTHERS = 32, 8, 32
TERMS = ("outcome", "information", "exploration")
RATES = (5e-4, 1e-4)
ASSIGNER = InformationAware(alpha=0.5, beta=0.1, applies_to="all")


@dataclass(frozen=True)
class Without(AdvantageAssigner):
    """An assigner less one of its terms."""

    inner: AdvantageAssigner
    term: str

    @property
    def requires(self):
        return self.inner.requires

    def assign(self, inputs):
        output = self.inner.assign(inputs)
        return AdvantageOutput(output.advantages - output.terms[self.term], output.loss_mask, {})


class Policy:
    """The embedded model and its optimizer."""

    def __init__(self, rate: float) -> None:
        self.model, self.tokenizer = load_model("embedded", torch.device("cpu"))
        self.sampler = CompactingSampler(self.model, self.tokenizer, max_new_tokens=128)
        self.optimizer = ClippedOptimizer(torch.optim.AdamW(self.model.parameters(), lr=rate, weight_decay=0.0))

    def update(self, problems, seed: int, assigner: AdvantageAssigner = ASSIGNER) -> dict[str, float]:
        """One update; the same seed samples the same completions from the same weights."""
        torch.manual_seed(seed)
        components = Components(
            self.sampler,
            {"accuracy": MathAnswer()},
            AnswerLikelihood(*(self.ids(text) for text in ("</think><answer>", "</answer>"))),
            assigner,
            ClippedPolicyLoss(),
            self.optimizer,
        )
        settings = UpdateSettings(GROUP, micro_batch=64)
        diagnosis = Diagnosis(self.model, self.tokenizer, components, settings) if assigner is ASSIGNER else None
        return diagnosed_update(problems, self.model, self.tokenizer, components, settings, diagnosis=diagnosis)

    def ids(self, text: str) -> tuple[int, ...]:
        return tuple(self.tokenizer.encode(text, add_special_tokens=False))

    def sample(self, problems, seed: int):
        torch.manual_seed(seed)
        return self.sampler([problem["prompt"] for problem in problems], OTHERS)

    def logprobs(self, rollout):
        with inference_mode(self.model):
            parts = [rollout.select(part) for part in torch.arange(len(rollout)).split(128)]
            found = [completion_logprobs(self.model, part)[0] for part in parts]
        width = rollout.completion_ids.shape[1]
        return torch.cat([torch.nn.functional.pad(each, (0, width - each.shape[1])) for each in found])


def shown(estimate) -> str:
    return f"{estimate.value:+.2f} ({estimate.standard_error:.2f})"


def parts_of_an_update(seed: int) -> list[str]:
    """What each term has in the first update, evaluated on completions that had no part in it."""
    problems = rows(generate_problems(PROMPTS, seed))
    others = Policy(RATES[0]).sample(problems, seed + 1)
    parts: dict[str, list[str]] = {term: [] for term in TERMS}
    for rate in RATES:
        whole = Policy(rate)
        metrics = whole.update(problems, seed)
        after = whole.logprobs(others)
        for term in TERMS:
            less = Policy(rate)
            less.update(problems, seed, Without(ASSIGNER, term))
            found = length_change(less.logprobs(others), after, others.completion_mask, others.group_ids)
            parts[term].append(shown(found.first_order))
    lines = [
        f"| term | {' | '.join(f'tokens, learning rate {rate:g}' for rate in RATES)} | `length_gradient` |",
        "|---|---|---|---|",
    ]
    for term in TERMS:
        gradient = metrics[f"iapo/diagnostics/length_gradient/{term}"]
        lines.append(f"| {term} | {' | '.join(parts[term])} | {gradient:+.1f} |")
    return lines


def updates_in_a_row(seed: int, count: int, every: int) -> list[str]:
    """The change of the expected length by some of the updates in a row."""
    policy = Policy(RATES[0])
    lines = ["| update | own completions | other completions | realized |", "|---|---|---|---|"]
    for number in range(1, count + 1):
        problems = rows(generate_problems(PROMPTS, seed + 1000 * number))
        if number % every != 1:
            policy.update(problems, seed + number)
            continue
        others = policy.sample(problems, seed - number)
        before = policy.logprobs(others)
        metrics = policy.update(problems, seed + number)
        found = length_change(before, policy.logprobs(others), others.completion_mask, others.group_ids)
        fresh = policy.sample(problems, seed - number - 5000)
        masks = others.completion_mask, fresh.completion_mask
        realized = realized_length_change(masks[0], others.group_ids, masks[1], fresh.group_ids)
        own = "iapo/diagnostics/length_change/first_order"
        cells = f"{metrics[own]:+.2f} ({metrics[f'{own}_se']:.2f})", shown(found.first_order), shown(realized)
        lines.append(f"| {number} | {' | '.join(cells)} |")
    return lines


def main() -> None:
    """Write the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=100_000)
    parser.add_argument("--updates", type=int, default=31)
    parser.add_argument("--every", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--output", type=Path, default=Path("docs/benchmarks"))
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    logging.disable(logging.WARNING)
    disable_progress_bar()
    set_verbosity_error()
    parts = parts_of_an_update(arguments.seed)
    in_a_row = updates_in_a_row(arguments.seed, arguments.updates, arguments.every)
    text = "\n".join(
        [
            f"Parts of the first update, tokens (standard error over prompts), {PROMPTS * OTHERS} completions:\n",
            *parts,
            f"\nWhole updates, learning rate {RATES[0]:g}, tokens; other and realized on {PROMPTS * OTHERS} each:\n",
            *in_a_row,
        ]
    )
    (arguments.output / "diagnostics.md").write_text(text + "\n")
    print(text)


if __name__ == "__main__":
    main()
