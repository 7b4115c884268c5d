"""What the hooks of own components return is checked, by the name of the component and of the hook."""

import pytest
import torch

from iapo import (
    AdvantageAssigner,
    AdvantageOutput,
    LossOutput,
    MIEstimator,
    PolicyLoss,
    PolicyOptimizer,
    Rollout,
    Sampler,
    StepStats,
)
from iapo.rollout import collate


def rollout(group_ids=(0, 0, 1, 1), prompts=((4,), (4,), (5, 6), (5, 6))) -> Rollout:
    return collate(prompts, [[7], [8, 9], [7], [9]], group_ids, pad_id=0, tokenizer=None)


class OwnSampler(Sampler):
    def __init__(self, returned):
        self.returned = returned

    def sample(self, prompts, group_size):
        return self.returned


class OwnEstimator(MIEstimator):
    def __init__(self, returned, sign=1):
        self.returned, self.information_sign = returned, sign

    def probe(self, model, rollout):
        return self.returned


class OwnAssigner(AdvantageAssigner):
    def __init__(self, returned=None, requires=frozenset()):
        self.returned, self.required = returned, requires

    @property
    def requires(self):
        return self.required

    def assign(self, inputs):
        return self.returned


class OwnLoss(PolicyLoss):
    def compute(self, inputs):
        return inputs.policy_logprobs.sum()

    def denominator(self, loss_mask):
        return loss_mask.sum().float()


class OwnOptimizer(PolicyOptimizer):
    def __init__(self, returned):
        self.returned = returned

    def accumulate(self, loss, boundary):
        return self.returned


@pytest.mark.parametrize("returned", [None, (rollout(), 1)])
def test_a_sampler_returns_a_rollout(returned):
    with pytest.raises(TypeError, match=f"OwnSampler.sample: got {type(returned).__name__}, want Rollout"):
        OwnSampler(returned)(["a", "b"], 2)


def test_groups_are_indices_of_prompts():
    with pytest.raises(ValueError, match=r"OwnSampler.sample: want group_ids from 0 to 1, .* got -1"):
        OwnSampler(rollout(group_ids=(-1, -1, 0, 0)))(["a", "b"], 2)


def test_a_group_has_one_prompt():
    assert len(OwnSampler(rollout())(["a", "b"], 2)) == 4
    assert len(OwnSampler(rollout((1, 0, 1, 0), ((5, 6), (4,), (5, 6), (4,))))(["a", "b"], 2)) == 4
    with pytest.raises(ValueError, match=r"OwnSampler.sample: the completions of group 0 have several prompts"):
        OwnSampler(rollout(group_ids=(1, 0, 0, 1)))(["a", "b"], 2)


@pytest.mark.parametrize("returned", [None, [[0.0] * 3] * 4])
def test_an_estimator_returns_a_tensor(returned):
    with pytest.raises(TypeError, match=f"OwnEstimator.probe: got {type(returned).__name__}, want Tensor"):
        OwnEstimator(returned)(torch.nn.Linear(1, 1), rollout())


@pytest.mark.parametrize("sign", [0, 2, "+"])
def test_a_sign_that_would_change_the_information_is_refused(sign):
    with pytest.raises(ValueError, match=r"OwnEstimator.information_sign: got .*, want 1 or -1"):
        OwnEstimator(torch.zeros(4, 3), sign)(torch.nn.Linear(1, 1), rollout())


def called(assigner):
    return assigner(torch.zeros(4), torch.tensor([0, 0, 1, 1]), rollout().completion_mask)


def test_an_assigner_returns_its_record():
    mask = rollout().completion_mask
    assert called(OwnAssigner(AdvantageOutput(mask.float(), mask, {}))).loss_mask is mask
    with pytest.raises(TypeError, match=r"OwnAssigner.assign: got Tensor, want AdvantageOutput"):
        called(OwnAssigner(mask.float()))


def test_advantages_that_are_nan_are_told_as_that():
    mask = rollout().completion_mask
    with pytest.raises(
        FloatingPointError, match=r"OwnAssigner.assign: advantages: NaN or infinite value in rows \[0, 1"
    ):
        called(OwnAssigner(AdvantageOutput(mask * torch.tensor(float("nan")), mask, {})))


@pytest.mark.parametrize("requires", [frozenset({"informations"}), "information", ["information"]])
def test_what_an_assigner_requires_is_a_set_of_signals(requires):
    with pytest.raises(ValueError, match=r"OwnAssigner.requires: got .*informati.*, want a set of some of \['co"):
        called(OwnAssigner(requires=requires))
    with pytest.raises(ValueError, match=r"OwnAssigner.requires: got"):
        _ = OwnAssigner(requires=requires).requires_estimate


def test_an_optimizer_returns_statistics_at_a_boundary_and_nothing_before():
    stats = StepStats(step=1, stepped=True, grad_norm=0.5, learning_rate=0.1, skipped=0)
    assert OwnOptimizer(stats)(torch.zeros(()), boundary=True) is stats
    assert OwnOptimizer(None)(torch.zeros(()), boundary=False) is None
    for returned in (None, 0.5):
        with pytest.raises(TypeError, match=r"OwnOptimizer.accumulate: got (NoneType|float), want StepStats"):
            OwnOptimizer(returned)(torch.zeros(()))
    with pytest.raises(TypeError, match=r"OwnOptimizer.accumulate: got StepStats, want NoneType"):
        OwnOptimizer(stats)(torch.zeros(()), boundary=False)


def test_a_loss_returns_its_record():
    values = torch.zeros(1, 2)
    with pytest.raises(TypeError, match=r"OwnLoss.compute: got Tensor, want LossOutput"):
        OwnLoss()(values, values, values, values == 0, torch.tensor(2.0))
    assert LossOutput(torch.zeros(()), {}).loss == 0


@pytest.mark.parametrize("name", ["prompt_ids", "completion_ids", "answer_ids", "exit_ids", "unread"])
def test_negative_tokens_are_refused_at_padding_too(name):
    made = vars(rollout())
    ones = torch.ones(4, 1, dtype=torch.long)
    made |= {"answer_ids": ones, "answer_mask": ones > 0, "exit_ids": ones, "exit_scored": ones > 0}
    made["unread"] = torch.zeros(4, dtype=torch.long)
    assert len(Rollout(**made)) == 4
    made[name] = made[name].clone()
    made[name].view(-1)[-1] = -100
    with pytest.raises(ValueError, match=f"{name}: got -100, want numbers of at least 0"):
        Rollout(**made)
