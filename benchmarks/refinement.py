"""How few probes are enough? Refinement against probing every token, on the embedded task.

    python benchmarks/refinement.py

Settings are swept on completions of validation problems, each probed once and the probes replayed. Error: of a token
class's total information over all completions, relative to the sum of |total| over classes, or to the class's own
total, which for some classes is a small difference of large numbers. For each estimator, each of the two, and
boundaries that tokens tell or that classes tell, the setting with the fewest probes among those whose worst error is
below `--limit` is then run on completions of test problems.
Beside them: relative to the sum of the class's |information| token by token. The adapters of calibrated estimators are
fitted on completions of training problems. "computed" counts the prefixes that packed forwards ran over, rows padded to
the widest.

Boundaries: of "steps", recognized by tokens; where a token was a "surprise"; where the token's "class" changes, as
`iapo.embedded.classify` tells it, "rare": with those beside slips, caught slips and other tokens probed always.

Prints Markdown and writes `refinement.md`.
"""

import argparse
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import product
from pathlib import Path
from typing import NamedTuple

import torch
from embedded_steps import step_ids
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, AutoTokenizer

from iapo import Rollout
from iapo.diagnostics import classify_completions
from iapo.embedded import TokenClass, classify, generate_problems, model_path
from iapo.embedded.symbols import END_ANSWER
from iapo.estimators import (
    AnswerLikelihood,
    Boundaries,
    Calibrated,
    ClassBoundaries,
    EarlyExitEntropy,
    PrefixEstimator,
    Refined,
    StepBoundaries,
)
from iapo.estimators.packed import needed_probes
from iapo.estimators.refined import first_round, interpolate, next_round
from iapo.rollout import TransformersSampler

STRIDES, THRESHOLDS = (1, 2, 3, 4, 6, 8, 64), (0.0003, 0.001, 0.03, 0.1, 0.2, 0.3, 0.5, 1.0)
RARE = frozenset({TokenClass.SLIP, TokenClass.CATCH, TokenClass.OTHER})
GOALS = ("sum of classes", "own total")
SHOWN = (("tokens", 0), ("classes", 1))
"""Whose errors are shown by class."""


@dataclass(frozen=True)
class Place:
    """Where probes may lie, and where they always do."""

    boundaries: Boundaries | None = None
    always: Boundaries | None = None


@dataclass
class Counted(PrefixEstimator):
    """Another estimator, and how much it was asked."""

    estimator: PrefixEstimator
    computed: int = 0
    information_sign: int = field(init=False)

    def __post_init__(self) -> None:
        self.information_sign = self.estimator.information_sign

    def probe_at(self, model, rollout, at, cache=None):
        self.computed += int(at.sum(1).max()) * len(at)
        return self.estimator.probe_at(model, rollout, at, cache)


def replay(
    probes: Tensor, rollout: Rollout, allowed: Tensor, always: Tensor, stride: int, threshold: float
) -> tuple[Tensor, int]:
    """What `Refined` would return if these were the probes of its estimator, and how many it would ask for."""
    probed = at = first_round(rollout, allowed, stride) | always
    while at.any():
        at = next_round(probes.masked_fill(~probed, 0), probed, allowed, threshold)
        probed = probed | at
    return interpolate(probes.masked_fill(~probed, 0), probed, needed_probes(rollout)), int(probed.sum())


@dataclass(frozen=True)
class Totals:
    """Information by token class: the total, and the sum of absolute values."""

    total: dict[str, float]
    absolute: dict[str, float]

    @classmethod
    def of(cls, information: Tensor, rollout: Rollout, labels: list[list[str]]) -> "Totals":
        names = sorted({label for row in labels for label in row})
        flat = torch.tensor(
            [names.index(labels[row][token]) for row, token in rollout.reasoning_mask.nonzero().tolist()]
        )
        values = information[rollout.reasoning_mask].double()
        sums = (torch.bincount(flat, each, len(names)).tolist() for each in (values, values.abs()))
        present = flat.unique().tolist()
        return cls(*({names[i]: each[i] for i in present} for each in sums))

    def worst(self, truth: "Totals") -> tuple[float, float]:
        """Largest error of a class, relative to the sum of |total| over classes, and to the class's own total."""
        scale = sum(abs(value) for value in truth.total.values())
        errors = [(abs(self.total[name] - value), abs(value)) for name, value in truth.total.items()]
        return max(error for error, _ in errors) / scale, max(error / own for error, own in errors)


