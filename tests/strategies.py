"""Hypothesis strategies for rollouts: ragged prompts and completions, reasoning spans, answers, garbage in padding."""

import torch
from hypothesis import strategies as st

from iapo import Rollout


@st.composite
def rollouts(
    draw: st.DrawFn,
    vocab: int = 31,
    max_batch: int = 4,
    max_prompt: int = 6,
    max_token: int = 9,
    max_answer: int = 3,
    holes: bool = True,
) -> Rollout:
    """A rollout with padding of random width and random token ids everywhere, padding included."""
    batch = draw(st.integers(1, max_batch))
    seed = draw(st.integers(0, 2**31 - 1))
    prompts = draw(st.lists(st.integers(1, max_prompt), min_size=batch, max_size=batch))
    tokens = draw(st.lists(st.integers(0, max_token), min_size=batch, max_size=batch))
    answers = draw(st.lists(st.integers(0, max_answer), min_size=batch, max_size=batch))
    prompt_width = max(prompts) + draw(st.integers(0, 3))
    token_width = max(1, max(tokens) + draw(st.integers(0, 3)))
    answer_width = max(1, max(answers) + draw(st.integers(0, 1)))
    generator = torch.Generator().manual_seed(seed)

    def ids(width: int) -> torch.Tensor:
        return torch.randint(0, vocab, (batch, width), generator=generator)

    completion_mask = torch.arange(token_width) < torch.tensor(tokens)[:, None]
    starts = draw(st.lists(st.integers(0, 3), min_size=batch, max_size=batch))
    reasoning_mask = completion_mask & (torch.arange(token_width) >= torch.tensor(starts)[:, None])
    if holes and draw(st.booleans()):
        reasoning_mask &= torch.rand(batch, token_width, generator=generator) < 0.7
    return Rollout(
        prompt_ids=ids(prompt_width),
        prompt_mask=torch.arange(prompt_width).flip(0) < torch.tensor(prompts)[:, None],
        completion_ids=ids(token_width),
        completion_mask=completion_mask,
        reasoning_mask=reasoning_mask,
        group_ids=torch.arange(batch) // 2,
        answer_ids=ids(answer_width),
        answer_mask=torch.arange(answer_width) < torch.tensor(answers)[:, None],
    )
