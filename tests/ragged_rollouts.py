"""A small rollout with padding on both sides, an empty row and answers of several lengths, for tests."""

import torch

from iapo import Rollout


def rollout(batch: int = 3, prompt: int = 4, token: int = 6, padding: int = 2) -> Rollout:
    generator = torch.Generator().manual_seed(3)
    lengths = torch.tensor([token, 0, 2])[:batch]
    mask = torch.arange(token) < lengths[:, None]
    return Rollout(
        prompt_ids=torch.randint(0, 31, (batch, prompt + padding), generator=generator),
        prompt_mask=(torch.arange(prompt + padding) >= padding).expand(batch, -1),
        completion_ids=torch.randint(0, 31, (batch, token), generator=generator),
        completion_mask=mask,
        reasoning_mask=mask & (torch.arange(token) < token - 2),
        group_ids=torch.zeros(batch, dtype=torch.long),
        answer_ids=torch.randint(0, 31, (batch, 2), generator=generator),
        answer_mask=torch.tensor([[True, True], [True, False], [False, False]])[:batch],
    )
