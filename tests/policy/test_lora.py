"""Adapters by PEFT: attached, trained on, merged, and off in the reference policy."""

import json
import sys
import warnings

import pytest
import torch
from safetensors.torch import load_file, save_file

from iapo.embedded import generate_problems, model_path, rows
from iapo.estimators import (
    AnswerLikelihood,
    EarlyExitEntropy,
    EveryTokens,
    LeaveOut,
    NextTokenEntropy,
    OARGradient,
    OARPerturbation,
)
from iapo.policy.loading import load_limits, load_model
from iapo.policy.logprobs import completion_logprobs
from iapo.policy.lora import AdapterOff, LoRA, base_of, is_adapter, saving_options, with_adapters
from iapo.rollout import CompactingSampler, TransformersSampler, ask_about


def adapted(seed: int = 0, **settings):
    """The embedded model with adapters that change what it does, its base beside it, and a tokenizer."""
    base, tokenizer = load_model("embedded")
    model = LoRA(**{"r": 4, "alpha": 8} | settings).attach(load_model("embedded")[0], "embedded")
    torch.manual_seed(seed)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.1)
    return model, base, tokenizer


def logprobs(model, rollout):
    with torch.no_grad():
        return completion_logprobs(model, rollout)[0]


@pytest.fixture(scope="module")
def rollout():
    model, tokenizer = load_model("embedded")
    torch.manual_seed(0)
    return CompactingSampler(model, tokenizer, 40)([row["prompt"] for row in rows(generate_problems(2, seed=5))], 2)


def test_only_adapters_are_trained_and_new_ones_change_nothing(rollout):
    model = LoRA(4, target_modules=["q_proj"]).attach(load_model("embedded")[0], "embedded")
    assert {name.split(".")[-3] for name, each in model.named_parameters() if each.requires_grad} == {
        "lora_A",
        "lora_B",
    }
    assert torch.equal(logprobs(model, rollout), logprobs(load_model("embedded")[0], rollout))


def test_the_reference_policy_is_the_model_without_adapters(rollout):
    model, base, _ = adapted()
    expected, changed = logprobs(base, rollout), logprobs(model, rollout)
    assert torch.equal(logprobs(AdapterOff(model), rollout), expected)
    assert (changed - expected).abs().max() > 0.1
    assert torch.equal(logprobs(model, rollout), changed), "they are on again"


@pytest.mark.parametrize(
    "estimator",
    [
        AnswerLikelihood((4, 5)),
        EarlyExitEntropy((4, 5)),
        LeaveOut(EveryTokens(4)),
        NextTokenEntropy(),
        OARGradient((4, 5)),
        OARPerturbation((4, 5), replacement_id=0),
    ],
)
def test_estimators_read_the_reference_policy(estimator, rollout):
    model, base, tokenizer = adapted()
    rollout = ask_about(rollout, ["7"] * len(rollout), tokenizer)
    expected, changed = estimator(base, rollout), estimator(model, rollout)
    least = 1e-4 * expected.abs().max()
    assert (estimator(AdapterOff(model), rollout) - expected).abs().max() < least
    assert (changed - expected).abs().max() > 100 * least
    assert torch.equal(estimator(model, rollout), changed), "they are on again"


@pytest.mark.parametrize("sampler", [CompactingSampler, TransformersSampler])
def test_the_reference_policy_is_not_sampled_with_its_adapters_on(sampler):
    model, _, tokenizer = adapted()
    with pytest.raises(TypeError, match="want a model of transformers that can generate, got AdapterOff"):
        sampler(AdapterOff(model), tokenizer, 4)(["3+8="], 1)


def test_a_folder_of_adapters_is_trained_on_or_loads_merged(tmp_path, rollout):
    model, base, tokenizer = adapted()
    model.save_pretrained(tmp_path), tokenizer.save_pretrained(tmp_path)
    assert is_adapter(tmp_path)
    assert not is_adapter(model_path())
    again = with_adapters(base, tmp_path, trainable=True)
    trained = [name for name, each in again.named_parameters() if each.requires_grad]
    assert trained == [name for name, each in model.named_parameters() if each.requires_grad]
    expected = logprobs(model, rollout)
    assert torch.equal(logprobs(again, rollout), expected)
    merged, _ = load_model(str(tmp_path))
    torch.testing.assert_close(logprobs(merged, rollout), expected, atol=1e-5, rtol=0)
    assert all(each.requires_grad for each in merged.parameters())
    assert load_limits(str(tmp_path)) == load_limits("embedded")


def test_adapters_of_packed_weights_load_merged(tmp_path):
    model, base, _ = adapted()
    model.save_pretrained(tmp_path)
    base.packed = torch.nn.Parameter(torch.zeros(2, dtype=torch.uint8), requires_grad=False)
    merged = with_adapters(base, tmp_path)
    assert {name for name, each in merged.named_parameters() if not each.requires_grad} == {"packed"}


def test_adapters_on_adapters_name_the_folder_they_build_on(tmp_path):
    model, _, tokenizer = adapted()
    model.save_pretrained(tmp_path / "one"), tokenizer.save_pretrained(tmp_path / "one")
    merged, _ = load_model(str(tmp_path / "one"))
    second = LoRA(2).attach(merged, str(tmp_path / "one"))
    second.save_pretrained(tmp_path / "two", **saving_options(second))
    assert base_of(tmp_path / "two") == str(tmp_path / "one")


def test_adapters_that_are_not_all_there_are_refused(tmp_path):
    model, base, _ = adapted()
    model.save_pretrained(tmp_path)
    file = tmp_path / "adapter_model.safetensors"
    weights = load_file(file)
    weights.pop(next(iter(weights)))
    save_file(weights, file)
    refused = pytest.raises(ValueError, match=r"the adapters in .* cannot be loaded .*missing adapter keys")
    with warnings.catch_warnings(action="ignore"), refused:  # warnings are no errors outside of tests
        with_adapters(base, tmp_path)


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"base_model_name_or_path": null}', "itself"])
def test_a_folder_that_names_no_base_is_refused(tmp_path, content):
    text = json.dumps({"base_model_name_or_path": str(tmp_path)}) if content == "itself" else content
    (tmp_path / "adapter_config.json").write_text(text)
    with pytest.raises(ValueError, match="names no base_model_name_or_path"):
        load_model(str(tmp_path))


def test_settings_that_cannot_work_are_named(monkeypatch):
    with pytest.raises(ValueError, match=r"lora\.r: got -1"):
        LoRA(-1)
    with pytest.raises(ValueError, match=r"lora\.alpha: got 0"):
        LoRA(1, 0)
    with pytest.raises(ValueError, match=r"lora\.target_modules: \['nothing'\] cannot be adapted"):
        LoRA(1, target_modules=["nothing"]).attach(load_model("embedded")[0], "embedded")
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(ModuleNotFoundError, match="peft is missing"):
        LoRA(1).attach(None, "embedded")
