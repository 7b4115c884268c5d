"""The released code's formulas against a loop over answer entropies, and the faults that make them what they are."""

import dataclasses
import itertools

import pytest
import references
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoModelForCausalLM

from iapo import TokenSignals
from iapo.advantages import GroupRelative, InformationAware, OfficialCompat
from iapo.embedded import generate_problems, model_path
from iapo.estimators import EarlyExitEntropy
from iapo.rollout import TransformersSampler


@given(st.integers(0, 2**31 - 1), st.integers(1, 6), st.integers(0, 3))
def test_against_the_loop(seed, token, padding):
    generator = torch.Generator().manual_seed(seed)
    answer_entropy = torch.rand(3, token + 1, generator=generator, dtype=torch.float64)
    entropy = torch.rand(3, token + padding, generator=generator, dtype=torch.float64)
    rewards = torch.tensor([1.0, 0.0, -1.0], dtype=torch.float64)
    ids, mask = torch.tensor([0, 0, 0]), torch.zeros(3, token + padding, dtype=torch.bool)
    mask[:, :token] = True
    pad = torch.zeros(3, padding, dtype=torch.float64)
    information = torch.cat([answer_entropy[:, :-1] - answer_entropy[:, 1:], pad], 1)
    signals = TokenSignals(information=information, policy_entropy=entropy)
    found = OfficialCompat(0.7, 0.3)(rewards, ids, mask, signals).advantages
    outcome = references.group_relative(rewards.tolist(), [0, 0, 0], 1e-4)
    for i, sign in enumerate([1, 0, -1]):
        h = answer_entropy[i].tolist()
        row = [(h[t] + h[t - 1]) / 2 - h[t + 1] if t else h[0] - h[1] for t in range(token)]
        term = references.released_term(row + [0.0] * padding)
        explored = references.released_term(entropy[i, :token].tolist() + [0.0] * padding)
        expected = [outcome[i] + 0.7 * s - sign * 0.3 * e for s, e in zip(term, explored, strict=True)]
        torch.testing.assert_close(found[i, :token], torch.tensor(expected[:token], dtype=torch.float64))
    assert not found[:, token:].any()


def released_row(h: list[float], width: int) -> list[float]:
    """The released block over a whole completion: ``x_t`` from its ``L + 1`` entropies, 0 at padding, before ``n``.

    ``H`` is 0 beyond the ends: before the first token, and behind the last.
    """
    length = len(h) - 1
    padded = [0.0, *h[:length], 0.0]
    return [(padded[t] + padded[t - 1]) / 2 - padded[t + 1] for t in range(1, length + 1)] + [0.0] * (width - length)


