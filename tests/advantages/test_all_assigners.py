"""What the contract of `iapo.testing` does not check of assigners: no rows, what `at` keeps, and configurations."""

import dataclasses
import math

import pytest
import torch
from jsonargparse import ArgumentParser

from iapo import AdvantageAssigner, TokenSignals
from iapo.advantages import (
    GDPO,
    GFPO,
    GRPOS,
    GTPO,
    RLOO,
    SGRPO,
    AdaptiveLengthPenalty,
    AroraZanette,
    BatchWhitened,
    BudgetReturns,
    ConfidenceMasked,
    Crop,
    Drift,
    EntropyAdvantage,
    FirstCorrectChunk,
    GivenOutcome,
    GroupRelative,
    GroupRescaling,
    InformationAware,
    KimiLength,
    L1Length,
    Laser,
    LaserD,
    LeaveOutPriced,
    LengthShaped,
    O1Pruner,
    OARReshaped,
    OfficialCompat,
    OfficialGTPO,
    OverlongFiltered,
    PaceLength,
    PermutedInformation,
    RandomInformation,
    RecordGain,
    ReinforcePlusPlus,
    SerialExits,
    ShorterBetter,
    SoftOverlong,
    StepPotential,
    TailPenalty,
    ThinkPrune,
    TurnGain,
)
from iapo.advantages.schedules import Cosine, Linear

SHAPINGS = [
    KimiLength(),
    L1Length(5, 0.1),
    AroraZanette(),
    ShorterBetter(1.9),
    ThinkPrune(5),
    SoftOverlong(9, 4),
    Laser(5, 0.3),
    LaserD((3, 6), 0.3, exploring_weight=0.4),
    AdaptiveLengthPenalty(0.1),
    GroupRescaling(),
    PaceLength(),
]
WRAPPING = [
    OverlongFiltered(GroupRelative(), 6),
    InformationAware(beta=0.2),
    InformationAware.paper(1.0, 0.1),
    LeaveOutPriced(),
    SGRPO(GroupRelative(), 2, 0.5),
    OfficialCompat(1.0, 1.0),
    OfficialGTPO(),
    OARReshaped(),
    *(LengthShaped(GroupRelative(), shaping) for shaping in SHAPINGS),
    TailPenalty(weight=0.3),
    TailPenalty(weight=0.3, paid_by="tail"),
    Crop(closing_weight=0.3),
    FirstCorrectChunk(step=2),
    StepPotential(),
    RecordGain(),
    BudgetReturns((2, 4), (1.0, 2.0)),
    Drift(weight=0.3),
    BatchWhitened(GroupRelative(), over="completions"),
    ConfidenceMasked(GroupRelative(), (3, 5), counting="released"),
    ConfidenceMasked(GroupRelative(), (3, 5)),
    EntropyAdvantage(GroupRelative()),
    PermutedInformation(InformationAware()),
    RandomInformation(InformationAware()),
]
OTHERS = [
    GivenOutcome(),
    GroupRelative(),
    RLOO(),
    ReinforcePlusPlus(),
    ReinforcePlusPlus(0.9),
    GTPO(),
    GRPOS(),
    GFPO(2),
    GFPO(3, "reward_per_token"),
    SerialExits(),
    TurnGain(),
    GDPO(),
    GDPO((1.0, 0.5)),
    O1Pruner(),
]


def name(assigner):
    inner = getattr(assigner, "shaping", assigner)
    return type(inner).__name__


