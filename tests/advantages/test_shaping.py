"""Length-aware rewards against naive loops, in their degenerate cases, and under an assigner."""

import dataclasses

import pytest
import references
import torch
from advantage_batches import batches
from hypothesis import given

from iapo import AdvantageInputs, TokenSignals
from iapo.advantages import (
    RLOO,
    AdaptiveLengthPenalty,
    AroraZanette,
    GroupRelative,
    GroupRescaling,
    InformationAware,
    KimiLength,
    L1Length,
    Laser,
    LaserD,
    LengthShaped,
    PaceLength,
    RewardShaping,
    ShorterBetter,
    SoftOverlong,
    ThinkPrune,
)
from iapo.advantages.schedules import Linear
from iapo.advantages.shaping import laser_targets

LASER_D = {"thresholds": (6, 3, 4), "weight": 0.4, "exploring_weight": 0.3, "expected_correct": 1}
SECOND = {"thresholds": (5, 2), "expected_correct": 2}
SHAPINGS = [
    (KimiLength(0.7), references.kimi_length, {"weight": 0.7}),
    (L1Length(4, 0.1), references.l1_length, {"target": 4, "weight": 0.1}),
    (AroraZanette(0.4), references.arora_zanette, {"weight": 0.4}),
    (ShorterBetter(2.0, 0.1), references.shorter_better, {"correct_weight": 2.0, "weight": 0.1}),
    (ThinkPrune(4), references.think_prune, {"limit": 4}),
    (SoftOverlong(8, 5, 0.6), references.soft_overlong, {"max_length": 8, "buffer": 5, "weight": 0.6}),
    (Laser(4, 0.4), references.laser, {"target": 4, "weight": 0.4}),
    (LaserD((6, 3, 4), 0.4, 0.3, expected_correct=1), references.laser_d, LASER_D),
    (LaserD((5, 2), 0.4, 0.3, expected_correct=2), references.laser_d, LASER_D | SECOND),
    (AdaptiveLengthPenalty(0.05), references.adaptive_penalty, {"weight": 0.05}),
    (GroupRescaling(0.3), references.group_rescaling, {"weight": 0.3}),
    (PaceLength(0.8), references.pace_length, {"weight": 0.8}),
]


@pytest.mark.parametrize(("shaping", "loop", "settings"), SHAPINGS, ids=lambda value: type(value).__name__)
@given(batch=batches())
def test_against_the_loop(shaping, loop, settings, batch):
    rewards, ids, mask, _ = batch
    lengths = mask.sum(1)
    expected = loop(rewards.tolist(), ids.tolist(), lengths.tolist(), **settings)
    torch.testing.assert_close(shaping(rewards, ids, lengths), torch.tensor(expected), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("shaping", "loop", "settings"), SHAPINGS, ids=lambda value: type(value).__name__)
def test_the_assigner_gets_the_shaped_rewards(shaping, loop, settings):
    rewards, ids = torch.tensor([1.0, 1.0, 0.0, 0.0]), torch.tensor([2, 2, 2, 2])
    mask = torch.arange(7) < torch.tensor([3, 7, 0, 5])[:, None]
    shaped = loop(rewards.tolist(), ids.tolist(), [3, 7, 0, 5], **settings)
    output = LengthShaped(RLOO(), shaping)(rewards, ids, mask)
    expected = torch.tensor(references.rloo(shaped, ids.tolist()))[:, None] * mask
    torch.testing.assert_close(output.advantages, expected, atol=1e-5, rtol=1e-5)
    assert output.metrics["iapo/shaped_reward"] == pytest.approx(sum(shaped) / 4)


def of(shaping, rewards, lengths):
    """Rewards of one group."""
    ids = torch.zeros(len(rewards), dtype=torch.long)
    return shaping(torch.tensor(rewards), ids, torch.tensor(lengths)).tolist()


def test_degenerate_groups():
    assert of(KimiLength(), [1.0, 0.0], [5, 5]) == [1.0, 0.0]
    assert of(KimiLength(), [1.0], [5]) == [1.0]
    assert of(KimiLength(), [0.0, 0.0], [2, 6]) == [0.0, -0.5]
    assert of(AroraZanette(0.5), [1.0, 1.0, 0.0], [5, 5, 9]) == [0.75, 0.75, 0.0]
    assert of(AroraZanette(0.5), [0.0, 0.0], [5, 9]) == [0.0, 0.0]
    assert of(ShorterBetter(2.0, 0.5), [0.0, 0.0], [2, 6]) == [-1.0, -1.0]
    assert of(ShorterBetter(2.0, 0.5), [1.0], [0]) == [2.0]
    assert of(ThinkPrune(5), [1.0, 1.0, 0.0], [5, 6, 0]) == [1.0, 0.0, 0.0]
    assert of(SoftOverlong(10, 10), [1.0, 1.0], [0, 10]) == [1.0, 0.0]


