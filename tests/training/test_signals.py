"""Signals do not depend on how a rollout is split into micro-batches, whatever the estimator needs of its groups."""

from dataclasses import dataclass

import pytest
import torch
from updates import POSTFIX, TOKENIZER, components_of, embedded_model

from iapo import AdvantageAssigner
from iapo.advantages import GroupRelative, WrappingAssigner
from iapo.embedded import generate_problems, rows
from iapo.estimators import (
    AnswerEntropy,
    AnswerLikelihood,
    Calibrated,
    EarlyExitEntropy,
    NextTokenEntropy,
    NoInformation,
    Refined,
)
from iapo.interfaces import information_between
from iapo.ops.masked import beside
from iapo.training.components import UpdateSettings
from iapo.training.loop import prepare
from iapo.training.signals import information_of, measure
from iapo.types import Rollout

CLOSING = tuple(TOKENIZER.encode("</answer>", add_special_tokens=False))
ESTIMATORS = {
    "answer_entropy": lambda model: AnswerEntropy(POSTFIX, closing_ids=CLOSING),
    "answer_likelihood": lambda model: AnswerLikelihood(POSTFIX, CLOSING),
    "early_exit": lambda model: EarlyExitEntropy(POSTFIX),
    "next_token": lambda model: NextTokenEntropy(),
    "none": lambda model: NoInformation(),
    "refined": lambda model: Refined(AnswerEntropy(POSTFIX, closing_ids=CLOSING), stride=2),
    "calibrated": lambda model: Calibrated(AnswerEntropy(POSTFIX, closing_ids=CLOSING), model),
}


@pytest.fixture(scope="module")
def model():
    return embedded_model()


@pytest.fixture(scope="module")
def rollout(model) -> Rollout:
    """Completions of which some are right, some wrong, some unfinished."""
    torch.manual_seed(3)
    settings = UpdateSettings(group_size=4, micro_batch=16)
    return prepare(rows(generate_problems(4, seed=5)), model, TOKENIZER, components_of(model), settings).rollout


@pytest.mark.parametrize("name", ESTIMATORS)
def test_micro_batches_change_no_information(name, model, rollout):
    estimator, among = ESTIMATORS[name](model), torch.arange(len(rollout)) % 3 != 1
    whole = information_of(model, rollout, estimator, among, len(rollout))
    for size in (1, 3):
        parts = information_of(model, rollout, estimator, among, size)
        torch.testing.assert_close(parts, whole, atol=1e-4, rtol=0)
    assert not whole[~among].any()
    alone = information_of(model, rollout, estimator, torch.ones_like(among), len(rollout))
    torch.testing.assert_close(whole[among], alone[among], atol=1e-4, rtol=0)
    assert bool(whole.any()) == (name != "none")


def test_order_of_rows_changes_no_information(model, rollout):
    estimator, everything = AnswerEntropy(POSTFIX, closing_ids=CLOSING), torch.ones(len(rollout), dtype=torch.bool)
    order = torch.randperm(len(rollout), generator=torch.Generator().manual_seed(0))
    expected = information_of(model, rollout, estimator, everything, 3)
    found = information_of(model, rollout.select(order), estimator, everything, 3)
    torch.testing.assert_close(found, expected[order][:, : found.shape[1]], atol=1e-4, rtol=0)


@dataclass(frozen=True)
class Reads(WrappingAssigner):
    """Requires some signals and does nothing with them."""

    outcome: AdvantageAssigner
    names: frozenset[str]

    @property
    def requires(self):
        return self.names

    def assign(self, inputs):
        return self.assign_outcome(inputs)


class Counting(AnswerLikelihood):
    """Counts the completions that it probes."""

    probed = 0

    def probe(self, model, rollout):
        Counting.probed += len(rollout)
        return super().probe(model, rollout)


def test_prefix_values_and_information_are_of_one_probe(model, rollout):
    probed = torch.arange(len(rollout)) % 3 != 1
    found = {}
    for names in ({"information"}, {"prefix_values"}, {"information", "prefix_values"}, {"policy_entropy"}):
        Counting.probed = 0
        assigner = Reads(GroupRelative(), frozenset(names))
        everything = torch.ones_like(probed)
        signals = found[frozenset(names)] = measure(
            model, rollout, everything, probed, assigner, Counting(POSTFIX, CLOSING), 1.0, 5, known={}
        )
        assert Counting.probed == (0 if names == {"policy_entropy"} else int(probed.sum()))
        assert (signals.prefix_values is not None) == ("prefix_values" in names)
        assert (signals.information is None) == (signals.information_mask is None) == (names == {"policy_entropy"})
    both = found[frozenset({"information", "prefix_values"})]
    values, measured = both.prefix_values, both.information_mask
    for signals in found.values():
        assert signals.information is None or torch.equal(signals.information, both.information)
    assert torch.equal(measured, rollout.reasoning_mask & probed[:, None])
    assert not values[~beside(measured)].any()
    assert (values[beside(measured) & rollout.answer_mask.any(1)[:, None]] < 0).all()
    whole = AnswerLikelihood(POSTFIX, CLOSING).probe(model, rollout)
    torch.testing.assert_close(values, whole.masked_fill(~beside(measured), 0), atol=1e-4, rtol=0)
    torch.testing.assert_close(both.information, (values[:, 1:] - values[:, :-1]) * measured, atol=1e-5, rtol=0)


def test_prefix_values_grow_with_what_is_known(model, rollout):
    estimator = EarlyExitEntropy(POSTFIX)
    where = beside(rollout.reasoning_mask)
    values, entropy = estimator.prefix_values(model, rollout), estimator.probe(model, rollout)
    assert torch.equal(values, -entropy.masked_fill(~where, 0))
    assert torch.equal(estimator(model, rollout), information_between(values, rollout.reasoning_mask))
