"""Where the answer is there: curves of right completions of the embedded task, and bisection against all probes.

    python benchmarks/sufficient.py

Completions of the embedded base model, the right ones; their own answer's likelihood after every prefix. "There" means
a probability of at least `--threshold`. First the curves: in how many the answer was there and was lost again, and the
mean share of the reasoning up to where it is first there, and from where on it stays. Then bisection (`Bisected`): the
share of completions whose curve it told to be not monotone and probed everywhere, the share in which it found the
prefix that all probes find, the mean distance from that in tokens, and the share of prefixes that were probed.

Prints Markdown.
"""

import argparse

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from iapo.embedded import generate_problems, model_path, rows
from iapo.estimators import AnswerLikelihood, Bisected
from iapo.estimators.packed import needed_probes
from iapo.ops.sufficient_prefix import is_there, sufficient_prefix
from iapo.rewards import MathAnswer
from iapo.rewards.rollouts import score_rollout
from iapo.rollout import CompactingSampler


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--problems", type=int, default=64)
    parser.add_argument("--samples", type=int, default=4)
    parser.add_argument("--threshold", type=float, default=0.5)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    torch.manual_seed(arguments.seed)
    tokenizer = AutoTokenizer.from_pretrained(model_path())
    model = AutoModelForCausalLM.from_pretrained(model_path())
    problems = rows(generate_problems(arguments.problems, seed=arguments.seed))
    sampler = CompactingSampler(model, tokenizer, max_new_tokens=128)
    rollout = sampler([row["prompt"] for row in problems], arguments.samples)
    columns = [problems[group] for group in rollout.group_ids.tolist()]
    scores = score_rollout(rollout, columns, tokenizer, {"accuracy": MathAnswer()})
    rollout = rollout.select(scores.correct.nonzero().flatten())
    postfix, closing = (tuple(tokenizer.encode(text)) for text in ("</think><answer>", "</answer>"))
    estimator, needed = AnswerLikelihood(postfix, closing), needed_probes(rollout)
    begins, reasoning = needed.long().argmax(1), needed.sum(1) - 1
    curve = estimator.prefix_values(model, rollout)
    whole = sufficient_prefix(is_there(curve, needed, arguments.threshold), needed)

    print(f"{len(rollout)} right completions of {float(reasoning.float().mean()):.1f} tokens of reasoning.\n")
    print("| lost again | first there, share of the reasoning | stays from, share |\n|---|---|---|")
    shares = [(((each - begins) / reasoning).mean()) for each in (whole.first, whole.length)]
    print(f"| {float(whole.lost.float().mean()):.2f} | {float(shares[0]):.3f} | {float(shares[1]):.3f} |\n")
    print("| checks | told | same prefix | distance, tokens | probed |\n|---|---|---|---|---|")
    for checks in (0, 1, 3, 7, 15):
        found = Bisected(estimator, arguments.threshold, checks=checks).bisect(model, rollout)
        prefix = sufficient_prefix(is_there(found.probes, needed, arguments.threshold), needed)
        same, distance = prefix.length == whole.length, (prefix.length - whole.length).abs()
        shown = (~found.monotone).float().mean(), same.float().mean(), distance.float().mean()
        told, equal, far = (float(value) for value in shown)
        print(f"| {checks} | {told:.2f} | {equal:.2f} | {far:.1f} | {float(found.probed.sum() / needed.sum()):.2f} |")


if __name__ == "__main__":
    main()
