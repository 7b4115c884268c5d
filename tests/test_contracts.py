"""Every shipped component has the contract of its interface: `iapo.testing` on all of them.

A component that is added to ``__all__`` of its package gets a line below: an instance, or ``(instance, options)`` with
the fields of its contract (`iapo.testing.EstimatorContract` and so on) where a property does not hold by design. Of an
optimizer the line has a function that makes it of a model.
"""

import dataclasses
import inspect

import pytest
import ragged_rollouts
import torch
from hypothesis import given, settings
from torch.optim.lr_scheduler import LambdaLR

from iapo import (
    AdvantageAssigner,
    MIEstimator,
    PolicyLoss,
    PolicyOptimizer,
    Sampler,
    advantages,
    estimators,
    losses,
    optimizers,
    rollout,
)
from iapo.advantages import GroupRelative
from iapo.estimators import AnswerLikelihood, EarlyExitEntropy
from iapo.testing import TabularLanguageModel, parametrize_with_checks, tiny_llama, tiny_tokenizer
from iapo.testing.strategies import reward_batches

POSTFIX = (5, 6)
TOKENIZER = tiny_tokenizer()


def sampled_model():
    """A model whose texts end soon."""
    model = tiny_llama()
    model.generation_config.eos_token_id = [2, 5, 9, 12, 20]
    return model


def adapted() -> MIEstimator:
    """An adapter that changes something: in a model without attention it lets attention in again."""
    estimator = estimators.Calibrated(AnswerLikelihood(POSTFIX, closing_ids=(7,)), tiny_llama(), rank=2)
    for parameter in estimator.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    return estimator


def forced(sampler, samples: int) -> MIEstimator:
    """Sampled answers of one token."""
    return estimators.MonteCarloInformation(
        sampler, samples, answers="forced", postfix_ids=POSTFIX, max_answer_tokens=1, measure="entropy"
    )


ESTIMATORS = [
    EarlyExitEntropy(POSTFIX),
    AnswerLikelihood(POSTFIX, closing_ids=(7,)),
    estimators.AnswerEntropy(POSTFIX, candidates=((8,), (8, 9), (10, 11)), closing_ids=(7,)),
    (estimators.AnswerEntropy(POSTFIX, closing_ids=(7,)), {"rows_independent": False}),
    (adapted(), {"zero_if_ignored": False, "zero_if_unread": False}),
    (estimators.Refined(EarlyExitEntropy(POSTFIX), stride=3, threshold=0.2), {"causal": False}),
    (estimators.Bisected(AnswerLikelihood(POSTFIX), threshold=0.05, checks=1), {"causal": False}),
    (estimators.LeaveOut(estimators.EveryTokens(3), window=None), {"causal": False, "zero_if_ignored": False}),
    (estimators.LeaveOut(estimators.EveryTokens(2), window=2, runs=1), {"causal": False, "zero_if_ignored": False}),
    (estimators.OARPerturbation(POSTFIX, replacement_id=0), {"causal": False}),
    (estimators.OARPerturbation(POSTFIX, replacement_id=0, measure="likelihood"), {"causal": False}),
    (estimators.OARGradient(POSTFIX), {"causal": False, "zero_if_unread": False}),
    (estimators.NextTokenEntropy(), {"zero_if_ignored": False}),
    estimators.NoInformation(),
    (
        forced(lambda model: rollout.ScriptedSampler(lambda prompt, index: [sum(prompt) % (index + 2)]), samples=4),
        {"zero_if_ignored": False, "zero_if_unread": False},
    ),
    (
        forced(lambda model: rollout.TransformersSampler(model, TOKENIZER, max_new_tokens=1), samples=2),
        {"deterministic": False, "examples": 3},
    ),
    (
        estimators.ExactInformation(answer_of=lambda ids: ids[-2:], eos_id=0, max_new_tokens=4),
        {"model": TabularLanguageModel(vocab_size=2, order=1), "vocab": 2, "max_token": 4},
    ),
]

SHAPINGS = [
    advantages.KimiLength(),
    advantages.L1Length(target=5, weight=0.1),
    advantages.AroraZanette(),
    advantages.ShorterBetter(),
    advantages.ThinkPrune(limit=5),
    advantages.SoftOverlong(max_length=9, buffer=4),
    advantages.Laser(target=5),
    advantages.AdaptiveLengthPenalty(weight=0.05),
    advantages.GroupRescaling(),
    advantages.PaceLength(),
]