def compared(probes: list[list[float]], measured: list[list[bool]], width: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Our term and the released one at all completion tokens, one after the other, float64."""
    assigner, zero = OfficialCompat(1.0, 0.0, GroupRelative(allow_singletons=True)), torch.zeros(1, dtype=torch.float64)
    ours, released = [], []
    for h, span in zip(probes, measured, strict=True):
        length = len(h) - 1
        information, mask = torch.zeros(1, width, dtype=torch.float64), torch.zeros(1, width, dtype=torch.bool)
        information[0, :length] = torch.tensor([a - b for a, b in itertools.pairwise(h)])
        among = mask.clone()
        mask[0, :length], among[0, :length] = True, torch.tensor(span)
        signals = TokenSignals(information=information, information_mask=among)
        ours.append(assigner(zero, torch.tensor([0]), mask, signals).advantages[0, :length])
        released.append(torch.tensor(references.released_term(released_row(h, width))[:length], dtype=torch.float64))
    return torch.cat(ours), torch.cat(released)


def difference(ours: torch.Tensor, released: torch.Tensor) -> float:
    return float((ours - released).norm() / released.norm())


@given(st.lists(st.integers(0, 48), min_size=3, max_size=12), st.integers(0, 3))
def test_it_differs_from_the_released_block_at_the_ends(sixteenths, padding):
    """Half of the first entropy and the whole last one: with these put back the two are one."""
    h, length = [value / 16 for value in sixteenths], len(sixteenths) - 1
    row = [a - b + (h[t - 1] - h[t] if t else 0) / 2 for t, (a, b) in enumerate(itertools.pairwise(h))]
    row[0] -= h[0] / 2
    row[-1] += h[-1]
    released = torch.tensor(released_row(h, length + padding))
    torch.testing.assert_close(torch.tensor([*row, *[0.0] * padding]), released, atol=0, rtol=0)
    # Where both of these are 0 there is no difference: not before ``n``, and not after it.
    closed = [0.0, *h[1:-1], 0.0]
    ours, found = compared([closed], [[True] * length], length + padding)
    torch.testing.assert_close(ours, found)


@pytest.mark.parametrize(("length", "size"), [(10, 0.35), (100, 0.26), (1000, 0.25)])
def test_the_size_of_that_where_entropy_falls_in_a_line(length, size):
    h = torch.linspace(1, 0, length + 1, dtype=torch.float64).tolist()
    assert difference(*compared([h], [[True] * length], length)) == pytest.approx(size, abs=5e-3)


def test_the_size_of_that_on_the_embedded_model(embedded_tokenizer):
    model = AutoModelForCausalLM.from_pretrained(model_path())
    prompts = [problem.prompt for problem in generate_problems(16, seed=0)]
    rollout = TransformersSampler(model, embedded_tokenizer, max_new_tokens=64)(prompts, 4)
    whole = dataclasses.replace(rollout, reasoning_mask=rollout.completion_mask)
    postfix = tuple(embedded_tokenizer("</think><answer>", add_special_tokens=False)["input_ids"])
    lengths = rollout.completion_mask.sum(1).tolist()
    probes = EarlyExitEntropy(postfix).probe(model, whole)
    h = [row[: length + 1] for row, length in zip(probes.tolist(), lengths, strict=True)]
    for mask, size, correlation in ((whole.reasoning_mask, 0.23, 0.97), (rollout.reasoning_mask, 0.46, 0.90)):
        spans = [row[:length] for row, length in zip(mask.tolist(), lengths, strict=True)]
        ours, released = compared(h, spans, mask.shape[1])
        assert difference(ours, released) == pytest.approx(size, abs=0.05)
        assert float(torch.corrcoef(torch.stack([ours, released]))[0, 1]) == pytest.approx(correlation, abs=0.03)


def test_its_faults_are_kept():
    rewards, ids, mask = torch.tensor([1.0, 0.0]), torch.tensor([0, 0]), torch.ones(2, 3, dtype=torch.bool)
    information = torch.tensor([[0.1, 0.5, 0.2], [0.3, 0.1, 0.4]])
    narrow = OfficialCompat(1.0, 0.0)(rewards, ids, mask, TokenSignals(information=information)).advantages
    pad = torch.nn.functional.pad
    wide = OfficialCompat(1.0, 0.0)(rewards, ids, pad(mask, (0, 2)), TokenSignals(information=pad(information, (0, 2))))
    assert (wide.advantages[:, :3] - narrow).abs().max() > 0.05
    paper = InformationAware.paper(1.0, 0.0)(rewards, ids, mask, TokenSignals(information=information)).advantages
    assert (paper - narrow).abs().max() > 0.05


def test_without_weights_it_is_grpo_to_the_bit():
    rewards, ids, mask = torch.tensor([1.0, 0.0]), torch.tensor([0, 0]), torch.ones(2, 3, dtype=torch.bool)
    assert not OfficialCompat(0.0, 0.0).requires
    expected = GroupRelative()(rewards, ids, mask).advantages
    assert torch.equal(OfficialCompat(0.0, 0.0)(rewards, ids, mask).advantages, expected)


@pytest.mark.parametrize("width", [0, 1, 4])
def test_rows_without_spread_and_garbage(width):
    """Nothing measured, one token, all alike: finite, and NaN beside the measured span changes nothing."""
    rewards, ids, mask = torch.tensor([1.0, 0.0]), torch.tensor([0, 0]), torch.ones(2, width, dtype=torch.bool)
    nothing = TokenSignals(
        information=torch.full((2, width), torch.nan),
        information_mask=torch.zeros(2, width, dtype=torch.bool),
        policy_entropy=torch.zeros(2, width),
    )
    expected = GroupRelative()(rewards, ids, mask).advantages
    assert torch.equal(OfficialCompat(1.0, 1.0)(rewards, ids, mask, nothing).advantages, expected)
    alike = TokenSignals(information=torch.zeros(2, width), policy_entropy=torch.full((2, width), 0.3))
    term = OfficialCompat(0.0, 1.0)(rewards, ids, mask, alike).advantages - expected
    torch.testing.assert_close(term[0], torch.full((width,), -1 / max(1, width) ** 0.5), atol=1e-6, rtol=0)


def test_bad_parameters_are_named():
    with pytest.raises(ValueError, match=r"beta: got -1\.0"):
        OfficialCompat(1.0, -1.0)
