"""What every assigner keeps: order, padding and garbage change nothing, odd batches are fine, a config can name it."""

import dataclasses

import pytest
import torch
from advantage_batches import batches
from hypothesis import given
from hypothesis import strategies as st
from jsonargparse import ArgumentParser

from iapo import AdvantageAssigner, TokenSignals
from iapo.advantages import (
    GFPO,
    GRPOS,
    GTPO,
    RLOO,
    SGRPO,
    AroraZanette,
    GroupRelative,
    InformationAware,
    KimiLength,
    L1Length,
    LengthShaped,
    OfficialCompat,
    OverlongFiltered,
    ReinforcePlusPlus,
    ShorterBetter,
    SoftOverlong,
    ThinkPrune,
)
from iapo.advantages.schedules import Cosine, Linear

SHAPINGS = [KimiLength(), L1Length(5, 0.1), AroraZanette(), ShorterBetter(), ThinkPrune(5), SoftOverlong(9, 4)]
DETERMINISTIC = [
    GroupRelative(),
    RLOO(),
    ReinforcePlusPlus(),
    ReinforcePlusPlus(0.9),
    GTPO(),
    GRPOS(),
    OverlongFiltered(GroupRelative(), 6),
    InformationAware(beta=0.2),
    InformationAware.paper(1.0, 0.1),
    InformationAware(
        scale="none", horizon=2, applies_to="correct", covers="completion", exploration="policy_entropy", beta=0.2
    ),
    *(LengthShaped(GroupRelative(), shaping) for shaping in SHAPINGS),
]
# Ties of GFPO go by order, S-GRPO's draws and the released code's statistics run over the padding.
OTHERS = [GFPO(2), GFPO(3, "reward_per_token"), SGRPO(GroupRelative(), 2, 0.5), OfficialCompat(1.0, 1.0)]


def name(assigner):
    inner = getattr(assigner, "shaping", assigner)
    return type(inner).__name__


def poisoned(signals, mask, order, width):
    """The signals in another order, wider, and NaN wherever nothing was measured."""

    def widen(values, fill):
        return torch.nn.functional.pad(values[order], (0, width), value=fill)

    measured = signals.information_mask
    return TokenSignals(
        information=widen(signals.information.masked_fill(~measured, torch.nan), torch.nan),
        information_mask=widen(measured, False),
        policy_entropy=widen(signals.policy_entropy.masked_fill(~mask, torch.nan), torch.nan),
        policy_logprobs=widen(signals.policy_logprobs.masked_fill(~mask, torch.nan), torch.nan),
    ), widen(mask, False)


@pytest.mark.parametrize("assigner", [*DETERMINISTIC, *OTHERS[:2]], ids=name)
@given(batch=batches(), width=st.integers(0, 3), seed=st.integers(0, 99))
def test_order_padding_and_garbage_change_nothing(assigner, batch, width, seed):
    rewards, ids, mask, signals = batch
    expected = assigner(rewards, ids, mask, signals)
    order = torch.arange(len(rewards))
    if not isinstance(assigner, GFPO):
        order = torch.randperm(len(rewards), generator=torch.Generator().manual_seed(seed))
    garbage, wide = poisoned(signals, mask, order, width)
    found = assigner(rewards[order], ids[order], wide, garbage)
    torch.testing.assert_close(found.advantages[:, : mask.shape[1]], expected.advantages[order], atol=2e-5, rtol=1e-5)
    assert torch.equal(found.loss_mask[:, : mask.shape[1]], expected.loss_mask[order])
    assert not found.advantages[:, mask.shape[1] :].any()
    assert found.metrics == pytest.approx(expected.metrics, abs=1e-5)


@pytest.mark.parametrize("assigner", [*DETERMINISTIC, *OTHERS], ids=name)
@given(batch=batches(), value=st.sampled_from([0.0, 0.1, 1.0]))
def test_any_batch_is_fine_and_left_as_it_was(assigner, batch, value):
    _, ids, mask, signals = batch
    rewards, before = torch.full((len(ids),), value), (ids.clone(), mask.clone())
    copies = [field.clone() for field in vars(signals).values()]
    output = assigner(rewards, ids, mask, signals)
    assert output.advantages.isfinite().all()
    assert not output.advantages.requires_grad
    assert all(metric == metric for metric in output.metrics.values())
    assert torch.equal(ids, before[0])
    assert torch.equal(mask, before[1])
    assert all(torch.equal(copy, field) for copy, field in zip(copies, vars(signals).values(), strict=True))


@pytest.mark.parametrize("assigner", [*DETERMINISTIC, *OTHERS], ids=name)
@pytest.mark.parametrize("token", [0, 3])
def test_completions_without_tokens_and_batches_without_completions(assigner, token):
    for batch in (0, 4):
        mask = torch.zeros(batch, token, dtype=torch.bool)
        signals = TokenSignals(**dict.fromkeys(("information", "policy_entropy", "policy_logprobs"), mask.float()))
        output = assigner(torch.arange(batch) / 2, torch.arange(batch) // 2, mask, signals)
        assert output.advantages.shape == (batch, token)
        assert not output.advantages.any()
        assert all(metric == metric for metric in output.metrics.values())


@pytest.mark.parametrize("assigner", [*DETERMINISTIC, *OTHERS], ids=name)
def test_at_changes_nothing_without_a_schedule(assigner):
    assert assigner.at(0.3) == assigner


def plain(part):
    """A component as a configuration file spells it."""
    if not dataclasses.is_dataclass(part):
        return part
    settings = {field.name: plain(getattr(part, field.name)) for field in dataclasses.fields(part)}
    return {"class_path": f"{type(part).__module__}.{type(part).__qualname__}", "init_args": settings}


SCHEDULED = [
    InformationAware(alpha=Linear(1.0, 0.0), beta=Cosine(0.0, 0.1)),
    LengthShaped(RLOO(), ThinkPrune(Linear(9, 5))),
    OverlongFiltered(SGRPO(GFPO(4), 8, 0.25), 128),
]


@pytest.mark.parametrize("assigner", [*DETERMINISTIC, *OTHERS, *SCHEDULED], ids=name)
def test_a_configuration_can_name_it(assigner):
    parser = ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(AdvantageAssigner, "assigner")
    settings = parser.parse_object({"assigner": plain(assigner)})
    assert parser.instantiate(settings).assigner == assigner
    again = parser.parse_string(parser.dump(settings))
    assert parser.instantiate(again).assigner == assigner
