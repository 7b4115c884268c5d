"""Does a signal tell the spans that were needed from the useless ones, and at what cost?

    OMP_NUM_THREADS=1 python benchmarks/use.py --output docs/benchmarks
    OMP_NUM_THREADS=1 python benchmarks/use.py --output docs/benchmarks --model SmolLM2-135M-Instruct.Q4_1.gguf \
        --data gsm8k/train.jsonl --problems 24

Without `--model`: right completions of the embedded task, spans cut where a step ends, their kind by the task's own
labels. Truth by deletion: the policy goes on from the completion with a span left out, and its accuracy is
compared with that of going on with the span. `benchmarks/use_costs.py` has the share of an update.

With it: solutions of GSM8K, two-shot, with a line without content, a repeated line and a sentence of the question put
in at random places, a span a line.

Scores are sums or means over the tokens of a span; those of `LeaveOut` are from a naive loop that gives all windows at
once, and `LeaveOut` itself is compared with it on the completions that are timed. Two seeds, of different problems:
window and runs may be chosen by the column `first`, all else is of the second. Brackets: 95% bootstrap over problems.

Prints Markdown; writes `use-<task>.md`.
"""

import argparse
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import torch
from fidelity import row, spearman
from torch import Tensor
from use_cases import NEEDED, Case, embedded_case, gsm8k_case
from use_measures import Losses, Signal, accuracies, auroc, losses, relevance, seconds

from iapo import MIEstimator
from iapo.advantages.credit import information_to_go
from iapo.estimators import (
    AnswerLikelihood,
    EarlyExitEntropy,
    LeaveOut,
    NextTokenEntropy,
    OARGradient,
    OARPerturbation,
    Refined,
)
from iapo.policy.forward import inference_mode
from iapo.policy.loading import load_model
from iapo.policy.logprobs import completion_logprobs

KEPT = 0, 1, 4
"""Tokens kept behind a span that is left out: none, as many as keep the policy from writing it again, a whole step."""
SURPRISAL = "surprisal, sum"
FEW = 10_000_000
"""Parameters of a model that is run once for every token."""


def by_span(case: Case, values: Tensor) -> Tensor:
    """Sums over the tokens of each span."""
    return torch.stack([values[span.row, span.begin : span.end].double().sum() for span in case.spans])


def leave_outs(case: Case) -> dict[str, LeaveOut]:
    """Windows and runs that are compared."""
    return {
        f"LeaveOut, {'all' if window is None else f'window {window}'}, runs {runs}": LeaveOut(
            case.boundaries, window, runs
        )
        for window in (None, 3, 2, 1)
        for runs in (1, 2)
    }


def answer_estimators(case: Case) -> dict[str, MIEstimator]:
    """Those that ask for the answer, at the boundaries only."""
    likelihood, entropy = AnswerLikelihood(case.postfix, case.closing), EarlyExitEntropy(case.postfix)
    return {type(each).__name__: Refined(each, stride=1, boundaries=case.boundaries) for each in (likelihood, entropy)}


def others(case: Case) -> dict[str, Signal]:
    """The signals that leave nothing out."""

    def summed(estimator: MIEstimator) -> Signal:
        return lambda case: by_span(case, estimator(case.model, case.rollout))

    def to_go(case: Case) -> Tensor:
        values = named["AnswerLikelihood"](case.model, case.rollout)
        total = by_span(case, information_to_go(values, case.rollout.reasoning_mask, 0.9))
        return total / torch.tensor([span.end - span.begin for span in case.spans])

    def surprisal(case: Case) -> Tensor:
        with inference_mode(case.model):
            return by_span(case, -completion_logprobs(case.model, case.rollout)[0])

    named = answer_estimators(case) | {"NextTokenEntropy": NextTokenEntropy(), "OARGradient": OARGradient(case.postfix)}
    if case.model.num_parameters() < FEW:
        named["OARPerturbation"] = OARPerturbation(case.postfix, replacement_id=case.tokenizer.pad_token_id)
    found = {f"{name}, sum": summed(estimator) for name, estimator in named.items()}
    return found | {"AnswerLikelihood, to go 0.9, mean": to_go, SURPRISAL: surprisal}