@pytest.mark.parametrize("assigner", [*WRAPPING, *OTHERS], ids=name)
@pytest.mark.parametrize(("batch", "token"), [(0, 0), (0, 3), (4, 0)])
def test_batches_without_completions_or_tokens(assigner, batch, token):
    mask = torch.zeros(batch, token, dtype=torch.bool)
    signals = TokenSignals(
        **dict.fromkeys(("information", "policy_entropy", "policy_logprobs", "outcome_advantages"), mask.float()),
        prefix_values=torch.zeros(batch, token + 1),
        completion_ids=mask.long(),
        reasoning_mask=mask,
        reward_columns=torch.rand(batch, 2),
        reference_length=torch.ones(batch),
        reference_accuracy=torch.ones(batch),
    )
    output = assigner(torch.arange(batch) / 2, torch.arange(batch) // 2, mask, signals)
    assert output.advantages.shape == (batch, token)
    assert not any(math.isnan(metric) for metric in output.metrics.values())


def full_batch():
    """Two groups of three, with every signal, all measured."""
    generator = torch.Generator().manual_seed(0)
    mask = torch.arange(8) < torch.tensor([8, 5, 3, 8, 1, 6])[:, None]
    values = -3 * torch.rand(6, 9, generator=generator)
    signals = TokenSignals(
        information=(values[:, 1:] - values[:, :-1]) * mask,
        prefix_values=values,
        policy_entropy=torch.rand(6, 8, generator=generator),
        policy_logprobs=-torch.rand(6, 8, generator=generator),
        outcome_advantages=torch.randn(6, 8, generator=generator) * mask,
        completion_ids=torch.randint(0, 6, (6, 8), generator=generator),
        reasoning_mask=mask,
        reward_columns=torch.rand(6, 2, generator=generator),
        reference_length=1 + torch.rand(6, generator=generator),
        reference_accuracy=torch.rand(6, generator=generator),
    )
    return torch.tensor([1.0, 0.0, 0.5, 1.0, 1.0, 0.0]), torch.tensor([3, 3, 3, 9, 9, 9]), mask, signals


def numbers(assigner, signals):
    """The signals of floating point that an assigner requires."""
    found = {name: getattr(signals, name) for name in sorted(assigner.requires)}
    return {name: values for name, values in found.items() if values.is_floating_point()}


@pytest.mark.parametrize("assigner", [*WRAPPING, *OTHERS], ids=name)
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_signal_that_is_not_finite_where_it_counts_is_named(assigner, value):
    rewards, ids, mask, signals = full_batch()
    for name, values in numbers(assigner, signals).items():
        wrong = values.clone()
        wrong[(3, 2) if wrong.ndim == 2 and name != "reward_columns" else 3] = value
        with pytest.raises(FloatingPointError, match=rf"^signals.{name}: NaN or infinite value in rows \[3\]"):
            assigner(rewards, ids, mask, dataclasses.replace(signals, **{name: wrong}))


@pytest.mark.parametrize("assigner", [*WRAPPING, *OTHERS], ids=name)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_nothing_is_computed_in_half_precision(assigner, dtype):
    rewards, ids, mask, signals = full_batch()
    half = {name: values.to(dtype) for name, values in numbers(assigner, signals).items()}
    outputs = []
    for given in (half, {name: values.float() for name, values in half.items()}):
        torch.manual_seed(0)
        outputs.append(assigner(rewards, ids, mask, dataclasses.replace(signals, **given)))
    assert torch.equal(outputs[0].advantages, outputs[1].advantages)
    assert outputs[0].metrics == outputs[1].metrics


@pytest.mark.parametrize("assigner", [*WRAPPING, *OTHERS], ids=name)
def test_rewards_whose_spread_overflows_are_refused(assigner):
    rewards, ids, mask, signals = full_batch()
    with pytest.raises(FloatingPointError, match=r"rewards: got numbers up to 1e\+30, whose squares"):
        assigner(1e30 * rewards, ids, mask, signals)


@pytest.mark.parametrize("assigner", [*WRAPPING, *OTHERS], ids=name)
@pytest.mark.parametrize("default", [torch.float64, torch.bfloat16, torch.float16], ids=str)
def test_the_default_dtype_of_torch_changes_no_number(assigner, default):
    given = full_batch()
    found = []
    for dtype in (torch.float32, default):
        torch.manual_seed(0)
        torch.set_default_dtype(dtype)
        try:
            found.append(assigner(*given))
        finally:
            torch.set_default_dtype(torch.float32)
    assert found[1].advantages.dtype == torch.float32
    torch.testing.assert_close(found[1].advantages, found[0].advantages, rtol=0, atol=0)
    assert found[1].metrics == found[0].metrics


@pytest.mark.parametrize("assigner", WRAPPING, ids=name)
def test_at_changes_nothing_without_a_schedule(assigner):
    moment = assigner.at(0.3)
    assert moment is not assigner
    assert moment == assigner


def plain(part):
    """A component as a configuration file spells it."""
    if not dataclasses.is_dataclass(part):
        return part
    settings = {field.name: plain(getattr(part, field.name)) for field in dataclasses.fields(part)}
    return {"class_path": f"{type(part).__module__}.{type(part).__qualname__}", "init_args": settings}


SCHEDULED = [
    InformationAware(alpha=Linear(1.0, 0.0), beta=Cosine(0.0, 0.1)),
    LengthShaped(RLOO(), ThinkPrune(Linear(9, 5))),
    LengthShaped(RLOO(), PaceLength(Linear(1.0, 0.0))),
    OverlongFiltered(SGRPO(GFPO(4), 8, 0.25), 128),
]


@pytest.mark.parametrize("assigner", [*WRAPPING, *OTHERS, *SCHEDULED], ids=name)
def test_a_configuration_can_name_it(assigner):
    parser = ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(AdvantageAssigner, "assigner")
    settings = parser.parse_object({"assigner": plain(assigner)})
    assert parser.instantiate(settings).assigner == assigner
    again = parser.parse_string(parser.dump(settings))
    assert parser.instantiate(again).assigner == assigner
