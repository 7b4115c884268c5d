"""What the shape checks of the interfaces cost per call: each checked `__call__` against its bare hook, in turn.

Run: python benchmarks/checks.py
"""

import statistics
import time

import torch
from torch import nn

from iapo import AdvantageAssigner, AdvantageOutput, LossOutput, MIEstimator, PolicyLoss, Rollout, TokenSignals


class NoMaths(MIEstimator, AdvantageAssigner, PolicyLoss):
    """Hooks that return prepared tensors, so that a call is nothing but its checks."""

    def __init__(self, batch: int, token: int) -> None:
        self.values = torch.zeros(batch, token + 1)
        self.mask = torch.ones(batch, token, dtype=torch.bool)
        self.output = AdvantageOutput(self.values[:, 1:], self.mask, {})
        self.loss = LossOutput(torch.zeros(()), {})

    def probe(self, model, rollout):
        return self.values

    def assign(self, inputs):
        return self.output

    def compute(self, inputs):
        return self.loss

    def denominator(self, loss_mask):
        return torch.ones(())


def microseconds(function, repeats: int = 9, calls: int = 300) -> float:
    """Median over repeats of the mean time of a call."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        for _ in range(calls):
            function()
        times.append((time.perf_counter() - start) / calls * 1e6)
    return statistics.median(times)


def main(batch: int = 64, token: int = 64) -> None:
    """Print the table."""
    torch.set_num_threads(1)
    part = NoMaths(batch, token)
    ids, mask = torch.zeros(batch, token, dtype=torch.long), torch.ones(batch, token, dtype=torch.bool)
    fields = {"prompt_ids": ids, "prompt_mask": mask, "completion_ids": ids, "completion_mask": mask}
    fields |= {"reasoning_mask": mask, "group_ids": torch.arange(batch)}
    rollout, model = Rollout(**fields), nn.Identity()
    rewards, groups, one = torch.zeros(batch), torch.arange(batch) // 8, torch.ones(())
    logprobs, signals = torch.zeros(batch, token), TokenSignals()
    loss = {"policy_logprobs": logprobs, "old_logprobs": logprobs, "advantages": logprobs, "loss_mask": mask}
    calls = {
        "Rollout(...)": lambda: Rollout(**fields),
        "MIEstimator.__call__": lambda: MIEstimator.__call__(part, model, rollout),
        "AdvantageAssigner.__call__": lambda: AdvantageAssigner.__call__(part, rewards, groups, mask, signals),
        "PolicyLoss.__call__": lambda: PolicyLoss.__call__(part, **loss, denominator=one),
    }
    print(f"torch {torch.__version__}, 1 thread, batch {batch}, token {token}\n")
    print("| call | checks and all, us |\n|---|---|")
    for name, call in calls.items():
        print(f"| `{name}` | {microseconds(call):.0f} |")


if __name__ == "__main__":
    main()
