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
    TokenSignals,
)
from iapo.advantages.schedules import Schedule
from iapo.advantages.shaping import RewardShaping
from iapo.estimators import Boundaries
from iapo.rollout import collate
from iapo.styles import AnswerStyle, ReasoningStyle
from iapo.tasks import Task


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


@pytest.mark.parametrize("dtype", [torch.long, torch.bool])
def test_probes_are_numbers_of_floating_point_beside_the_rollout(dtype):
    with pytest.raises(TypeError, match=f"OwnEstimator.probe: got {dtype}, want numbers of floating point"):
        OwnEstimator(torch.zeros(4, 3, dtype=dtype))(torch.nn.Linear(1, 1), rollout())
    with pytest.raises(ValueError, match=r"OwnEstimator.probe: all .* one device, got probes on meta, rollout on cpu"):
        OwnEstimator(torch.zeros(4, 3, device="meta"))(torch.nn.Linear(1, 1), rollout())


def test_advantages_lie_beside_the_mask():
    mask = rollout().completion_mask
    with pytest.raises(ValueError, match=r"OwnAssigner.assign: .* got advantages on meta, completion_mask on cpu"):
        called(OwnAssigner(AdvantageOutput(mask.float().to("meta"), mask.to("meta"), {})))


class ChangesPrompts(Sampler):
    def sample(self, prompts, group_size):
        prompts.append("b")
        return rollout()


class ChangesRollout(MIEstimator):
    def probe(self, model, rollout):
        rollout.completion_ids.zero_()
        return torch.zeros(4, 3)


class ChangesMask(AdvantageAssigner):
    def assign(self, inputs):
        inputs.completion_mask.zero_()
        return AdvantageOutput(inputs.completion_mask.float(), inputs.completion_mask, {})


class ChangesSignals(AdvantageAssigner):
    def assign(self, inputs):
        inputs.signals.information.zero_()
        return AdvantageOutput(inputs.completion_mask.float(), inputs.completion_mask, {})


class ChangesAdvantages(PolicyLoss):
    def compute(self, inputs):
        inputs.advantages.mul_(2)
        return LossOutput(inputs.policy_logprobs.sum(), {})

    def denominator(self, loss_mask):
        return loss_mask.sum().float()


def test_what_a_hook_is_given_is_left_as_it_is():
    values, mask = torch.zeros(1, 2), torch.ones(1, 2, dtype=torch.bool)
    with pytest.raises(ValueError, match=r"ChangesPrompts.sample: changed prompts"):
        ChangesPrompts()(["a", "b"], 2)
    with pytest.raises(ValueError, match=r"ChangesRollout.probe: changed completion_ids in place"):
        ChangesRollout()(torch.nn.Linear(1, 1), rollout())
    with pytest.raises(ValueError, match=r"ChangesMask.assign: changed completion_mask in place"):
        called(ChangesMask())
    signals = TokenSignals(information=values, information_mask=mask)
    with pytest.raises(ValueError, match=r"ChangesSignals.assign: changed information in place"):
        ChangesSignals()(torch.zeros(1), torch.zeros(1, dtype=torch.long), mask, signals)
    with pytest.raises(ValueError, match=r"ChangesAdvantages.compute: changed advantages in place"):
        ChangesAdvantages()(values, values, values, mask, torch.tensor(2.0))


def test_a_forgotten_or_unknown_argument_is_told_with_what_was_called():
    mask = rollout().completion_mask
    with pytest.raises(TypeError, match=r"AdvantageOutput: missing .*'metrics'; .* advantages, loss_mask, metrics, \["):
        AdvantageOutput(mask.float(), mask)
    with pytest.raises(
        TypeError, match=r"StepStats: got an unexpected keyword argument 'norm'; its arguments are step"
    ):
        StepStats(1, True, 0.5, 0.1, 0, norm=0.5)
    with pytest.raises(
        TypeError, match=r"MIEstimator.__call__: missing a required argument: 'rollout'; .* model, roll"
    ):
        OwnEstimator(None)(rollout())


def test_a_type_error_of_a_hook_itself_stays_as_it_is():
    class Raises(AdvantageAssigner):
        def assign(self, inputs):
            return 1 + "a"

    with pytest.raises(TypeError, match=r"^unsupported operand"):
        called(Raises())


@pytest.mark.parametrize(
    ("interface", "hook", "wanted"),
    [
        (Sampler, "sample", "self, prompts, group_size"),
        (MIEstimator, "probe", "self, model, rollout"),
        (AdvantageAssigner, "assign", "self, inputs"),
        (PolicyLoss, "compute", "self, inputs"),
        (PolicyOptimizer, "accumulate", "self, loss, boundary"),
        (Boundaries, "__call__", "self, rollout"),
        (AnswerStyle, "find", "self, text"),
        (ReasoningStyle, "find", "self, text"),
        (RewardShaping, "shape", "self, rewards, group_ids, lengths, correct"),
        (Schedule, "weight", "self, progress"),
        (Task, "rows", "self, split='train', seed=0, limit=None"),
    ],
)
def test_a_hook_that_takes_other_arguments_is_told_where_it_is_defined(interface, hook, wanted):
    with pytest.raises(TypeError, match=rf"^Mine.{hook}: takes \(self, a, b, c, d, e\), want \({wanted}\)$"):
        type("Mine", (interface,), {hook: lambda self, a, b, c, d, e: None})
    with pytest.raises(TypeError, match=rf"^Mine.{hook}: takes \(self, \*, a=1\), want \({wanted}\)$"):
        type("Mine", (interface,), {hook: lambda self, *, a=1: None})
    assert type("Mine", (interface,), {hook: lambda self, *others: None})
    assert type("Mine", (interface,), {hook: lambda self, a=1, b=2, c=3, d=4: None})


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
