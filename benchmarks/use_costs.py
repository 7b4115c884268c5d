"""The share of an update that an estimate takes: its seconds by those of the rest of the same update.

    OMP_NUM_THREADS=1 python benchmarks/use_costs.py

Updates of the embedded model as `configs/leave_out.yaml` makes them, 32 prompts x 8, the first of each estimator not
counted: median, lowest and highest. Prints Markdown.
"""

import argparse
import statistics
import time

import torch
from fidelity import row
from use import answer_estimators, leave_outs
from use_cases import embedded_case

from iapo import MIEstimator
from iapo.advantages import LeaveOutPriced
from iapo.embedded import generate_problems, rows
from iapo.estimators import LeaveOut
from iapo.losses import ClippedPolicyLoss
from iapo.optimizers.clipped import ClippedOptimizer
from iapo.policy.loading import load_model
from iapo.rewards import MathAnswer
from iapo.rollout import CompactingSampler
from iapo.training import Components, UpdateSettings, update


def share(estimator: MIEstimator, updates: int, per_group: int | None = None, prompts: int = 32) -> str:
    """Seconds of the estimate by those of the rest of an update of the embedded model: median, lowest and highest."""
    model, tokenizer = load_model("embedded", "cpu")
    assigner = LeaveOutPriced(per_group=per_group)
    optimizer = ClippedOptimizer(torch.optim.AdamW(model.parameters(), lr=1e-6))
    sampler = CompactingSampler(model, tokenizer, max_new_tokens=128)
    components = Components(sampler, {"accuracy": MathAnswer()}, estimator, assigner, ClippedPolicyLoss(), optimizer)
    torch.manual_seed(0)
    data, shares = rows(generate_problems(prompts * updates, 0)), []
    for index in range(updates):
        start = time.perf_counter()
        problems = data[index * prompts : (index + 1) * prompts]
        own = update(problems, model, tokenizer, components, UpdateSettings(8, 64))["iapo/time/estimate"]
        shares.append(own / (time.perf_counter() - start - own))
    return f"{statistics.median(shares[1:]):.0%} ({min(shares[1:]):.0%} to {max(shares[1:]):.0%})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--updates", type=int, default=4)
    settings = parser.parse_args()
    print(row("estimator", "share of the rest of an update") + "\n|---|---|")
    case = embedded_case("test", 1, 1, 0)
    for name, estimator in (leave_outs(case) | answer_estimators(case)).items():
        print(row(name, share(estimator, settings.updates)), flush=True)
    for count in (4, 2, 1):
        cost = share(LeaveOut(case.boundaries), settings.updates, count)
        print(row(f"LeaveOut, window 3, runs 2, {count} of the group's 8", cost), flush=True)


if __name__ == "__main__":
    main()
