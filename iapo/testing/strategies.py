"""Hypothesis strategies for the records between components: ragged, with holes in masks and garbage in padding."""

import torch
from hypothesis import strategies as st
from jaxtyping import Bool
from torch import Tensor

from iapo.interfaces import information_between
from iapo.ops.correct import correct_by
from iapo.ops.masked import beside
from iapo.testing.models import VOCAB
from iapo.types import AdvantageInputs, LossInputs, Rollout, TokenSignals

_SEEDS = st.integers(0, 2**31 - 1)


@st.composite
def rollouts(
    draw: st.DrawFn,
    vocab: int = VOCAB,
    max_batch: int = 4,
    max_token: int = 9,
    holes: bool = True,
) -> Rollout:
    """A rollout with padding of random width and random token ids everywhere, padding included.

    Completions, answers and reasoning spans may be empty; groups are pairs of rows that follow each other.

    Args:
        vocab: token ids are below it.
        max_batch: the most completions.
        max_token: the most tokens of a completion.
        holes: whether the reasoning span may have holes.
    """
    batch = draw(st.integers(1, max_batch))
    generator = torch.Generator().manual_seed(draw(_SEEDS))
    prompts = draw(st.lists(st.integers(1, 6), min_size=batch, max_size=batch))
    tokens = draw(st.lists(st.integers(0, max_token), min_size=batch, max_size=batch))
    answers = draw(st.lists(st.integers(0, 3), min_size=batch, max_size=batch))
    prompt_width = max(prompts) + draw(st.integers(0, 3))
    token_width = max(1, max(tokens) + draw(st.integers(0, 3)))
    answer_width = max(1, max(answers) + draw(st.integers(0, 1)))

    def ids(width: int) -> Tensor:
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
        sampler_logprobs=-3 * torch.rand(batch, token_width, generator=generator) * completion_mask,
        answer_ids=ids(answer_width),
        answer_mask=torch.arange(answer_width) < torch.tensor(answers)[:, None],
    )


@st.composite
def token_signals(draw: st.DrawFn, completion_mask: Bool[Tensor, "batch token"]) -> TokenSignals:
    """All signals of completions: 0 outside ``completion_mask``, and where information was not measured.

    The information is the difference of the prefix values, which are log-likelihoods. The reasoning is what was
    measured. There are 12 token ids and two reward functions.

    Args:
        completion_mask: of the completions. The information mask is a subset of it with holes, or ``None``.
    """
    generator = torch.Generator().manual_seed(draw(_SEEDS))
    shape = completion_mask.shape
    measured = completion_mask
    if holes := draw(st.booleans()):
        measured = completion_mask & (torch.rand(shape, generator=generator) < 0.8)
    values = -3 * torch.rand(shape[0], shape[1] + 1, generator=generator) * beside(measured)
    return TokenSignals(
        information=information_between(values, measured),
        information_mask=measured if holes else None,
        prefix_values=values,
        policy_entropy=torch.rand(shape, generator=generator) * 3 * completion_mask,
        policy_logprobs=-torch.rand(shape, generator=generator) * 3 * completion_mask,
        completion_ids=torch.randint(0, 12, shape, generator=generator) * completion_mask,
        reasoning_mask=measured,
        reward_columns=torch.randint(0, 3, (shape[0], 2), generator=generator) / 2,
        reference_length=1 + 8 * torch.rand(shape[0], generator=generator),
        reference_accuracy=torch.rand(shape[0], generator=generator),
        outcome_advantages=torch.randn(shape, generator=generator) * completion_mask,
    )


@st.composite
def reward_batches(
    draw: st.DrawFn,
    min_group: int = 2,
    max_group: int = 4,
    ties: bool = True,
) -> AdvantageInputs:
    """What an `iapo.AdvantageAssigner` is given: ragged completions with all signals, in interleaved groups.

    Some completions are empty.

    Args:
        min_group: the fewest completions of a group.
        max_group: the most.
        ties: whether completions may have equal rewards (0, 0.5 or 1) and lengths, some batches one length only; else
            all differ in both.
    """
    sizes = draw(st.lists(st.integers(min_group, max_group), min_size=1, max_size=3))
    group_ids = draw(st.permutations([100 + 7 * group for group, size in enumerate(sizes) for _ in range(size)]))
    batch = len(group_ids)
    longest = draw(st.sampled_from([9, 2])) if ties else max(9, batch)
    ragged = st.lists(st.integers(0, longest), min_size=batch, max_size=batch, unique=not ties)
    lengths = draw(st.one_of(ragged, st.just([longest] * batch)) if ties else ragged)
    width = max(1, max(lengths) + draw(st.integers(0, 2)))
    mask = torch.arange(width) < torch.tensor(lengths)[:, None]
    generator = torch.Generator().manual_seed(draw(_SEEDS))
    tied, untied = torch.randint(0, 3, (batch,), generator=generator) / 2, torch.rand(batch, generator=generator)
    rewards = tied if ties else untied
    correct = correct_by(rewards) if draw(st.booleans()) else torch.rand(batch, generator=generator) < 0.5
    return AdvantageInputs(rewards, correct, torch.tensor(group_ids), mask, draw(token_signals(mask)))


@st.composite
def loss_inputs(draw: st.DrawFn, max_batch: int = 6, max_token: int = 7) -> LossInputs:
    """What an `iapo.PolicyLoss` is given; the loss mask has holes, or is full, or empty.

    The denominator is the number of tokens in the loss, at least 1; a loss with another one replaces it.

    Args:
        max_batch: the most completions.
        max_token: the most tokens.
    """
    shape = (draw(st.integers(1, max_batch)), draw(st.integers(1, max_token)))
    generator = torch.Generator().manual_seed(draw(_SEEDS))
    density = draw(st.sampled_from([0.5, 1.0, 0.0]))

    def normal(scale: float) -> Tensor:
        return scale * torch.randn(shape, generator=generator, dtype=torch.float64)

    policy = normal(1.0) - 2
    old, reference, advantages = policy + normal(0.3), policy + normal(0.3), normal(1.0)
    mask = torch.rand(shape, generator=generator) < density
    return LossInputs(policy, old, advantages, mask, mask.sum().clamp(min=1).double(), reference, old + normal(0.3))
