"""Memory that runs out: recognized, wherever it happens, and survived with the same result; and how much there is."""

import copy
import json
import os
import pickle
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from models import VOCAB, tiny_model
from ragged_rollouts import rollout
from torch.utils._python_dispatch import TorchDispatchMode

from iapo.estimators import (
    AnswerEntropy,
    AnswerLikelihood,
    EarlyExitEntropy,
    EveryTokens,
    LeaveOut,
    NextTokenEntropy,
    OARPerturbation,
)
from iapo.estimators.packed import Block, memory, prefix_cache

POSTFIX = (4, 5)
REALLY = """
import json, resource
from pathlib import Path
import torch
from transformers import LlamaConfig, LlamaForCausalLM
from iapo import Rollout
from iapo.estimators import EarlyExitEntropy
from iapo.estimators.packed import memory

config = LlamaConfig(vocab_size=100000, hidden_size=16, intermediate_size=16, num_hidden_layers=1,
                     num_attention_heads=2, pad_token_id=0)
torch.manual_seed(0)
model = LlamaForCausalLM(config).eval()
ids = torch.randint(3, 100000, (2, 40))
mask = torch.ones_like(ids).bool()
rollout = Rollout(ids[:, :4], mask[:, :4], ids, mask, mask, torch.tensor([0, 1]))
estimator = EarlyExitEntropy((4, 5), chunk=32, guard=False)
expected = estimator.probe(model, rollout)
asked = memory.is_out_of_memory
errors = []
memory.is_out_of_memory = lambda error: errors.append(str(error)) or asked(error)  # an error keeps its tensors
used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 3 * 2**24, resource.RLIM_INFINITY))
found = estimator.probe(model, rollout)
print(json.dumps([len(errors), float((found - expected).abs().max())]))
"""


def test_a_real_allocation_that_fails_is_recognized():
    sizes = []

    def run(size):
        sizes.append(size)
        if size > 2:
            torch.empty(2**50, dtype=torch.uint8)

    memory.halving_chunk(run, 8)
    assert sizes == [8, 4, 2]


def test_where_a_chunk_of_one_does_not_fit_the_error_is_raised():
    sizes = []

    def run(size):
        sizes.append(size)
        raise torch.OutOfMemoryError("too much")

    with pytest.raises(torch.OutOfMemoryError, match="too much"):
        memory.halving_chunk(run, 5)
    assert sizes == [5, 2, 1]


def test_other_errors_are_raised():
    with pytest.raises(RuntimeError, match="shape"):
        memory.halving_chunk(lambda size: torch.zeros(2) @ torch.zeros(3, 3), 8)