def draw(model: nn.Module, tokenizer, split: str, count: int, seed: int) -> tuple[Rollout, list[list[str]]]:
    """One sampled completion of each problem that has an answer, and its tokens' classes."""
    torch.manual_seed(seed)
    problems = generate_problems(count, seed, split)
    rollout = TransformersSampler(model, tokenizer, max_new_tokens=128)([p.prompt for p in problems], 1)
    kept = (rollout.answer_mask.any(1) & rollout.reasoning_mask.any(1)).nonzero().flatten()
    rollout = rollout.select(kept)
    return rollout, token_classes(rollout, tokenizer)


def token_classes(rollout: Rollout, tokenizer) -> list[list[str]]:
    prompts = [tokenizer.decode(ids[mask]) for ids, mask in zip(rollout.prompt_ids, rollout.prompt_mask, strict=True)]
    return [[str(c) for c in own] for own in classify_completions(rollout, prompts, tokenizer, classify)]


def estimators(model: nn.Module, tokenizer, fitted: Rollout, steps: int) -> dict[str, PrefixEstimator]:
    postfix, closing = (
        tuple(tokenizer(x, add_special_tokens=False)["input_ids"]) for x in ("</think><answer>", END_ANSWER)
    )
    likelihood, entropy = AnswerLikelihood(postfix, closing), EarlyExitEntropy(postfix)
    calibrated = Calibrated(likelihood, model)
    optimizer = torch.optim.AdamW(calibrated.parameters(), lr=1e-2, weight_decay=0.0)
    calibrated.fit(model, fitted, optimizer, steps=steps)
    with_entropy = Calibrated(likelihood, model, entropy)
    with_entropy.load_state_dict(calibrated.state_dict())
    return {
        "AnswerLikelihood": likelihood,
        "EarlyExitEntropy": entropy,
        "Calibrated(AnswerLikelihood)": calibrated,
        "Calibrated(EarlyExitEntropy)": with_entropy,
    }


def places(tokenizer) -> dict[str, Place]:
    steps = step_ids(tokenizer)
    label = partial(token_classes, tokenizer=tokenizer)
    return {
        "every token": Place(),
        "steps": Place(StepBoundaries(**steps)),
        "surprisal 0.3": Place(StepBoundaries(run_ids=steps["run_ids"], surprisal=0.3)),
        "steps, surprisal 1": Place(StepBoundaries(**steps, surprisal=1.0)),
        "classes": Place(ClassBoundaries(label)),
        "classes, rare": Place(ClassBoundaries(label), ClassBoundaries(label, RARE)),
    }


class Tried(NamedTuple):
    """A setting on the validation problems; they sort by how many fewer probes they have.

    Args:
        fewer: how many times fewer probes it has than every token's.
        errors: the worst, by goal.
        place: the name of its boundaries.
        stride: of `Refined`.
        threshold: of `Refined`.
    """

    fewer: float
    errors: tuple[float, float]
    place: str
    stride: int
    threshold: float


Masks = dict[str, tuple[Tensor, Tensor]]
"""By the name of a place, where probes may lie and where they always do."""


def masks_of(rollout: Rollout, where: dict[str, Place]) -> Masks:
    """The places in completions."""
    needed = needed_probes(rollout)
    return {
        name: (
            needed if place.boundaries is None else place.boundaries(rollout) & needed,
            torch.zeros_like(needed) if place.always is None else place.always(rollout) & needed,
        )
        for name, place in where.items()
    }


def sweep(
    model: nn.Module, estimator: PrefixEstimator, rollout: Rollout, labels: list[list[str]], masks: Masks
) -> list[Tried]:
    """All settings on the completions, each probed once; those with the fewest probes first."""
    probes, sign = estimator.probe(model, rollout), estimator.information_sign
    truth = Totals.of(sign * probes.diff(dim=1), rollout, labels)
    every = int(needed_probes(rollout).sum())
    found = []
    for (place, (allowed, always)), stride, threshold in product(masks.items(), STRIDES, THRESHOLDS):
        if stride == 1 and threshold > THRESHOLDS[0]:
            continue
        values, count = replay(probes, rollout, allowed, always, stride, threshold)
        errors = Totals.of(sign * values.diff(dim=1), rollout, labels).worst(truth)
        found.append(Tried(every / count, errors, place, stride, threshold))
    return sorted(found, reverse=True)


def unbeaten(found: list[Tried]) -> list[Tried]:
    """The settings with few probes that no other beats in both, probes and one of the errors."""

    def good(tried: Tried, goal: int) -> bool:
        own = tried.errors[goal]
        return own < 0.05 and not any(each.fewer >= tried.fewer and each.errors[goal] < own for each in found)

    return [tried for tried in found if tried.fewer > 3 and any(good(tried, goal) for goal in range(len(GOALS)))]


