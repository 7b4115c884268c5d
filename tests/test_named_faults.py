"""Faults that components must survive or name: wrong shapes, devices, gradients, hostile files and answers."""

import ast
import json
import pickle
import shutil
from pathlib import Path

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

import iapo
from iapo import GroupRelative, InformationAware, Rollout, TokenSignals
from iapo.embedded import model_path
from iapo.estimators import NextTokenEntropy
from iapo.losses import ClippedPolicyLoss
from iapo.policy.loading import load_model, load_tokenizer
from iapo.policy.logprobs import completion_logprobs
from iapo.rewards import MathAnswer
from iapo.rollout import CompactingSampler
from iapo.training.checkpoints.checkpoint import TrainingState, load_checkpoint, save_checkpoint

SOURCES = sorted(Path(iapo.__file__).parent.rglob("*.py"))


def batch(**changes):
    """Arguments of an assigner: two groups of two completions of up to three tokens."""
    mask = torch.tensor([[1, 1, 1], [1, 1, 0], [1, 0, 0], [1, 1, 1]]).bool()
    arguments = {"rewards": torch.tensor([1.0, 0.0, 1.0, 0.0]), "group_ids": torch.tensor([0, 0, 1, 1])}
    return arguments | {"completion_mask": mask} | changes


@pytest.mark.parametrize(
    ("changes", "name", "sizes"),
    [
        ({"rewards": torch.zeros(3)}, "group_ids", ["3", "4"]),
        ({"rewards": torch.zeros(4, 1)}, "rewards", ["4 1"]),
        ({"group_ids": torch.zeros(4, 1, dtype=torch.long)}, "group_ids", ["4 1"]),
        ({"completion_mask": torch.ones(1, 3, dtype=torch.bool)}, "completion_mask", ["1 3", "4"]),
        ({"completion_mask": torch.ones(4, 3)}, "completion_mask", ["f32"]),
        ({"completion_mask": torch.ones(4, 3, dtype=torch.long)}, "completion_mask", ["i64"]),
    ],
)
def test_what_would_broadcast_or_is_no_mask_is_refused_by_name(changes, name, sizes):
    with pytest.raises(TypeError) as error:
        GroupRelative()(**batch(**changes))
    assert f"parameter '{name}'" in str(error.value)
    text = str(error.value).replace(",", " ")
    assert all(size in text for size in sizes)


def losses(**changes):
    logprobs = torch.linspace(-2, -0.1, 12).view(4, 3)
    advantages = torch.linspace(-1, 1, 12).view(4, 3)
    arguments = {"policy_logprobs": logprobs.clone().requires_grad_(), "old_logprobs": logprobs - 0.1}
    mask = batch()["completion_mask"]
    return arguments | {"advantages": advantages, "loss_mask": mask, "denominator": mask.sum().float()} | changes


@pytest.mark.parametrize("name", ["old_logprobs", "advantages", "loss_mask"])
@pytest.mark.parametrize("shape", [(4, 1), (1, 3), (4, 2), (3, 3)])
def test_a_loss_names_what_would_broadcast(name, shape):
    wrong = torch.ones(shape, dtype=torch.bool) if name == "loss_mask" else torch.zeros(shape)
    with pytest.raises(TypeError, match=f"parameter '{name}'"):
        ClippedPolicyLoss()(**losses(**{name: wrong}))


def strided(tensor):
    """The same values, in memory every other one."""
    wide = torch.zeros(*tensor.shape[:-1], 2 * tensor.shape[-1], dtype=tensor.dtype)
    wide[..., ::2] = tensor.detach()
    return wide[..., ::2]


def test_memory_layout_changes_nothing():
    arguments, inputs = batch(), losses()
    expected = GroupRelative()(**arguments)
    found = GroupRelative()(**{name: strided(value) for name, value in arguments.items()})
    assert torch.equal(found.advantages, expected.advantages)
    scattered = {name: value if value.ndim == 0 else strided(value) for name, value in inputs.items()}
    assert not scattered["advantages"].is_contiguous()
    scattered["policy_logprobs"].requires_grad_()
    ours, theirs = ClippedPolicyLoss()(**scattered).loss, ClippedPolicyLoss()(**inputs).loss
    ours.backward(), theirs.backward()
    assert torch.equal(ours, theirs)
    assert torch.equal(scattered["policy_logprobs"].grad, inputs["policy_logprobs"].grad)


