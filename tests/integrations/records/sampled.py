"""Completions of the embedded model, as an engine with records holds them, and their token advantages."""

from dataclasses import dataclass

import torch

import iapo
from iapo.embedded import generate_problems, rows
from iapo.integrations.core import Credited, TokenAdvantages
from iapo.ops.padding import pad_rows
from iapo.rewards import ExactAnswer
from iapo.tasks import EmbeddedTask

GROUP = 4


@dataclass(frozen=True)
class Sampled:
    """Prompts and completions as lists of token ids, the group of each, rewards, and a function to credit them."""

    prompts: list[list[int]]
    completions: list[list[int]]
    groups: list[int]
    rewards: list[float]

    def credit(self) -> tuple[Credited, torch.Tensor]:
        """Advantages of tensors that are made of the lists, and the completion mask."""
        model, tokenizer = iapo.load_model("embedded")
        token_advantages = TokenAdvantages(
            tokenizer,
            iapo.LeaveOut(iapo.TextBoundaries(tokenizer, EmbeddedTask.style.steps)),
            iapo.LeaveOutPriced(iapo.GroupRelative()),
            eos_ids=[tokenizer.eos_token_id],
        )
        prompt_ids, prompt_mask = pad_rows(self.prompts, tokenizer.pad_token_id, left=True)
        completion_ids, completion_mask = pad_rows(self.completions, tokenizer.pad_token_id)
        rollout = token_advantages.read(
            prompt_ids, prompt_mask, completion_ids, completion_mask, torch.tensor(self.groups)
        )
        outcome = torch.zeros(completion_ids.shape)
        return token_advantages(model, rollout, torch.tensor(self.rewards), outcome), completion_mask


def sampled() -> Sampled:
    """Three groups, with right and wrong completions among them."""
    torch.manual_seed(0)
    model, tokenizer = iapo.load_model("embedded")
    problems = rows(generate_problems(3, seed=0))
    rollout = iapo.CompactingSampler(model, tokenizer, max_new_tokens=64)([each["prompt"] for each in problems], GROUP)
    columns = [problems[group] for group in rollout.group_ids.tolist()]
    scores = iapo.score_rollout(rollout, columns, tokenizer, {"accuracy": ExactAnswer()})
    return Sampled(
        [ids[mask].tolist() for ids, mask in zip(rollout.prompt_ids, rollout.prompt_mask, strict=True)],
        [ids[mask].tolist() for ids, mask in zip(rollout.completion_ids, rollout.completion_mask, strict=True)],
        rollout.group_ids.tolist(),
        scores.total.tolist(),
    )
