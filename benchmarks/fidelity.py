"""Every estimator against Monte Carlo estimates of the quantity that it estimates.

    python benchmarks/fidelity.py --output docs/benchmarks
    python benchmarks/fidelity.py --output docs/benchmarks --model SmolLM2-135M-Instruct.Q4_1.gguf \
        --problems 14 --samples 96 --batch 288

Truth: from every probed prefix the policy itself goes on to its end, `--samples` times, and its answers are counted.
That gives the entropy of the answer, `H_t`, and the log-likelihood of the completion's own answer, `log p_t`, with
standard errors. An estimator of entropy is compared with the first, one of likelihood with the second. `s_t` is what
a token gave (or, with `--model`, the tokens between two probes): positive is information. Half of the samples of every
prefix against the other half is the ceiling of a rank correlation.

Without `--model`: the embedded model and task, every position of one sampled completion a problem, by token class.
With it: sums of three numbers in a few-shot format that a small instruct model keeps to, `--positions` a completion.
Problems are of the test split; adapters of calibrated estimators are fitted on completions of other problems.

AUROC: how often a token of a needed step has more information than a filler, repeated or checking one: what a signal
must have to shorten, whether it is true or not. Forced answers are scored as forecasts of the completion's own: NLL of
the whole answer; ECE (10 bins) and accuracy of the likeliest first token. ms: for all probes of a completion (all its
positions, whatever `--positions`).

Prints Markdown; writes `fidelity-<task>.md` and `fidelity-<task>.png`.
"""

import argparse
import random
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

from iapo import MIEstimator, Rollout
from iapo.embedded import TokenClass, classify, generate_problems
from iapo.estimators import (
    AnswerEntropy,
    AnswerLikelihood,
    Calibrated,
    EarlyExitEntropy,
    MonteCarloInformation,
    NextTokenEntropy,
    NoInformation,
    Refined,
)
from iapo.estimators.answer_counts import AnswerCounts
from iapo.estimators.asked import read_answers
from iapo.estimators.packed import (
    Block,
    fill_cache,
    longest_prefix,
    needed_probes,
    packable_attention,
    probe_prefixes,
)
from iapo.policy.forward import inference_mode
from iapo.policy.loading import load_model
from iapo.rollout import CompactingSampler

POSTFIX, CLOSING = "</think><answer>", "</answer>"
TRUTHS = {-1: "entropy", 1: "likelihood"}
SHOTS = 6


@dataclass(frozen=True)
class Setting:
    """A policy, what it is asked, and how its calibrated estimators are fitted."""

    name: str
    model: nn.Module
    tokenizer: Any
    prompts: Callable[[str, int, int], list[str]]
    max_new_tokens: int
    candidates: tuple[tuple[int, ...], ...] | None
    fit: dict[str, float]


@dataclass(frozen=True)
class Truth:
    """Values at the probes, their standard errors, and the values of both halves of the samples."""

    values: Tensor
    errors: Tensor
    halves: tuple[Tensor, Tensor]


def embedded() -> Setting:
    model, tokenizer = load_model("embedded", "cpu")

    def prompts(split: str, count: int, seed: int) -> list[str]:
        return [problem.prompt for problem in generate_problems(count, seed, split)]

    digits = tuple((tokenizer.convert_tokens_to_ids(str(digit)),) for digit in range(10))
    fit = {"completions": 4096, "steps": 300, "rows": 64, "prefixes": 8, "lr": 1e-2}
    return Setting("embedded", model, tokenizer, prompts, 128, digits, fit)


def sums(path: str) -> Setting:
    model, tokenizer = load_model(path, "cpu")
    # The format ends with a line break, so a completion does.
    breaks = [i for i in range(len(tokenizer)) if "\n" in tokenizer.decode([i])]
    model.generation_config.eos_token_id = [tokenizer.eos_token_id, *breaks]

    def solved(numbers: Sequence[int]) -> str:
        total, steps = numbers[0], []
        for number in numbers[1:]:
            steps.append(f"{total} + {number} = {total + number}")
            total += number
        return f"<think>{', '.join(steps)}{POSTFIX}{total}{CLOSING}\n"

    def draw(generator: random.Random) -> list[int]:
        # Always as many: whether to go on adding is then no question, and a result decides the answer.
        return [generator.randint(2, 19) for _ in range(3)]

    def prompts(split: str, count: int, seed: int) -> list[str]:
        shots, generator = random.Random("shots"), random.Random(f"{split} {seed}")
        examples = [draw(shots) for _ in range(SHOTS)]
        opening = "".join(f"{' + '.join(map(str, numbers))}\n{solved(numbers)}" for numbers in examples)
        return [f"{opening}{' + '.join(map(str, draw(generator)))}\n<think>" for _ in range(count)]

    fit = {"completions": 48, "steps": 40, "rows": 6, "prefixes": 4, "lr": 3e-3}
    return Setting("sums", model, tokenizer, prompts, 40, None, fit)