def test_gradients_reach_the_policy_alone():
    inputs = losses(old_logprobs=torch.zeros(4, 3, requires_grad=True))
    inputs["advantages"] = inputs["advantages"].clone().requires_grad_()
    ClippedPolicyLoss()(**inputs).loss.backward()
    assert inputs["policy_logprobs"].grad is not None
    assert inputs["old_logprobs"].grad is None
    assert inputs["advantages"].grad is None
    rewards = torch.tensor([1.0, 0.0, 1.0, 0.0], requires_grad=True)
    assert not GroupRelative()(**batch(rewards=rewards)).advantages.requires_grad


@pytest.mark.parametrize(("rows", "tokens"), [(0, 3), (0, 0), (4, 0)])
def test_a_loss_of_nothing_is_zero_with_a_zero_gradient(rows, tokens):
    empty = {name: torch.zeros(rows, tokens) for name in ("policy_logprobs", "old_logprobs", "advantages")}
    empty["policy_logprobs"].requires_grad_()
    mask = torch.zeros(rows, tokens, dtype=torch.bool)
    loss = ClippedPolicyLoss()(**empty, loss_mask=mask, denominator=ClippedPolicyLoss().denominator(mask)).loss
    loss.backward()
    assert loss.item() == 0
    assert empty["policy_logprobs"].grad.shape == (rows, tokens)


@pytest.mark.parametrize("name", ["information_mask", "reasoning_mask"])
def test_a_signals_mask_that_counts_padding_is_refused(name):
    arguments = batch()
    mask = arguments["completion_mask"]
    signals = TokenSignals(information=mask.float(), **{name: torch.ones_like(mask)})
    with pytest.raises(ValueError, match=f"signals.{name}: must be a subset of completion_mask"):
        InformationAware()(**arguments, signals=signals)


@pytest.mark.parametrize("denominator", [0.0, -1.0, float("nan"), float("inf")])
def test_a_loss_is_divided_by_a_positive_finite_number_alone(denominator):
    with pytest.raises(ValueError, match=r"denominator: got .*, want a positive, finite number"):
        ClippedPolicyLoss()(**losses(denominator=torch.tensor(denominator)))


def test_weights_on_the_meta_device_are_named():
    tokenizer = load_tokenizer(str(model_path()))
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(model_path()))
    ids, mask = torch.tensor([[5, 6]]), torch.ones(1, 2, dtype=torch.bool)
    rollout = Rollout(ids, mask, ids, mask, mask, torch.zeros(1, dtype=torch.long))
    calls = [
        lambda: CompactingSampler(model, tokenizer, max_new_tokens=2)(["1+1="], group_size=2),
        lambda: completion_logprobs(model, rollout),
        lambda: NextTokenEntropy()(model, rollout),
    ]
    for call in calls:
        with pytest.raises(ValueError, match=r"model: its weight \S*embed\S*weight lies on the meta device, .* load"):
            call()


def test_devices_that_differ_are_named_before_any_kernel():
    with pytest.raises(ValueError, match=r"one device.*completion_mask on meta"):
        GroupRelative()(**batch(completion_mask=torch.ones(4, 3, dtype=torch.bool, device="meta")))
    ids, mask = torch.zeros(1, 2, dtype=torch.long), torch.ones(1, 2, dtype=torch.bool)
    with pytest.raises(ValueError, match=r"Rollout: .*one device.*reasoning_mask on meta"):
        Rollout(ids, mask, ids, mask, mask.to("meta"), torch.zeros(1, dtype=torch.long))


def test_the_same_prompt_twice_makes_two_groups():
    model, tokenizer = load_model("embedded")
    rollout = CompactingSampler(model, tokenizer, max_new_tokens=3)([[5, 6], [5, 6]], 2)
    assert rollout.group_ids.tolist() == [0, 0, 1, 1]
    rewards = torch.tensor([1.0, 0.0, 1.0, 1.0])
    output = GroupRelative()(rewards, rollout.group_ids, rollout.completion_mask)
    assert (output.advantages[2:] == 0).all(), "the second group has equal rewards, whatever the first one has"
    assert (output.advantages[0, 0] > 0) & (output.advantages[1, 0] < 0)