def chosen_of(found: list[Tried], limit: Sequence[float]) -> Iterator[tuple[str, int, Tried]]:
    """By what tells boundaries and by goal, the setting with the fewest probes whose worst error is below the limit."""
    for told_by, goal in product(("tokens", "classes"), range(len(GOALS))):
        by_classes = told_by == "classes"
        yield (
            told_by,
            goal,
            next(
                tried
                for tried in found
                if tried.errors[goal] < limit[goal] and tried.place.startswith("classes") == by_classes
            ),
        )


@dataclass(frozen=True)
class OnTest:
    """What a setting did on the test problems: its row, but for the seconds of every probe, and its totals."""

    cells: str
    totals: Totals


def run_on_test(
    model: nn.Module,
    estimator: PrefixEstimator,
    tried: Tried,
    place: Place,
    rollout: Rollout,
    labels: list[list[str]],
    truth: Totals,
) -> OnTest:
    """Refine the completions by a setting, against the totals of every probe."""
    everything = needed_probes(rollout).sum(1)
    counted = Counted(estimator)
    refined = Refined(counted, tried.stride, tried.threshold, place.boundaries, place.always)
    start = time.perf_counter()
    result = refined.refine(model, rollout)
    seconds = time.perf_counter() - start
    totals = Totals.of(refined.information_sign * result.probes.diff(dim=1), rollout, labels)
    (of_sum, of_own), probed = totals.worst(truth), int(result.probed.sum())
    return OnTest(
        f"{tried.place}, {tried.stride}, {tried.threshold} | {probed} of {int(everything.sum())} "
        f"| {int(everything.sum()) / probed:.2f} | {int(everything.max()) * len(rollout) / counted.computed:.2f} "
        f"| {result.rounds} | {of_sum:.2%} | {of_own:.1%} | {seconds:.2f}",
        totals,
    )


def class_rows(name: str, place: str, totals: Totals, truth: Totals) -> list[str]:
    """The error of each class."""
    scale, rows = sum(abs(value) for value in truth.total.values()), []
    for kind, total in sorted(truth.total.items()):
        error = totals.total[kind] - total
        rows.append(
            f"| {name} | {place} | {kind} | {total:.1f} | {error:+.2f} | {abs(error) / scale:.2%} "
            f"| {abs(error / total):.1%} | {abs(error) / truth.absolute[kind]:.1%} |"
        )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--problems", type=int, default=4096)
    parser.add_argument("--fit_steps", type=int, default=300)
    parser.add_argument(
        "--limit",
        type=float,
        nargs=2,
        default=[0.015, 0.018],
        help="worst errors allowed on validation, of sum and own",
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, default=Path("docs/benchmarks"))
    settings = parser.parse_args()
    model = AutoModelForCausalLM.from_pretrained(model_path())
    tokenizer = AutoTokenizer.from_pretrained(model_path())
    fitted, _ = draw(model, tokenizer, "train", 4096, settings.seed)
    validation = draw(model, tokenizer, "validation", settings.problems, settings.seed)
    test = draw(model, tokenizer, "test", settings.problems, settings.seed)
    where = places(tokenizer)
    masks = masks_of(validation[0], where)
    swept = [
        "| estimator | boundaries | stride | threshold | fewer probes | of sum | of own total |",
        "|---|---|---|---|---|---|---|",
    ]
    chosen = [
        "| estimator | held below | boundaries, stride, threshold | probes | fewer | computed, fewer | rounds "
        "| of sum | of own total | s | all, s |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    classes = [
        "| estimator | boundaries | class | total, nats | error, nats | of sum | of own total | of own absolute |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, estimator in estimators(model, tokenizer, fitted, settings.fit_steps).items():
        found = sweep(model, estimator, *validation, masks)
        swept += [
            f"| {name} | {place} | {stride} | {threshold} | {fewer:.2f} | {errors[0]:.2%} | {errors[1]:.1%} |"
            for fewer, errors, place, stride, threshold in unbeaten(found)
        ]
        start = time.perf_counter()
        exact = estimator(model, test[0])
        seconds = time.perf_counter() - start
        truth = Totals.of(exact, *test)
        for told_by, goal, tried in chosen_of(found, settings.limit):
            ran = run_on_test(model, estimator, tried, where[tried.place], *test, truth)
            chosen.append(f"| {name} | {GOALS[goal]} | {ran.cells} | {seconds:.2f} |")
            if (told_by, goal) in SHOWN:
                classes += class_rows(name, tried.place, ran.totals, truth)
    head = f"{settings.problems} problems each. Chosen on validation, run on test:"
    text = "\n".join([head, "", *chosen, "", "By class, test:", "", *classes])
    text += "\n".join(["\n", "Validation, settings that no other beats in both:", "", *swept, ""])
    settings.output.mkdir(parents=True, exist_ok=True)
    (settings.output / "refinement.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