ASSIGNERS = [
    GroupRelative(),
    GroupRelative(scale="none"),
    advantages.GivenOutcome(),
    advantages.InformationAware(advantages.GivenOutcome(), beta=0.1),
    (advantages.RLOO(), {}),
    (advantages.ReinforcePlusPlus(), {"groups_independent": False}),
    (advantages.ReinforcePlusPlus(discount=0.9), {"groups_independent": False}),
    advantages.InformationAware(alpha=0.5, beta=0.1),
    advantages.InformationAware.paper(alpha=1.0, beta=0.1),
    advantages.LeaveOutPriced(beta=0.1),
    (advantages.InformationAware(center="batch"), {"groups_independent": False}),
    advantages.InformationAware(
        scale="none", beta=0.1, applies_to="correct", covers="completion", exploration="policy_entropy"
    ),
    (advantages.OfficialCompat(alpha=1.0, beta=0.1), {"width_independent": False}),
    (
        advantages.OfficialCompat(alpha=1.0, beta=0.1, outcome=advantages.InformationAware()),
        {"width_independent": False},
    ),
    advantages.GTPO(),
    advantages.OfficialGTPO(),
    advantages.OARReshaped(),
    advantages.GRPOS(),
    (advantages.GFPO(keep=2), {"ties": False}),
    (advantages.GFPO(keep=3, by="reward_per_token"), {"ties": False}),
    (advantages.SGRPO(GroupRelative(), first=2, probability=0.5), {"deterministic": False}),
    advantages.SGRPO(GroupRelative(), first=2, probability=1.0, cutoff=4),
    advantages.OverlongFiltered(GroupRelative(), max_length=5),
    *(advantages.LengthShaped(GroupRelative(), shaping) for shaping in SHAPINGS),
    (
        advantages.LengthShaped(GroupRelative(), advantages.LaserD((3, 6), exploring_weight=0.5)),
        {"groups_independent": False},
    ),
    advantages.GDPO(weights=(1.0, 0.5)),
    (advantages.BatchWhitened(GroupRelative(scale="none")), {"groups_independent": False}),
    (advantages.BatchWhitened(advantages.GDPO(), over="completions"), {"groups_independent": False}),
    advantages.ConfidenceMasked(GroupRelative(), after_ids=(1, 4, 7)),
    advantages.ConfidenceMasked(GroupRelative(), after_ids=(1, 4, 7), counting="released"),
    advantages.EntropyAdvantage(advantages.InformationAware()),
    advantages.O1Pruner(),
    (advantages.PermutedInformation(advantages.InformationAware()), {"deterministic": False}),
    (advantages.RandomInformation(advantages.InformationAware(beta=0.1)), {"deterministic": False}),
    (advantages.SGRPO(advantages.InformationAware(), first=2, probability=0.5), {"deterministic": False}),
    advantages.OverlongFiltered(advantages.InformationAware(beta=0.1), max_length=5),
    advantages.LengthShaped(advantages.InformationAware(), advantages.KimiLength()),
    advantages.InformationAware(outcome=advantages.InformationAware.paper(alpha=1.0, beta=0.1)),
    advantages.TailPenalty(),
    advantages.TailPenalty(advantages.InformationAware(), relative_to="end", applies_to="all", paid_by="tail"),
    advantages.Crop(),
    advantages.FirstCorrectChunk(step=2, after_ids=(0, 1, 2)),
    advantages.StepPotential(threshold=0.2, step=2),
    advantages.SerialExits(exits=4),
    advantages.RecordGain(step=2),
    advantages.TurnGain(discount=0.9, after_ids=(0, 1, 2)),
    advantages.TurnGain(centers="rewards"),
    advantages.BudgetReturns(budgets=(2, 4, 8)),
    advantages.Drift(step=2),
    advantages.InformationAware(outcome=advantages.Drift(step=9, after_ids=(0, 1, 2, 3))),
]

LOSSES = [
    losses.ClippedPolicyLoss(),
    (losses.ClippedPolicyLoss(aggregation="sequence", kl_coef=0.3), {"reinforce": False}),
    losses.ClippedPolicyLoss(aggregation="constant", max_length=5, clip_low=0.1),
    losses.ClippedPolicyLoss(dual_clip=1.4),
    losses.ClippedPolicyLoss(sampler_ratio_cap=1.2),
    (losses.ClippedPolicyLoss(sampler_ratio_cap=0.9, aggregation="sequence", dual_clip=1.4), {"reinforce": False}),
    (losses.ClippedPolicyLoss(kl_coef=0.3, kl_estimator="k1"), {"reinforce": False}),
    losses.ClippedPolicyLoss(kl_coef=0.3, kl_estimator="k2"),
    (losses.GSPO(clip_low=0.2, clip_high=0.3), {"reinforce": False, "differentiable": False}),
    (losses.CISPO(clip_low=0.2, clip_high=0.3), {"differentiable": False}),
]