def called(tree):
    """The dotted names of all calls in a syntax tree."""
    return {ast.unparse(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}


def test_the_source_evaluates_and_unpickles_nothing():
    forbidden = {"eval", "exec", "pickle.load", "pickle.loads", "torch.load", "yaml.load", "sympify", "parse_expr"}
    for source in SOURCES:
        names = called(ast.parse(source.read_text(encoding="utf-8")))
        found = {name for name in names if name in forbidden or name.split(".")[-1] in {"sympify", "parse_expr"}}
        assert not found, f"{source}: {found}"


class Maker:
    """Makes a folder when it is unpickled."""

    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return Path.mkdir, (self.mark,)


def test_weights_that_are_a_pickle_run_no_code(tmp_path):
    folder = Path(shutil.copytree(model_path(), tmp_path / "model"))
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps({"weight": Maker(tmp_path / "mark")}, 2))
    refused = (
        f"model: {folder} cannot be loaded .its weights are a pickle with more than tensors in it, .*; want safetens"
    )
    with pytest.raises(ValueError, match=refused) as error:
        load_model(str(folder))
    assert "weights_only" not in str(error.value), "torch advises to run what is in it"
    assert not (tmp_path / "mark").exists()
    torch.save({"weight": Maker(tmp_path / "mark")}, folder / "pytorch_model.bin")
    with pytest.raises(ValueError, match=refused):
        load_model(str(folder))
    assert not (tmp_path / "mark").exists()


def test_adapters_that_are_a_pickle_run_no_code(tmp_path):
    pytest.importorskip("peft", reason="PEFT is not installed")
    config = {"peft_type": "LORA", "r": 2, "target_modules": ["q_proj"], "base_model_name_or_path": str(model_path())}
    (tmp_path / "adapter_config.json").write_text(json.dumps(config))
    torch.save({"weight": Maker(tmp_path / "mark")}, tmp_path / "adapter_model.bin")
    with pytest.raises(
        ValueError, match=r"the adapters in .* cannot be loaded .its weights are a pickle with more than"
    ):
        load_model(str(tmp_path))
    assert not (tmp_path / "mark").exists()


def test_code_that_comes_with_a_model_is_not_run(tmp_path):
    folder = Path(shutil.copytree(model_path(), tmp_path / "model"))
    config = json.loads((folder / "config.json").read_text())
    config |= {"model_type": "own", "auto_map": {"AutoConfig": "own.Own", "AutoModelForCausalLM": "own.Own"}}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "own.py").write_text(f"import os\nos.mkdir({str(tmp_path / 'mark')!r})\n")
    with pytest.raises(ValueError, match="trust_remote_code"):
        load_model(str(folder))
    assert not (tmp_path / "mark").exists()


def test_answers_are_not_evaluated(tmp_path):
    mark = tmp_path / "mark"
    code = f"__import__('os').mkdir('{mark}')"
    answers = [code, f"\\boxed{{{code}}}", f"${code}$", f"{{{code}}}", f"lambda: {code}", f"x.f({code})", f"1+{code}"]
    reward = MathAnswer()
    texts = [f"<think>a</think><answer>{answer}</answer>" for answer in answers]
    for reference in ("7", *answers):
        reward(["q"] * len(texts), texts, [[1]] * len(texts), answer=[reference] * len(texts))
    reward.close()
    assert not mark.exists()


def test_names_of_tensors_never_become_paths(tmp_path):
    names = ["../../evil", "/tmp/evil", "a/b", "..", "\\evil", "x\0y"]
    state = TrainingState({name: torch.ones(2) for name in names}, {}, {})
    model, tokenizer = load_model("embedded")
    save_checkpoint(tmp_path / "runs" / "one", 1, state, model, tokenizer)
    assert [path.name for path in tmp_path.iterdir()] == ["runs"]
    assert [path.name for path in (tmp_path / "runs" / "one").iterdir()] == ["checkpoint-1"]
    assert all(path.is_file() for path in (tmp_path / "runs" / "one" / "checkpoint-1").iterdir())
    assert set(load_checkpoint(tmp_path / "runs" / "one").state.optimizer) == set(names)


def test_a_tokenizer_that_has_changed_is_noticed_on_resuming(tmp_path, capsys):
    from iapo.cli import main

    model = Path(shutil.copytree(model_path(), tmp_path / "model"))
    arguments = ["train", "--output", str(tmp_path / "run"), "--model", str(model), "--limit", "32", "--diagnose", "0"]
    arguments += ["--steps", "1", "--prompts_per_step", "2", "--group_size", "2", "--sampler.max_new_tokens", "4"]
    arguments += ["--eval_problems", "2", "--eval_samples", "1"]
    assert main(arguments) == 0
    tokenizer = load_tokenizer(str(model))
    tokenizer.chat_template = "{{ messages }}"
    tokenizer.save_pretrained(model)
    capsys.readouterr()
    assert main([*arguments, "--steps", "2", "--resume"]) == 1
    assert "tokenizer: saved" in capsys.readouterr().err