def without_spans(found: list[Losses], case: Case) -> dict[str, Tensor]:
    """The scores from what is lost without a span: `LeaveOut`'s, of the answer only, and two flows of relevance."""
    scores = {
        name: torch.cat([each.leave_out(estimator.window, estimator.runs) for each in found])
        for name, estimator in leave_outs(case).items()
    }
    drops = [each.drops() for each in found]
    flows = [relevance(each) for each in drops]
    scores["LeaveOut, what follows the reasoning only, runs 1"] = torch.cat([each[:, -1] for each in drops])
    scores["relevance from the answer"] = torch.cat([flow[:-1] for flow in flows])
    scores["drops weighted by relevance"] = torch.cat([each @ flow for each, flow in zip(drops, flows, strict=True)])
    return scores


def score(case: Case, found: list[Losses]) -> dict[str, Tensor]:
    """The scores of all spans by signal."""
    scores = without_spans(found, case) | {name: signal(case) for name, signal in others(case).items()}
    return scores | {"random": torch.rand(len(case.spans), generator=torch.Generator().manual_seed(0))}


def check(case: Case, found: list[Losses]) -> None:
    """Raise unless `LeaveOut` itself has the values of the loop."""
    for name, estimator in leave_outs(case).items():
        values, width = estimator(case.model, case.rollout), case.rollout.completion_ids.shape[1]
        for span, wanted in zip(case.spans, without_spans(found, case)[name], strict=True):
            got = values[span.row, span.begin : span.end].double()
            if not torch.allclose(got, wanted, atol=1e-3):
                raise AssertionError(f"{name}, {span} of {width} tokens: got {got.tolist()}, want {float(wanted)}")


@dataclass(frozen=True)
class Deletion:
    """Accuracy of the policy that goes on behind each span, with it and without."""

    with_span: Tensor
    without: Tensor

    @property
    def cost(self) -> Tensor:
        """What leaving out each span costs."""
        return self.with_span - self.without


def delete(case: Case, kept: int, samples: int) -> Deletion:
    """Go on with and without every span, ``kept`` tokens behind it."""
    pieces = (
        [(row, begin, end) for row, begin, end, _ in case.spans],
        [(row, end, end) for row, _, end, _ in case.spans],
    )
    without, with_span = (accuracies(case, each, kept, samples) for each in pieces)
    return Deletion(with_span, without)


def judge(case: Case, scores: Tensor, cost: Tensor) -> list[str]:
    """AUROC of spans that cost at least half against those that cost at most a tenth, and the rank correlation."""
    cost, own = cost[case.scored], scores[case.scored]
    return [brackets(auroc(own, cost >= 0.5, cost <= 0.1, case.problems[case.scored])), f"{spearman(own, cost):.2f}"]


def brackets(value: tuple[float, ...]) -> str:
    return "{:.3f} ({:.3f} to {:.3f})".format(*value)


def separation(case: Case, scores: Tensor, *kinds: str) -> tuple[float, ...]:
    """AUROC of needed against useless spans of these kinds."""
    named = [span.kind for span in case.spans]
    positive, negative = (torch.tensor([kind in some for kind in named]) for some in ((NEEDED,), kinds))
    return auroc(scores, positive, negative, case.problems)


def report(first: Case, case: Case, scores: list[dict[str, Tensor]], ratios: dict[str, float]) -> list[str]:
    """The table of all signals."""
    heads = ["signal", "first", "needed against useless", *case.kinds, "time of a forward"]
    lines = [row(*heads), "|---" * len(heads) + "|"]
    for name, own in scores[1].items():
        cells = [f"{separation(first, scores[0][name], *case.kinds)[0]:.3f}" if name in scores[0] else ""]
        cells += [brackets(separation(case, own, *case.kinds))]
        cells += [f"{separation(case, own, kind)[0]:.3f}" for kind in case.kinds]
        lines.append(row(name, *cells, f"{ratios[name]:.1f}" if name in ratios else ""))
    return lines


