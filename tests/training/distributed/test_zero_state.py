"""The state of an optimizer inside an engine of DeepSpeed, of which a stand-in is used here."""

import sys
from types import SimpleNamespace

import pytest
import torch

from iapo.training.distributed.processes import SINGLE
from iapo.training.distributed.zero_state import load_zero_state, zero_state


class Engine(torch.nn.Module):
    """One of stage 2, which steps its module's weights as one part."""

    def __init__(self, part: torch.Tensor) -> None:
        super().__init__()
        self.module, self.device = torch.nn.Linear(3, 1, bias=False), torch.device("cpu")
        self.optimizer = SimpleNamespace(
            single_partition_of_fp32_groups=[part], params_in_partition=[[self.module.weight]], first_offset=[0]
        )

    def zero_optimization_stage(self) -> int:
        return 2


@pytest.fixture(autouse=True)
def deepspeed(monkeypatch):
    monkeypatch.setitem(sys.modules, "deepspeed", SimpleNamespace(DeepSpeedEngine=Engine))


@pytest.mark.parametrize(
    ("options", "device"), [({}, "cpu"), ({"fused": True}, "meta"), ({"capturable": True}, "meta")]
)
def test_a_count_of_steps_is_where_torch_keeps_it(options, device):
    part = torch.zeros(3, requires_grad=True)
    adam = torch.optim.Adam([part])
    part.grad = torch.ones(3)
    adam.step()
    adam.param_groups[0].update(options)
    state = zero_state(Engine(part), adam, SINGLE)
    elsewhere = torch.zeros(3, device="meta", requires_grad=True)
    other = torch.optim.Adam([elsewhere])
    load_zero_state(Engine(elsewhere), other, state, SINGLE)
    assert {name: value.device.type for name, value in other.state[elsewhere].items()} == {
        "step": device,
        "exp_avg": "meta",
        "exp_avg_sq": "meta",
    }


@pytest.mark.parametrize(
    ("held", "message"),
    [
        ({"weights": ["bias", "weight"], "start": 0, "size": 3}, "part 0 had bias where it has weight now"),
        ({"weights": [], "start": 0, "size": 3}, "part 0 had nothing more where it has weight now"),
        ({"weights": ["weight"], "start": 1, "size": 3}, "the start of part 0 was 1, and is 0 now"),
        ({"weights": ["weight"], "start": 0, "size": 4}, "the size of part 0 was 4, and is 3 now"),
    ],
)
def test_other_weights_in_a_part_are_refused(held, message):
    part = torch.zeros(3, requires_grad=True)
    adam = torch.optim.Adam([part])
    state = zero_state(Engine(part), adam, SINGLE)
    with pytest.raises(ValueError, match=rf"^resume: DeepSpeed divides .*process 0 {message}; set zero_optim"):
        load_zero_state(Engine(part), adam, state | {"held": [[held]]}, SINGLE)