def test_degenerate_groups_of_the_peers():
    assert of(Laser(5, 0.5), [1.0, 0.0], [6, 5]) == [1.0, 0.0]
    assert of(LaserD((2,), exploring_weight=0.5), [1.0, 1.0, 0.0], [5, 6, 7]) == [1.5, 1.5, 0.0]
    assert of(AdaptiveLengthPenalty(0.25), [0.0, 0.0], [4, 8]) == [-0.5, -1.0]
    assert of(GroupRescaling(1.0), [1.0, 0.0], [0, 0]) == [1.0, 0.0]
    assert of(GroupRescaling(1.0), [1.0, 0.0], [3, 3]) == [0.5, 0.0]
    assert of(PaceLength(1.0), [0.0, 0.0], [2, 6]) == [0.0, 0.0]
    assert of(PaceLength(1.0), [1.0, 1.0], [4, 4]) == [1.0, 1.0]


def test_targets_of_laser_d_follow_from_difficulty():
    """Easy prompts may be short, hard ones long: 5 right completions of 8 are sure, 2, or 1."""
    lengths = torch.tensor([1, 2, 3, 4, 5, 6, 7, 8] * 2 + [1, 2, 3, 4, 5, 6, 6, 6])
    ids = torch.arange(3).repeat_interleave(8)
    correct = torch.cat([torch.arange(8) < right for right in (7, 4, 1)])
    targets = laser_targets(correct, ids, lengths, (2, 4, 6, 8), expected_correct=1)
    assert targets[::8].tolist() == [2, 4, 6]
    assert torch.equal(targets, targets[::8].repeat_interleave(8))
    assert laser_targets(correct[:0], ids[:0], lengths[:0], (2,), expected_correct=1).tolist() == []


def test_the_length_counts_where_a_prompt_is_easy():
    gain = [of(PaceLength(1.0), [1.0] * right + [0.0] * (4 - right), [2, 4, 6, 8])[0] - 1 for right in (1, 2, 3, 4)]
    assert gain == sorted(gain)
    assert gain[-1] == pytest.approx(0.5)
    fading = PaceLength(Linear(1.0, 0.0))
    assert of(fading.at(0.5), [1.0, 1.0], [2, 4]) == pytest.approx([1.25, 0.75])
    assert of(fading.at(1.0), [1.0, 1.0], [2, 4]) == [1.0, 1.0]
    with pytest.raises(ValueError, match=r"weight: got the schedule Linear.* call at"):
        of(fading, [1.0, 1.0], [2, 4])


@given(batches())
def test_correct_is_what_the_caller_says(batch):
    """The same as for rewards of 0 and 1, whatever the rewards are, where they serve only to tell who is correct."""
    rewards, ids, mask, _ = batch
    correct, lengths = rewards > 0.5, mask.sum(1)
    for shaping in (L1Length(3, 0.1), AroraZanette(0.4), ShorterBetter(2.0, 0.1), ThinkPrune(5)):
        expected = shaping(correct.to(rewards.dtype), ids, lengths)
        assert torch.equal(shaping(5 - rewards, ids, lengths, correct), expected)
    for shaping in (KimiLength(0.7), Laser(4, 0.4), LaserD(**LASER_D), PaceLength(0.7), AdaptiveLengthPenalty(0.1)):
        added = shaping(rewards, ids, lengths, correct) - rewards
        found = shaping(5 - rewards, ids, lengths, correct) - (5 - rewards)
        torch.testing.assert_close(found, added, atol=1e-5, rtol=0)