def adamw(model) -> optimizers.ClippedOptimizer:
    """As `iapo train` makes it: the learning rate rises with the steps."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    return optimizers.ClippedOptimizer(optimizer, 1.0, LambdaLR(optimizer, lambda step: min(1.0, (step + 1) / 5)))


def momentum(model) -> optimizers.ClippedOptimizer:
    """Two groups, momentum and decay, never clipped; the first step is one of size 0."""
    first, *others = model.parameters()
    groups = [{"params": [first], "lr": 0.5}, {"params": others}]
    optimizer = torch.optim.SGD(groups, lr=0.1, momentum=0.9, weight_decay=0.1)
    return optimizers.ClippedOptimizer(optimizer, None, LambdaLR(optimizer, lambda step: min(1.0, step / 2)))


def adafactor(model) -> optimizers.ClippedOptimizer:
    """Its state is factored."""
    return optimizers.ClippedOptimizer(torch.optim.Adafactor(model.parameters()), backward=torch.Tensor.backward)


OPTIMIZERS = [adamw, momentum, adafactor]

ELSEWHERE = {rollout.VLLMSampler, rollout.VLLMServerSampler, optimizers.DeepSpeedOptimizer}
"""Checked in environments of their own: tests/rollout/with_vllm, tests/training/with_deepspeed."""

SAMPLERS = [
    rollout.TransformersSampler(sampled_model(), TOKENIZER, max_new_tokens=6, temperature=0.8),
    rollout.TransformersSampler(sampled_model(), TOKENIZER, max_new_tokens=6, temperature=0.0, max_batch=2),
    rollout.CompactingSampler(sampled_model(), TOKENIZER, max_new_tokens=6, top_p=0.9),
    rollout.ScriptedSampler(lambda prompt, index: [7, 8, 2][index:], TOKENIZER),
]


def component_of(entry):
    return entry[0] if isinstance(entry, tuple) else entry


def _kind(entry):
    component = component_of(entry)
    made = component.__annotations__["return"] if inspect.isfunction(component) else type(component)
    return made.__name__


WRAPPING = [each for each in map(component_of, ASSIGNERS) if hasattr(each, "outcome")]


@pytest.mark.parametrize("assigner", WRAPPING, ids=_kind)
@settings(max_examples=5)
@given(batch=reward_batches())
def test_an_outcome_is_told_which_completions_are_correct(assigner, batch):
    """Of those that it is asked about: some assigners ask about a part of the batch."""

    class Told(GroupRelative):
        def assign(self, inputs):
            rows = inputs.signals.reference_length.long()
            assert torch.equal(inputs.correct, batch.correct[rows])
            return super().assign(inputs)

    numbered = dataclasses.replace(batch.signals, reference_length=torch.arange(len(batch)).float())
    told = dataclasses.replace(assigner, outcome=Told(scale="none", allow_singletons=True))
    told(**vars(dataclasses.replace(batch, signals=numbered)))


@parametrize_with_checks([*ESTIMATORS, *ASSIGNERS, *LOSSES, *OPTIMIZERS, *SAMPLERS])
def test_contract(component, check):
    check(component)


@pytest.mark.parametrize(
    "entry", [each for each in ESTIMATORS if not isinstance(each, tuple) or "model" not in each[1]], ids=_kind
)
def test_padding_may_be_a_token_that_the_model_does_not_embed(entry):
    """As one that was added to a tokenizer, whose model was not resized."""
    estimator, model = component_of(entry), sampled_model()
    plain, vocabulary = ragged_rollouts.rollout(), model.config.vocab_size
    parts = ("prompt", "completion", "answer")
    padded = {
        f"{part}_ids": getattr(plain, f"{part}_ids").masked_fill(~getattr(plain, f"{part}_mask"), vocabulary)
        for part in parts
    }
    found = []
    for each in (plain, dataclasses.replace(plain, **padded)):
        torch.manual_seed(0)
        found.append(estimator(model, each))
    torch.testing.assert_close(*found, rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize(
    ("package", "interface", "table"),
    [
        (estimators, MIEstimator, "ESTIMATORS"),
        (advantages, AdvantageAssigner, "ASSIGNERS"),
        (losses, PolicyLoss, "LOSSES"),
        (optimizers, PolicyOptimizer, "OPTIMIZERS"),
        (rollout, Sampler, "SAMPLERS"),
    ],
)
def test_every_component_is_in_the_table(package, interface, table):
    public = [getattr(package, name) for name in package.__all__]
    entries = {_kind(entry) for entry in globals()[table]}
    missing = [
        each.__name__
        for each in public
        if inspect.isclass(each)
        and issubclass(each, interface)
        and not inspect.isabstract(each)
        and each.__name__ not in entries
        and each not in ELSEWHERE
    ]
    assert not missing, f"{package.__name__}: {', '.join(missing)} not checked; add a line to {table} in {__file__}"


@pytest.mark.parametrize("package", [estimators, advantages, losses, optimizers, rollout])
def test_a_component_is_final_but_for_other_defaults(package):
    components = [each for each in vars(package).values() if inspect.isclass(each) and not inspect.isabstract(each)]
    for component in components:
        if not any(base in component.__mro__[1:] for base in components):
            continue
        named = {name for name in vars(component) if not name.startswith("_") or name == "__post_init__"}
        own = named - {field.name for field in dataclasses.fields(component)}
        assert not own, f"{component.__name__} has {own} beside a concrete class; want a part that wraps it"


def test_the_papers_setting_is_the_same_by_either_name():
    assert advantages.LeaveOutPriced.paper(0.1, 0.2) == advantages.InformationAware.paper(0.1, 0.2)
