"""Gradient checkpointing of an update: the same weights bitwise, in less memory."""

import pytest
import torch
from models import tiny_model
from torch import nn
from updates import embedded_model, run

from iapo.policy.forward import UnsupportedModelError
from iapo.training.gradient_checkpointing import checkpointing


def saved_bytes(model: nn.Module, on: bool) -> int:
    """Bytes that a forward keeps for its backward, the weights not counted."""
    weights = {weight.untyped_storage().data_ptr() for weight in model.parameters()}
    kept: dict[int, int] = {}

    def keep(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor), checkpointing(model, on):
        logits = model(input_ids=torch.randint(1, 20, (8, 96)), use_cache=False, logits_to_keep=1).logits
    logits.sum().backward()
    return sum(kept.values())


def test_layers_keep_their_inputs_only():
    model = embedded_model().eval()
    assert 6 * saved_bytes(model, True) < saved_bytes(model, False)


def test_the_update_is_the_same_bitwise():
    (plain, before), (less, after) = run(micro_batch=8), run(micro_batch=8, gradient_checkpointing=True)
    assert torch.equal(before, after)
    times = {name for name in plain if "time" in name}
    assert {name: plain[name] for name in plain.keys() - times} == {name: less[name] for name in less.keys() - times}


def test_an_update_keeps_little_and_leaves_the_model_as_it_was():
    model = embedded_model()
    forwards = [vars(module).get("forward") for module in model.modules()]
    kept: dict[bool, int] = {}
    for on in (False, True):
        sizes: list[int] = []

        def keep(tensor, sizes=sizes):
            sizes.append(tensor.untyped_storage().nbytes())
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            run(model=model, gradient_checkpointing=on)
        kept[on] = len(sizes)
    assert 3 * kept[True] < kept[False]
    assert [vars(module).get("forward") for module in model.modules()] == forwards
    assert not model.training


def test_dropout_stays_off():
    torch.manual_seed(0)
    model = tiny_model("opt", dropout=0.5, attention_dropout=0.5).eval()
    ids = torch.randint(3, 20, (2, 8))
    with checkpointing(model):
        logits = model(input_ids=ids).logits
    assert torch.equal(logits, model(input_ids=ids).logits)


def test_a_model_without_such_layers_is_refused():
    with (
        pytest.raises(UnsupportedModelError, match="gradient_checkpointing: Linear has no layers"),
        checkpointing(nn.Linear(2, 2)),
    ):
        pass
