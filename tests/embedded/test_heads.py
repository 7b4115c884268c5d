"""The embedded model with wider heads is the same function."""

import copy

import pytest
import torch
from models import tiny_model
from transformers import AutoModelForCausalLM, AutoTokenizer

from iapo.embedded import model_path
from iapo.embedded.heads import main, with_head_size
from iapo.policy.logprobs import completion_logprobs
from iapo.rollout import CompactingSampler


@pytest.fixture(scope="module")
def model():
    return AutoModelForCausalLM.from_pretrained(model_path()).eval()


@pytest.mark.parametrize("size", [24, 26, 32, 64])
def test_logits_are_the_same(model, size):
    """Log-probabilities of completions of the task, and logits of tokens at random, some with large angles."""
    before = copy.deepcopy(model.state_dict())
    wide, ids = with_head_size(model, size), torch.randint(3, 29, (4, 256))
    rollout = CompactingSampler(model, AutoTokenizer.from_pretrained(model_path()), 90)(["3+8-2*4=", "9*3+6*2-5="], 4)
    with torch.no_grad():
        torch.testing.assert_close(wide(ids).logits, model(ids).logits, atol=5e-4, rtol=0)
        logprobs = [completion_logprobs(each, rollout)[0] for each in (wide, model)]
    torch.testing.assert_close(*logprobs, atol=2.5e-5, rtol=0)
    assert wide.config.head_dim == size
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_it_loads_from_a_folder_and_ends_its_completions(model, tmp_path, capsys):
    main([str(tmp_path / "wide")])
    capsys.readouterr()
    parts = [part.from_pretrained(tmp_path / "wide") for part in (AutoModelForCausalLM, AutoTokenizer)]
    sampler = CompactingSampler(*parts, max_new_tokens=128, temperature=0.0)
    expected = CompactingSampler(model, parts[1], max_new_tokens=128, temperature=0.0)
    assert sampler.eos_ids == expected.eos_ids
    assert torch.equal(sampler(["3+8-2*4="], 1).completion_ids, expected(["3+8-2*4="], 1).completion_ids)


@pytest.mark.parametrize("size", [22, 31, 0])
def test_sizes_that_cannot_be(model, size):
    with pytest.raises(ValueError, match=f"size: got {size}, want an even number of at least 24"):
        with_head_size(model, size)


def test_other_models_are_refused():
    with pytest.raises(ValueError, match="model: got 'gpt2'"):
        with_head_size(tiny_model("gpt2"))
