"""Signals that nothing is measured for: they reach the assigner that asks for them, row by row, and no other."""

import pytest
import torch
from updates import TOKENIZER, components_of, embedded_model

from iapo import AdvantageAssigner
from iapo.advantages import GDPO, BatchWhitened, ConfidenceMasked, GroupRelative, O1Pruner
from iapo.advantages.wrapping import WrappingAssigner
from iapo.embedded import generate_problems, rows
from iapo.estimators import NoInformation
from iapo.rewards import MathAnswer, WithinLength
from iapo.training.components import UpdateSettings
from iapo.training.known_signals import check_reference_columns
from iapo.training.loop import prepare

KNOWN = {"completion_ids", "reasoning_mask", "reward_columns", "reference_length", "reference_accuracy"}


class Asks(WrappingAssigner):
    """Requires some signals; keeps those that `wants_information` and `assign` are given."""

    def __init__(self, names):
        self.outcome: AdvantageAssigner = GroupRelative()
        self.names = frozenset(names)

    @property
    def requires(self):
        return self.names

    def wants_information(self, inputs):
        self.before = inputs.signals
        return inputs.rewards > 0

    def assign(self, inputs):
        self.given = inputs
        return self.assign_outcome(inputs)


def prepared(assigner, **changes):
    problems = [
        {**row, "reference_length": 40 + index, "reference_accuracy": index / 4}
        for index, row in enumerate(rows(generate_problems(4, seed=5)))
    ]
    torch.manual_seed(0)
    model = embedded_model()
    components = components_of(model, assigner=assigner, estimator=NoInformation(), **changes)
    return prepare(problems, model, TOKENIZER, components, UpdateSettings(group_size=4, micro_batch=8))


def test_they_belong_to_the_rows_that_are_kept():
    def some(completions, **_):
        return [None if index % 4 == 1 else float(index % 3) for index in range(len(completions))]

    assigner = Asks(KNOWN)
    batch = prepared(assigner, rewards={"accuracy": MathAnswer(), "short": WithinLength(24), "some": some})
    signals, rollout = assigner.given.signals, batch.rollout
    assert len(rollout) == 12, "completions that have no score are left out"
    assert signals.reward_columns.shape == (12, 3)
    torch.testing.assert_close(signals.reward_columns.sum(1), batch.rewards)
    assert signals.reward_columns[:, 1].tolist() == (rollout.completion_lengths <= 24).float().tolist()
    kept = [index for index in range(16) if index % 4 != 1]
    assert signals.reward_columns[:, 2].tolist() == [float(index % 3) for index in kept]
    assert signals.reference_length.tolist() == [40.0 + group for group in rollout.group_ids.tolist()]
    assert signals.reference_accuracy.tolist() == [group / 4 for group in rollout.group_ids.tolist()]
    assert torch.equal(signals.completion_ids, rollout.completion_ids)
    assert torch.equal(signals.reasoning_mask, rollout.reasoning_mask)
    for name in KNOWN:
        assert torch.equal(getattr(assigner.before, name), getattr(signals, name)), "also where probes are decided on"


def test_what_is_not_asked_for_is_not_given():
    assigner = Asks({"reward_columns"})
    prepared(assigner)
    given = {name for name, value in vars(assigner.given.signals).items() if value is not None}
    assert given == {"reward_columns"}


@pytest.mark.parametrize(
    "assigner",
    [
        BatchWhitened(GDPO((1.0, 0.5)), over="completions"),
        BatchWhitened(O1Pruner()),
        ConfidenceMasked(GroupRelative(), after_ids=(24, 25, 26, 27, 28)),
    ],
    ids=lambda assigner: type(getattr(assigner, "outcome", assigner)).__name__,
)
def test_an_update_with_the_assigners_that_ask(assigner):
    batch = prepared(assigner, rewards={"accuracy": MathAnswer(), "short": WithinLength(24)})
    assert batch.assigned.advantages.any()


def test_columns_that_the_data_lacks_are_named_before_anything_is_sampled():
    requires = BatchWhitened(O1Pruner()).requires
    whole = {"prompt": "1+1=", "reference_length": 3, "reference_accuracy": 0.5}
    check_reference_columns(requires, [whole, whole])
    check_reference_columns(GroupRelative().requires, [{"prompt": "1+1="}])
    with pytest.raises(ValueError, match=r"needs the columns \['reference_accuracy'\].* has \['prompt', "):
        check_reference_columns(requires, [{"reference_length": 3, "prompt": "1+1="}])


@pytest.mark.parametrize(
    ("name", "value", "want"),
    [
        ("reference_length", None, "a positive number of tokens"),
        ("reference_length", 0, "a positive number of tokens"),
        ("reference_length", "many", "a positive number of tokens"),
        ("reference_length", float("inf"), "a positive number of tokens"),
        ("reference_accuracy", float("nan"), "a number from 0 to 1"),
        ("reference_accuracy", 75, "a number from 0 to 1"),
    ],
)
def test_a_row_that_does_not_say_what_the_reference_policy_does_is_named(name, value, want):
    whole = {"prompt": "1+1=", "reference_length": "3.5", "reference_accuracy": 0}
    rows_of_data = [whole, {**whole, name: value}]
    with pytest.raises(ValueError, match=f"^{name}: .* that of row 7 is {value!r}; want {want}"):
        check_reference_columns(O1Pruner().requires, rows_of_data, (5, 7))
    del rows_of_data[1][name]
    with pytest.raises(ValueError, match=f"^{name}: .* that of row 1 is None"):
        check_reference_columns(O1Pruner().requires, rows_of_data)
