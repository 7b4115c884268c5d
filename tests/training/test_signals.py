"""Signals do not depend on how a rollout is split into micro-batches, whatever the estimator needs of its groups."""

import pytest
import torch
from updates import POSTFIX, TOKENIZER, components_of, embedded_model

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
from iapo.training.components import UpdateSettings
from iapo.training.loop import prepare
from iapo.training.signals import by_length, information_of
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


def test_longest_completions_come_first(rollout):
    batches = by_length(rollout, 3)
    lengths = rollout.completion_lengths
    assert sorted(torch.cat(list(batches)).tolist()) == list(range(len(rollout)))
    assert lengths[torch.cat(list(batches))].tolist() == sorted(lengths.tolist(), reverse=True)
    assert [len(batch) for batch in batches[:-1]] == [3] * (len(batches) - 1)
