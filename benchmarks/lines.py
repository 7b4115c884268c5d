"""Information about a model's own answer by kind of line of the warm start: before training, and after.

    python benchmarks/lines.py runs/models/smollm2_small runs/smollm2_small/iapo_steps/default/seed-0/checkpoint-60 \
        --problems runs/smollm2_small/problems-test.json --output docs/study/smollm2-lines.md

Samples completions of the problems that a comparison of models of `benchmarks/warm_start.py` was evaluated on, measures
their information at line breaks, and sums up by kind of line: lines of a completion, tokens of a line, and means per
token, standard error over problems in brackets: nats, and the two terms of the default's advantage.
"""

import argparse
import json
import re
from collections import Counter
from pathlib import Path

import torch
from warm_start import FILLERS

from iapo import TokenSignals
from iapo.advantages import GroupRelative, InformationAware
from iapo.diagnostics import Estimate, information_by_class
from iapo.estimators import AnswerLikelihood, Refined, StepBoundaries
from iapo.policy.loading import load_model
from iapo.rewards import MathAnswer
from iapo.rewards.rollouts import score_rollout
from iapo.rollout import CompactingSampler

KINDS = ("filler before a step", "filler later", "step", "again", "check")


def kind(line: str, stepped: bool) -> str:
    if line.strip() in FILLERS:
        return "filler later" if stepped else "filler before a step"
    if line.startswith("Again"):
        return "again"
    if line.startswith("Let me check"):
        return "check"
    return "step" if re.match(r"-?\d+ [-+] \d+ =", line) else "other"


def lines_of(tokenizer, ids: list[int], break_id: int) -> list[tuple[str, int]]:
    """Kind and number of tokens of each line."""
    found, start, stepped = [], 0, False
    for end in range(1, len(ids) + 1):
        if ids[end - 1] == break_id or end == len(ids):
            name = kind(tokenizer.decode(ids[start:end]), stepped)
            stepped |= name == "step"
            found.append((name, end - start))
            start = end
    return found


def measure(path: Path, problems: list[dict], arguments: argparse.Namespace) -> list[str]:
    model, tokenizer = load_model(str(path), torch.device("cpu"))
    postfix, closing, line_break = (
        tuple(tokenizer.encode(text, add_special_tokens=False)) for text in ("</think><answer>", "</answer>", "\n")
    )
    estimator = Refined(
        AnswerLikelihood(postfix, closing), stride=1, boundaries=StepBoundaries(after_ids=tuple(line_break))
    )
    torch.manual_seed(arguments.seed)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        rollout = CompactingSampler(model, tokenizer, 160)([row["prompt"] for row in problems], arguments.samples)
        information = estimator(model, rollout)
    asked = [row for row in problems for _ in range(arguments.samples)]
    rewards = score_rollout(rollout, asked, tokenizer, {"accuracy": MathAnswer()}).total
    measured, mask, groups = rollout.reasoning_mask, rollout.completion_mask, rollout.group_ids
    signals = TokenSignals(information=information, information_mask=measured)
    terms = InformationAware(GroupRelative())(rewards, groups, mask, signals).terms
    texts = zip(rollout.completion_ids, mask, strict=True)
    lines = [lines_of(tokenizer, ids[real].tolist(), *line_break) for ids, real in texts]
    labels = [[name for name, count in own for _ in range(count)] for own in lines]
    nats = information_by_class(information, measured, mask, groups, labels)
    outcome, paid = (information_by_class(terms[name], measured, mask, groups, labels) for name in terms)
    counts, tokens = Counter(), Counter()
    for own in lines:
        for name, count in own:
            counts[name] += 1
            tokens[name] += count
    rows = []
    for name in KINDS:
        if name in nats:
            shares = f"{counts[name] / len(lines):.2f} | {tokens[name] / counts[name]:.1f}"
            means = " | ".join(with_error(each[name]) for each in (nats, paid, outcome))
            rows.append(f"| {name} | {shares} | {means} |")
    return rows


def with_error(estimate: Estimate) -> str:
    error = estimate.standard_error
    return f"{estimate.value:+.3f}" + ("" if error is None else f" ({error:.3f})")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", type=Path, nargs=2, help="before and after")
    parser.add_argument("--problems", type=Path, required=True, help="as `iapo compare` keeps them")
    parser.add_argument("--count", type=int, default=32, help="problems, from the first")
    parser.add_argument("--samples", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, required=True)
    arguments = parser.parse_args()
    problems = json.loads(arguments.problems.read_text())["rows"][: arguments.count]
    columns = "line", "of a completion", "tokens", "nats per token", "information term", "outcome term"
    head = [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    parts = []
    for title, path in zip(("Before training", "After training"), arguments.models, strict=True):
        parts.append("\n".join([f"{title}:", "", *head, *measure(path, problems, arguments)]))
    arguments.output.write_text("\n\n".join(parts) + "\n")
    print(arguments.output.read_text())


if __name__ == "__main__":
    main()