@pytest.mark.parametrize("around", [True, False])
def test_beside_shaped_rewards_correct_means_what_it_did(around):
    """A long correct completion stays correct for the exploration term although its shaped reward is low."""
    rewards, ids, mask = torch.tensor([1.0, 0.0]), torch.tensor([0, 0]), torch.ones(2, 2, dtype=torch.bool)
    signals = TokenSignals(policy_logprobs=torch.tensor([[-0.1, -2.0], [-0.1, -2.0]]))
    shaping = L1Length(target=100, weight=1.0)
    shaped, explores = LengthShaped(GroupRelative(), shaping), InformationAware(GroupRelative(), alpha=0.0, beta=1.0)
    both = dataclasses.replace(explores, outcome=shaped) if around else LengthShaped(explores, shaping)
    term = both(rewards, ids, mask, signals).advantages - shaped(rewards, ids, mask).advantages
    torch.testing.assert_close(term, torch.tensor([[1.0, -1.0], [-1.0, 1.0]]), atol=1e-5, rtol=0)


def test_a_limit_that_shrinks():
    assigner = LengthShaped(GroupRelative(), ThinkPrune(Linear(10, 4)))
    assert assigner.at(0.5) == LengthShaped(GroupRelative(), ThinkPrune(7.0))
    mask = torch.ones(2, 8, dtype=torch.bool)
    with pytest.raises(ValueError, match=r"limit: got the schedule Linear.* call at"):
        assigner(torch.tensor([1.0, 0.0]), torch.tensor([0, 0]), mask)
    assert assigner.at(0.0)(torch.tensor([1.0, 0.0]), torch.tensor([0, 0]), mask).advantages.any()
    assert not assigner.at(1.0)(torch.tensor([1.0, 0.0]), torch.tensor([0, 0]), mask).advantages.any()


def test_what_the_hook_returns_is_checked():
    class Own(RewardShaping):
        def __init__(self, shaped):
            self.shaped = shaped

        def shape(self, rewards, group_ids, lengths, correct):
            return self.shaped

    arguments = (torch.tensor([1.0, 0.0]), torch.tensor([0, 0]), torch.tensor([3, 4]))
    with pytest.raises(FloatingPointError, match=r"Own.shape: rewards: NaN or infinite value in rows \[1\]"):
        Own(torch.tensor([0.0, torch.nan]))(*arguments)
    with pytest.raises(TypeError, match="batch"):
        Own(torch.zeros(3))(*arguments)
    with pytest.raises(
        TypeError, match=r"Mine.shape: takes \(self, rewards\), want \(self, rewards, group_ids, lengths, "
    ):
        type("Mine", (RewardShaping,), {"shape": lambda self, rewards: rewards})


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: KimiLength(weight=-1.0), "weight: got -1.0"),
        (lambda: L1Length(target=0), "target: got 0"),
        (lambda: L1Length(target=3, weight=float("nan")), "weight: got nan"),
        (lambda: AroraZanette(weight=1.0), "weight: got 1.0"),
        (lambda: ShorterBetter(correct_weight=-2.0), "correct_weight: got -2.0"),
        (lambda: ThinkPrune(limit=Linear(5, 0)), "limit: got Linear"),
        (lambda: ThinkPrune(limit=Linear(0, 5)), "limit: got Linear"),
        (lambda: Laser(target=0), "target: got 0"),
        (lambda: Laser(target=3, weight=-0.5), "weight: got -0.5"),
        (lambda: LaserD(()), r"thresholds: got \(\), want"),
        (lambda: LaserD((4, 0)), r"thresholds: got \(4, 0\), want"),
        (lambda: LaserD((4,), expected_correct=0), "expected_correct: got 0"),
        (lambda: LaserD((4,), exploring_weight=-1.0), "exploring_weight: got -1.0"),
        (lambda: AdaptiveLengthPenalty(weight=-1.0), "weight: got -1.0"),
        (lambda: GroupRescaling(weight=float("inf")), "weight: got inf"),
        (lambda: PaceLength(weight=Linear(1.0, -1.0)), "weight: got Linear"),
        (lambda: SoftOverlong(max_length=4, buffer=0), "buffer: got 0"),
        (lambda: SoftOverlong(max_length=4, buffer=5), "max_length: got 4, want an integer of at least 5"),
    ],
)
def test_bad_parameters_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_information_is_asked_for_where_completions_are_correct():
    class Inverted(RewardShaping):
        def shape(self, rewards, group_ids, lengths, correct):
            return 1 - rewards

    assigner = LengthShaped(InformationAware(), Inverted())
    mask = torch.ones(2, 3, dtype=torch.bool)
    inputs = AdvantageInputs(torch.tensor([1.0, 0.0]), torch.tensor([True, False]), torch.tensor([0, 0]), mask)
    assert assigner.wants_information(inputs).tolist() == [True, False]
