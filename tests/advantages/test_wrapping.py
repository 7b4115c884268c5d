"""The base of assigners that wrap another: what it passes on."""

from dataclasses import dataclass
from typing import Any

import torch

from iapo import AdvantageAssigner, AdvantageInputs, AdvantageOutput, TokenSignals
from iapo.advantages import InformationAware, WrappingAssigner
from iapo.advantages.schedules import Linear, Schedule, weight_at

INPUTS = AdvantageInputs(
    torch.tensor([1.0, 0.0]),
    torch.tensor([True, False]),
    torch.tensor([0, 0]),
    torch.ones(2, 3, dtype=torch.bool),
    TokenSignals(information=torch.tensor([[0.1, 0.5, 0.2], [0.3, 0.1, 0.4]])),
)


@dataclass(frozen=True)
class Scaled(WrappingAssigner):
    """The outcome's advantages times ``factor``."""

    outcome: AdvantageAssigner
    factor: float | Schedule = 1.0

    def own_fields_at(self, progress: float) -> dict[str, Any]:
        return {"factor": weight_at(self.factor, progress)}

    def assign(self, inputs):
        output = self.assign_outcome(inputs)
        return AdvantageOutput(output.advantages * self.factor, output.loss_mask, output.metrics)


def test_it_requires_what_its_outcome_requires():
    assert Scaled(InformationAware(beta=0.1)).requires == {"information", "policy_logprobs"}
    assert Scaled(InformationAware()).wants_information(INPUTS).tolist() == [True, False]


def test_its_schedules_and_those_of_its_outcome_move():
    assigner = Scaled(InformationAware(alpha=Linear(1.0, 0.0)), factor=Linear(0.0, 2.0))
    assert assigner.at(0.25) == Scaled(InformationAware(alpha=0.75), factor=0.5)


def test_the_outcome_is_handed_everything():
    expected = InformationAware()(**vars(INPUTS))
    assert torch.equal(Scaled(InformationAware(), 3.0).assign(INPUTS).advantages, 3 * expected.advantages)