@pytest.mark.skipif(sys.platform != "linux", reason="the limit on mapped memory is Linux's")
def test_an_estimator_whose_memory_really_runs_out_gives_the_same(tmp_path):
    program = tmp_path / "program.py"
    program.write_text(REALLY)
    paths = os.pathsep.join([str(Path(__file__).parents[3]), str(Path(__file__).parents[2])])
    environment = os.environ | {"PYTHONPATH": paths, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    line = [sys.executable, str(program)]
    done = subprocess.run(line, env=environment, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    halvings, gap = json.loads(done.stdout)
    assert halvings >= 1
    assert gap < 5e-5


@pytest.mark.parametrize("failing", range(1, 9))
@pytest.mark.parametrize("estimator", [EarlyExitEntropy(POSTFIX), AnswerLikelihood(POSTFIX)], ids=["entropy", "answer"])
def test_running_out_while_room_is_made_changes_nothing(estimator, failing, monkeypatch):
    model, sample = tiny_model("llama", layers=3).double(), rollout()
    expected = estimator.probe(model, sample)
    made, calls = prefix_cache._with_room, []

    def with_room(cached, room):
        calls.append(room)
        if len(calls) == failing:
            raise torch.OutOfMemoryError("too much")
        return made(cached, room)

    monkeypatch.setattr(prefix_cache, "_with_room", with_room)
    torch.testing.assert_close(estimator.probe(model, sample), expected, atol=1e-6, rtol=0, check_dtype=False)
    assert len(calls) >= 6


def every_chunked_estimator():
    """The estimators with a chunk, whatever runs their forwards."""
    return [
        *(EarlyExitEntropy(POSTFIX, guard=False), AnswerLikelihood(POSTFIX, guard=False), NextTokenEntropy()),
        *(AnswerEntropy(POSTFIX, candidates=((6,), (7, 8)), guard=False), OARPerturbation(POSTFIX, replacement_id=0)),
        LeaveOut(EveryTokens(1), guard=False),
    ]


@pytest.mark.parametrize("estimator", every_chunked_estimator(), ids=lambda each: type(each).__name__)
def test_every_estimator_with_a_chunk_halves_it_where_memory_runs_out(estimator):
    model, sample = tiny_model("llama").double(), rollout()
    expected, largest = estimator.probe(model, sample), []
    watch = model.register_forward_pre_hook(lambda _, __, given: largest.append(wanted(given)), with_kwargs=True)
    estimator.probe(model, sample)
    watch.remove()
    limit, failures = max(largest) - 1, []

    def scarce(_, __, given):
        if wanted(given) > limit:
            failures.append(wanted(given))
            raise torch.OutOfMemoryError("too much")

    model.register_forward_pre_hook(scarce, with_kwargs=True)
    torch.testing.assert_close(estimator.probe(model, sample), expected, atol=1e-9, rtol=0)
    assert failures


def wanted(given):
    """How many logits a forward is asked for."""
    kept = given.get("logits_to_keep", given["input_ids"].shape[1])
    return len(given["input_ids"]) * (len(kept) if isinstance(kept, torch.Tensor) else kept)


def test_the_memory_left_in_a_container(tmp_path):
    assert memory._left_in_cgroup(tmp_path) is None
    (tmp_path / "memory.current").write_text("300\n")
    (tmp_path / "memory.max").write_text("max\n")
    assert memory._left_in_cgroup(tmp_path) is None
    (tmp_path / "memory.max").write_text("1000\n")
    assert memory._left_in_cgroup(tmp_path) == 700
    assert memory._available() is None or memory._available() > 2**20


@pytest.mark.parametrize(
    ("free", "most_logits", "expected"),
    [
        pytest.param(2**40, 2**26, 512 // 3, id="what pays"),
        pytest.param(2**40, 7 * (2 * 2 * 100) + 1, 7, id="logits"),
        pytest.param(16 * 5 * (3 * 400 + 16 * 2 * 3 * 8 + 2 * 2 * 3 * (50 + 512)) + 1, 2**26, 5, id="memory"),
        pytest.param(0, 2**26, 1, id="no memory"),
    ],
)
def test_the_chunk_is_bounded_by_what_is_least(monkeypatch, free, most_logits, expected):
    """Two rows, 50 cached positions, blocks of three tokens of which two are asked; by hand."""
    monkeypatch.setattr(memory, "_free_bytes", lambda device: free)
    monkeypatch.setattr(memory, "MAX_LOGITS", most_logits)
    block = Block.chain(torch.zeros(2, 3, dtype=torch.long), kept=2)
    config = SimpleNamespace(vocab_size=100, hidden_size=8)
    assert memory.choose_chunk(2, 50, block, config, torch.device("cpu")) == expected
    monkeypatch.setattr(memory, "_MASK", {"cpu": 2 * 3 * 50 * 4 + 1})
    assert memory.choose_chunk(2, 50, block, config, torch.device("cpu")) == min(4, expected)


@pytest.mark.parametrize("estimator", [EarlyExitEntropy(POSTFIX), AnswerLikelihood(POSTFIX), NextTokenEntropy()])
def test_the_guard_makes_one_row_of_logits_a_prefix(estimator):
    model, sample, seen = tiny_model("llama"), rollout(), []
    model.register_forward_hook(lambda module, inputs, output: seen.append(output.logits.shape[1]))
    copy.deepcopy(estimator).probe(model, sample.select(slice(0, 1)))
    if not isinstance(estimator, NextTokenEntropy):
        assert seen[:3] == [1, 1, 1]


class Largest(TorchDispatchMode):
    """The number of elements of the largest floating tensor that an operation returned."""

    def __init__(self):
        super().__init__()
        self.elements = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        for each in result if isinstance(result, tuple | list) else (result,):
            if isinstance(each, torch.Tensor) and each.is_floating_point():
                self.elements = max(self.elements, each.numel())
        return result


def test_many_candidates_copy_no_logits():
    sample, model = rollout(), tiny_model("llama")
    estimator = AnswerEntropy(POSTFIX, candidates=tuple((i,) for i in range(VOCAB)), chunk=3, guard=False)
    with Largest() as largest:
        estimator.probe(model, sample)
    assert largest.elements < VOCAB * len(sample) * 3 * VOCAB / 2


@pytest.mark.parametrize("estimator", [EarlyExitEntropy(POSTFIX), AnswerLikelihood(POSTFIX), AnswerEntropy(POSTFIX)])
def test_estimators_travel_to_other_processes(estimator):
    model, sample = tiny_model("llama"), rollout()
    expected = estimator.probe(model, sample)
    arrived = pickle.loads(pickle.dumps(estimator))
    assert arrived == estimator
    assert len(arrived._checked) == 0
    assert torch.equal(arrived.probe(model, sample), expected)