def sample(setting: Setting, split: str, count: int, seed: int) -> Rollout:
    """One completion of each problem; those that reason and answer."""
    torch.manual_seed(seed)
    sampler = CompactingSampler(setting.model, setting.tokenizer, setting.max_new_tokens)
    rollout = sampler(setting.prompts(split, count, seed), 1)
    return rollout.select((rollout.answer_mask.any(1) & rollout.reasoning_mask.any(1)).nonzero().flatten())


def spread(needed: Tensor, positions: int | None) -> Tensor:
    """``positions`` of the needed probes of each row, evenly, both ends among them; ``None``: all."""
    if positions is None:
        return needed
    at = torch.zeros_like(needed)
    for row in range(len(needed)):
        places = needed[row].nonzero().flatten()
        chosen = torch.linspace(0, len(places) - 1, min(positions, len(places))).round().long()
        at[row, places[chosen]] = True
    return at


def sample_truths(setting: Setting, rollout: Rollout, at: Tensor, samples: int, batch: int) -> dict[str, Truth]:
    """Both measures from the same draws."""

    def sampler(model: nn.Module) -> CompactingSampler:
        return CompactingSampler(model, setting.tokenizer, setting.max_new_tokens, max_batch=batch)

    monte_carlo = MonteCarloInformation(sampler, samples // 2, max_prompts=max(1, batch // (samples // 2)))
    halves = [monte_carlo.distributions(setting.model, rollout, at) for _ in range(2)]
    whole = AnswerCounts(
        {place: halves[0].probes[place] + halves[1].probes[place] for place in halves[0].probes}, halves[0].shape
    )
    answers = read_answers(rollout)
    return {
        "entropy": Truth(whole.entropies(), whole.entropy_errors(), (halves[0].entropies(), halves[1].entropies())),
        "likelihood": Truth(
            whole.log_likelihoods(answers),
            whole.log_likelihood_errors(answers),
            (halves[0].log_likelihoods(answers), halves[1].log_likelihoods(answers)),
        ),
    }


def estimators(setting: Setting, seed: int) -> dict[str, MIEstimator]:
    postfix, closing = (tuple(setting.tokenizer(x, add_special_tokens=False)["input_ids"]) for x in (POSTFIX, CLOSING))
    likelihood, entropy = AnswerLikelihood(postfix, closing), EarlyExitEntropy(postfix)
    found: dict[str, MIEstimator] = {"EarlyExitEntropy": entropy}
    if setting.candidates is not None:
        found["AnswerEntropy"] = AnswerEntropy(postfix, setting.candidates, closing)
    fitted = fit(setting, Calibrated(likelihood, setting.model), seed)
    with_entropy = Calibrated(likelihood, setting.model, entropy)
    with_entropy.load_state_dict(fitted.state_dict())
    found |= {"Calibrated(EarlyExitEntropy)": with_entropy, "NextTokenEntropy": NextTokenEntropy()}
    found |= {"AnswerLikelihood": likelihood, "Calibrated(AnswerLikelihood)": fitted}
    found |= {"Refined(AnswerLikelihood)": Refined(likelihood), "Refined(Calibrated)": Refined(fitted)}
    return found | {"NoInformation": NoInformation()}


def fit(setting: Setting, estimator: Calibrated, seed: int) -> Calibrated:
    rollout = sample(setting, "validation", int(setting.fit["completions"]), seed)
    optimizer = torch.optim.AdamW(estimator.parameters(), lr=setting.fit["lr"], weight_decay=0.0)
    sizes = {name: int(setting.fit[name]) for name in ("steps", "rows", "prefixes")}
    start = time.perf_counter()
    estimator.fit(setting.model, rollout, optimizer, **sizes)
    print(f"fitted on {len(rollout)} completions in {time.perf_counter() - start:.0f} s", flush=True)
    return estimator


def intervals(at: Tensor) -> list[tuple[int, int, int]]:
    """Row, begin and end of the stretches between neighboring probes of a row."""
    rows = ((row, at[row].nonzero().flatten().tolist()) for row in range(len(at)))
    return [(row, a, b) for row, places in rows for a, b in pairwise(places)]


def information_of(values: Tensor, sign: int, between: list[tuple[int, int, int]]) -> Tensor:
    rows, begins, ends = (torch.tensor(each) for each in zip(*between, strict=True))
    return sign * (values[rows, ends] - values[rows, begins])


def spearman(x: Tensor, y: Tensor) -> float:
    """Rank correlation, ties sharing their mean rank; NaN if either is constant."""

    def ranks(values: Tensor) -> Tensor:
        _, inverse, counts = values.round(decimals=9).unique(return_inverse=True, return_counts=True)
        return (counts.cumsum(0) - (counts - 1) / 2)[inverse]

    return float(torch.corrcoef(torch.stack([ranks(x), ranks(y)]))[0, 1])


def forecast(setting: Setting, estimator: MIEstimator, rollout: Rollout, at: Tensor) -> tuple[str, str, str]:
    """NLL of the own answer, ECE and accuracy of the likeliest first token, of the forced answer at the probes."""
    likelihood = estimator.likelihood if isinstance(estimator, Calibrated) else estimator
    adapted = estimator.adapter.active(setting.model) if isinstance(estimator, Calibrated) else nullcontext()
    nll = -float(estimator.probe_at(setting.model, rollout, at)[at].mean())
    postfix = torch.tensor(likelihood.postfix_ids, device=rollout.completion_ids.device)
    block = Block.chain(postfix.expand(len(rollout), -1), kept=1)
    first = rollout.answer_ids[:, :1]

    def confidence(logits: Tensor) -> Tensor:
        return logits[:, :, -1].float().softmax(-1).amax(-1)

    def hit(logits: Tensor) -> Tensor:
        return (logits[:, :, -1].argmax(-1) == first).float()

    with packable_attention(setting.model), inference_mode(setting.model):
        cache = fill_cache(setting.model, rollout, longest_prefix(at))
    with adapted:  # In force behind the prefixes only: the cache is the policy's.
        sure, right = (
            probe_prefixes(setting.model, rollout, block, each, at, cache=cache)[at] for each in (confidence, hit)
        )
    bins = (sure * 10).long().clamp(max=9)
    ece = sum(float((sure - right)[bins == b].sum().abs()) for b in bins.unique()) / len(bins)
    return f"{nll:.3f}", f"{ece:.3f}", f"{float(right.mean()):.2f}"


def row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


@dataclass(frozen=True)
class Classes:
    """The class of each stretch between probes, if that is a token of a task with classes; else empty."""

    labels: list[str]

    @property
    def names(self) -> list[str]:
        """Classes with enough tokens for a mean."""
        return [name for name in TokenClass if self.labels.count(name) >= 5]

    def mask(self, *names: str) -> Tensor:
        return torch.tensor([label in names for label in self.labels])

    def means(self, values: Tensor) -> list[str]:
        return [f"{float(values[self.mask(name)].mean()):+.3f}" for name in self.names]

    def correlations(self, x: Tensor, y: Tensor) -> list[str]:
        return [f"{spearman(x[self.mask(name)], y[self.mask(name)]):.2f}" for name in self.names]

    def auroc(self, information: Tensor) -> str:
        """How often a token of a needed step gets more information than one of the others below; ties are half."""
        if not self.labels:
            return ""
        needed, rest = (information[self.mask(*names)] for names in (("needed",), ("filler", "repeated", "check")))
        above = (needed[:, None] > rest).double() + (needed[:, None] == rest).double() / 2
        return f"{float(above.mean()):.2f}"


def report(
    setting: Setting, rollout: Rollout, at: Tensor, truths: dict[str, Truth], labels: list[list[str]] | None, seed: int
) -> tuple[list[str], dict[str, Tensor]]:
    """The tables, and every estimator's probes for the figure."""
    between = intervals(at)
    classes = Classes([] if labels is None else [labels[r][begin] for r, begin, _ in between])
    heads = ["estimator", "truth", "bias of value", "RMSE", "bias of s", "RMSE of s", "rank corr.", "AUROC"]
    main = [row(*heads, "NLL", "ECE", "right", "ms"), "|---" * 12 + "|"]
    means = [row("", *classes.names), "|---" * (len(classes.names) + 1) + "|"]
    order = list(means)
    exact = {measure: information_of(truths[measure].values, sign, between) for sign, measure in TRUTHS.items()}
    for sign, measure in TRUTHS.items():
        halves = [information_of(half, sign, between) for half in truths[measure].halves]
        noise = float(truths[measure].errors[at].square().mean().sqrt())
        cells = ["", f"{noise:.3f}", "", f"{noise * 2**0.5:.3f}", f"{spearman(*halves):.2f}*"]
        main.append(row("*truth, standard error*", measure, *cells, classes.auroc(exact[measure]), "", "", "", ""))
        means.append(row(f"*truth, {measure}*", *classes.means(exact[measure])))
        order.append(row(f"*halves, {measure}*", *classes.correlations(*halves)))
    found = {}
    for name, estimator in estimators(setting, seed).items():
        estimator.probe(setting.model, rollout.select(slice(0, 1)))  # The guard's comparison, once per model.
        start = time.perf_counter()
        found[name] = estimator.probe(setting.model, rollout).double()
        cost = f"{1000 * (time.perf_counter() - start) / len(rollout):.1f}"
        answers = isinstance(estimator, AnswerLikelihood | Calibrated) and estimator.information_sign > 0
        forecasts = forecast(setting, estimator, rollout, at) if answers else ("", "", "")
        measure = TRUTHS[estimator.information_sign]
        ours, off = (
            information_of(found[name], estimator.information_sign, between),
            (found[name] - truths[measure].values)[at],
        )
        gap = ours - exact[measure]
        errors = [
            text for x in (off, gap) for text in (f"{float(x.mean()):+.3f}", f"{float(x.square().mean().sqrt()):.3f}")
        ]
        ranks = f"{spearman(ours, exact[measure]):.2f}"
        main.append(row(name, measure, *errors, ranks, classes.auroc(ours), *forecasts, cost))
        means.append(row(name, *classes.means(ours)))
        order.append(row(name, *classes.correlations(ours, exact[measure])))
    unit = "tokens" if classes.labels else "stretches"
    lines = [f"{len(rollout)} completions, {int(at.sum())} probes, {len(between)} {unit}.", "", *main]
    lines += ["", "*: one half of the samples against the other."]
    if classes.labels:
        counts = ", ".join(f"{name}: {classes.labels.count(name)}" for name in classes.names)
        lines += ["", f"Mean information per token, nats ({counts}):", "", *means]
        lines += ["", "Rank correlation with the truth within a class (nan: constant):", "", *order]
    return lines, found


def plot(truths: dict[str, Truth], found: dict[str, Tensor], at: Tensor, path: Path) -> None:
    pairs = [("EarlyExitEntropy", "entropy"), ("Calibrated(EarlyExitEntropy)", "entropy")]
    pairs += [("AnswerLikelihood", "likelihood"), ("Calibrated(AnswerLikelihood)", "likelihood")]
    figure = Figure(figsize=(9.2, 2.7), layout="constrained")
    for axis, (name, measure) in zip(figure.subplots(1, 4), pairs, strict=True):
        exact, ours = truths[measure].values[at], found[name][at]
        low, high = float(min(exact.min(), ours.min())), float(max(exact.max(), ours.max()))
        axis.plot([low, high], [low, high], color="#8a8a8a", linewidth=0.8)
        axis.scatter(exact, ours, s=4, alpha=0.35, color="#3b6ea8", linewidths=0)
        axis.set_title(name, fontsize=8)
        symbol = {"entropy": "H", "likelihood": "log p"}[measure]
        axis.set_xlabel(f"{symbol} by continuation, nats", fontsize=8)
        axis.set_ylabel(f"{symbol} estimated, nats", fontsize=8)
        axis.tick_params(labelsize=7)
    figure.savefig(path, dpi=130)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", help="a .gguf file or directory; left out: the embedded model")
    parser.add_argument("--problems", type=int, help="default: 32, with --model 8")
    parser.add_argument("--positions", type=int, help="probes a completion; default: all, with --model 10")
    parser.add_argument("--samples", type=int, help="continuations of a prefix; default: 256, with --model 32")
    parser.add_argument("--batch", type=int, help="continuations drawn together; default: 2048, with --model 64")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, default=Path("docs/benchmarks"))
    settings = parser.parse_args()
    real = settings.model is not None
    setting = sums(settings.model) if real else embedded()
    rollout = sample(setting, "test", settings.problems or (8 if real else 32), settings.seed)
    at = spread(needed_probes(rollout), settings.positions or (10 if real else None))
    samples = settings.samples or (32 if real else 256)
    start = time.perf_counter()
    truths = sample_truths(setting, rollout, at, samples, settings.batch or (64 if real else 2048))
    seconds = time.perf_counter() - start
    labels = None
    if not real:
        texts = [
            setting.tokenizer.decode(i[m]) for i, m in zip(rollout.completion_ids, rollout.completion_mask, strict=True)
        ]
        asked = [setting.tokenizer.decode(i[m]) for i, m in zip(rollout.prompt_ids, rollout.prompt_mask, strict=True)]
        labels = [[str(c) for c in classify(prompt, text)] for prompt, text in zip(asked, texts, strict=True)]
    lines, found = report(setting, rollout, at, truths, labels, settings.seed)
    lines.insert(
        0,
        f"{setting.name}: {samples} continuations of every prefix ({seconds:.0f} s, "
        f"{torch.get_num_threads()} threads), seed {settings.seed};",
    )
    settings.output.mkdir(parents=True, exist_ok=True)
    table = "\n".join(lines)
    (settings.output / f"fidelity-{setting.name}.md").write_text(table + "\n")
    plot(truths, found, at, settings.output / f"fidelity-{setting.name}.png")
    print(table)


if __name__ == "__main__":
    main()
