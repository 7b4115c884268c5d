"""The optimizer wrapper: accumulation, clipping, schedule, and steps refused with nothing touched."""

import copy

import pytest
import torch
from torch import nn

from iapo.optimizers.clipped import ClippedOptimizer


def setup(**arguments):
    torch.manual_seed(0)
    model = nn.Linear(3, 1, bias=False)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
    return model, optimizer, ClippedOptimizer(optimizer, **arguments)


def loss_of(model, scale=1.0):
    return (model(torch.tensor([[1.0, 2.0, 3.0]])) * scale).sum()


def test_losses_add_up_until_the_boundary():
    model, _, step = setup(max_grad_norm=None)
    whole, _, whole_step = setup(max_grad_norm=None)
    assert step(loss_of(model, 0.25), boundary=False) is None
    stats = step(loss_of(model, 0.75))
    expected = whole_step(loss_of(whole))
    assert torch.equal(model.weight, whole.weight)
    assert stats.grad_norm == pytest.approx(expected.grad_norm) == pytest.approx(14**0.5)
    assert (stats.step, stats.stepped, stats.skipped, stats.learning_rate) == (1, True, 0, 0.1)


def test_the_norm_is_clipped_and_reported_before_clipping():
    model = nn.Linear(2, 1, bias=False)
    before = model.weight.detach().clone()
    stats = ClippedOptimizer(torch.optim.SGD(model.parameters(), lr=1.0), max_grad_norm=0.5)(
        (model(torch.tensor([[3.0, 4.0]]))).sum()
    )
    assert stats.grad_norm == pytest.approx(5.0)
    torch.testing.assert_close(before - model.weight.detach(), torch.tensor([[0.3, 0.4]]), atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("losses", "reason"),
    [
        (lambda m: [loss_of(m), loss_of(m, float("nan"))], "1 of the step's losses"),
        (lambda m: [loss_of(m, float("inf")), loss_of(m)], "1 of the step's losses"),
        (lambda m: [loss_of(m, 0.0), (m.weight.sum() * 0).sqrt() * 0], "norm is nan"),
        (lambda m: [loss_of(m, 0.0)], "nothing to learn from"),
        (lambda m: [torch.zeros(())], "nothing to learn from"),
    ],
)
def test_a_refused_step_touches_nothing(losses, reason):
    model, optimizer, step = setup()
    step(loss_of(model))
    weights, state = model.weight.detach().clone(), copy.deepcopy(optimizer.state_dict())
    parts = losses(model)
    for index, part in enumerate(parts):
        stats = step(part, boundary=index == len(parts) - 1)
    assert not stats.stepped
    assert reason in stats.reason
    assert stats.skipped == 1
    assert torch.equal(model.weight, weights)
    for name, value in optimizer.state_dict()["state"][0].items():
        assert torch.equal(value, state["state"][0][name])
    assert step(loss_of(model)).stepped
    assert not torch.equal(model.weight, weights)


def test_the_schedule_moves_with_steps_taken_and_is_restored():
    def scheduled():
        model, optimizer, _ = setup()
        return model, ClippedOptimizer(
            optimizer, scheduler=torch.optim.lr_scheduler.LambdaLR(optimizer, lambda s: 1 / (1 + s))
        )

    model, step = scheduled()
    rates = [step(loss_of(model)).learning_rate, step(loss_of(model, 0.0)).learning_rate]
    rates.append(step(loss_of(model)).learning_rate)
    assert rates == pytest.approx([0.1, 0.05, 0.05])
    other_model, other = scheduled()
    other.load_state_dict(step.state_dict())
    other.optimizer.load_state_dict(step.optimizer.state_dict())
    assert other(loss_of(other_model)).learning_rate == pytest.approx(0.1 / 3)
    with pytest.raises(ValueError, match="scheduler"):
        setup()[2].load_state_dict(step.state_dict())


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match="max_grad_norm: got 0"):
        setup(max_grad_norm=0)
    parameters = [nn.Parameter(torch.zeros(1))]
    for other, got in ((iter(parameters), "a list_iterator"), (torch.optim.SGD, "the class SGD")):
        with pytest.raises(TypeError, match=f"optimizer: got {got}, want an object of a subclass of torch.optim.Opt"):
            ClippedOptimizer(other)
    for other, got in ((lambda step: 1.0, "a function"), (torch.optim.lr_scheduler.LambdaLR, "the class LambdaLR")):
        with pytest.raises(TypeError, match=f"scheduler: got {got}, want None or one of torch.optim.lr_scheduler"):
            setup(scheduler=other)
    with pytest.raises(TypeError, match="parameter 'loss'"):
        setup()[2](torch.zeros(2))


def test_an_optimizer_of_another_model_is_named_and_not_a_step_refused():
    model, _, step = setup()
    other = copy.deepcopy(model)
    with pytest.raises(ValueError, match="optimizer: none of its parameters has a gradient"):
        step(loss_of(other))
    assert step(loss_of(model)).stepped


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_weights_in_which_steps_are_lost_are_told(dtype):
    model = nn.Linear(64, 64, bias=False).to(dtype)
    with pytest.warns(UserWarning, match=f"optimizer: its parameters are in {str(dtype)[6:]}, where most steps"):
        step = ClippedOptimizer(torch.optim.SGD(model.parameters(), lr=1e-6))
    before = model.weight.detach().clone()
    step(model.weight.float().sum())
    assert float((model.weight == before).float().mean()) > 0.9