def report_deletion(case: Case, scores: dict[str, Tensor], found: dict[int, Deletion]) -> list[str]:
    """Accuracy by kind of span, for each number of tokens that were kept; and every signal against the costs."""
    heads = ["span", "spans", *(f"{which}, {kept} kept" for kept in found for which in ("with it", "left out"))]
    lines, named = [row(*heads), "|---" * len(heads) + "|"], [span.kind for span in case.spans]
    for kind in (NEEDED, *case.kinds):
        of = torch.tensor([each == kind for each in named])
        means = [f"{float(x[of].mean()):.3f}" for each in found.values() for x in (each.with_span, each.without)]
        lines.append(row(kind, str(int(of.sum())), *means))
    judged = {kept: each.cost for kept, each in found.items() if kept > 0}
    heads = ["signal", *(f"{which}, {kept} kept" for kept in judged for which in ("AUROC of cost", "rank corr."))]
    lines += ["", "Every signal against what leaving out costs:", "", row(*heads), "|---" * len(heads) + "|"]
    for name, own in scores.items():
        lines.append(row(name, *(cell for cost in judged.values() for cell in judge(case, own, cost))))
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", help="a .gguf file or directory; left out: the embedded model")
    parser.add_argument("--data", type=Path, help="with --model: a .jsonl file of GSM8K")
    parser.add_argument("--problems", type=int, default=64)
    parser.add_argument("--samples", type=int, default=8, help="continuations of a span by which truth is known")
    parser.add_argument(
        "--stride", type=int, default=4, help="completions from one whose spans are deleted to the next"
    )
    parser.add_argument("--timed", type=int, default=16, help="completions that signals are timed on")
    parser.add_argument("--repetitions", type=int, default=3, help="how often they are timed")
    parser.add_argument("--output", type=Path, default=Path("docs/benchmarks"))
    settings = parser.parse_args()
    real = settings.model is not None
    if real:
        model, tokenizer = load_model(settings.model, "cpu")
        cases = [gsm8k_case(model, tokenizer, settings.data, settings.problems, seed) for seed in (0, 1)]
    else:
        cases = [embedded_case("test", settings.problems, 4, seed) for seed in (0, 1)]
    found = [losses(each) for each in cases]
    scores = [without_spans(found[0], cases[0]), score(cases[1], found[1])]
    case, counts = cases[1], Counter(span.kind for span in cases[1].spans)
    print("\n".join(report(*cases, scores, {})), flush=True)
    timed = range(min(settings.timed, len(case.rollout)))
    check(case.select(timed), found[1][: len(timed)])
    compared = {name: lambda case, each=each: each(case.model, case.rollout) for name, each in leave_outs(case).items()}
    compared |= others(case)
    ratios = seconds(case.select(timed), compared, compared[SURPRISAL], settings.repetitions)
    kinds = ", ".join(f"{kind}: {counts[kind]}" for kind in (NEEDED, *case.kinds))
    lines = [f"{settings.problems} problems, {len(case.rollout)} completions; {kinds}.", ""]
    lines += report(*cases, scores, ratios)
    if not real:
        torch.manual_seed(1)
        rows_of = range(0, len(case.rollout), settings.stride)
        some, lost = case.select(rows_of), [found[1][row] for row in rows_of]
        deleted = {kept: delete(some, kept, settings.samples) for kept in KEPT}
        lines += ["", f"Accuracy of going on, {settings.samples} continuations, by tokens kept behind the span:", ""]
        lines += report_deletion(some, score(some, lost), deleted)
    settings.output.mkdir(parents=True, exist_ok=True)
    table = "\n".join(lines)
    (settings.output / f"use-{'smollm2' if real else 'embedded'}.md").write_text(table + "\n")
    print(table)


if __name__ == "__main__":
    main()
