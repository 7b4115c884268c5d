"""Part 1: the tests that are marked `cuda`, and the contracts of all components on the device."""

import argparse
import copy
import dataclasses
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from benchmarks.gpu.results import Results, Row
from iapo import AdvantageInputs, Rollout, TokenSignals
from iapo.testing import check_estimator, check_policy_loss, check_policy_optimizer, check_sampler, tiny_llama
from iapo.testing.checks import assert_close, for_all, seeded
from iapo.testing.strategies import reward_batches

ROOT = Path(__file__).parents[2]
FP32, BF16 = 5e-4, 0.5
"""Nats by which values on the device may differ."""


def run(results: Results, settings: argparse.Namespace) -> None:
    """All cases."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    results.case("pytest -m cuda", lambda: pytest_cuda(settings.toy))
    listed = listed_components()
    for name, estimator, options in named(listed.ESTIMATORS, settings.toy):
        if "model" not in options:
            results.case(f"{name}: contract, fp32", lambda e=estimator, o=options: contract(e, o, device, settings.toy))
            for dtype, bound in ((torch.float32, FP32), (torch.bfloat16, BF16)):
                case = f"{name}: values, {str(dtype).removeprefix('torch.')}"
                results.case(case, lambda e=estimator, d=dtype, b=bound: values(e, device, d, b))
    for name, assigner, options in named(listed.ASSIGNERS, settings.toy):
        results.case(f"{name}: values", lambda a=assigner, o=options: assigner_values(a, o, device))
    for name, loss, options in named(listed.LOSSES, settings.toy):
        results.case(f"{name}: contract", lambda c=loss, o=options: applied(check_policy_loss(c, **o)))
        results.case(f"{name}: values", lambda c=loss: loss_values(c, device))
    for name, make, options in named(listed.OPTIMIZERS, settings.toy):
        case = f"{name}: contract"
        results.case(case, lambda m=make, o=options: applied(check_policy_optimizer(m, device=device, **o)))
    for name in ("CompactingSampler", "TransformersSampler"):
        results.case(f"{name}: contract", lambda n=name: sampler_contract(n, device, listed))
    for precision in ("fp32", "bf16"):
        case = f"loop, checkpoint and resume, {precision}"
        results.case(case, lambda p=precision: resumed(device, p, settings.toy))


def pytest_cuda(toy: bool) -> Row:
    """The marked tests; at toy size only collected, as they are skipped without a device."""
    command = [sys.executable, "-m", "pytest", "-q", "-m", "cuda", "tests/ops", "tests/training/test_loop.py"]
    command += ["tests/rollout/test_samplers.py", "tests/estimators"]
    done = subprocess.run(
        command + ["--collect-only"] * toy, cwd=ROOT, capture_output=True, text=True, check=False, timeout=400
    )
    summary = done.stdout.strip().splitlines()[-1] if done.stdout.strip() else done.stderr[-200:]
    if done.returncode:
        raise AssertionError("; ".join(done.stdout.strip().splitlines()[-12:]) or summary)
    return {"result": summary}


def listed_components() -> Any:
    """The lists of `tests/test_contracts.py`."""
    sys.path.insert(0, str(ROOT / "tests"))
    import test_contracts

    return test_contracts


def named(components: list[Any], toy: bool) -> Iterator[tuple[str, Any, dict[str, Any]]]:
    """Each with a name of its own and its options; at toy size the first two."""
    for index, entry in enumerate(components[:2] if toy else components):
        component, options = entry if isinstance(entry, tuple) else (entry, {})
        yield f"{index}, {getattr(component, '__name__', type(component).__name__)}", component, dict(options)


def applied(checks: dict[str, bool]) -> Row:
    return {"result": f"{sum(checks.values())} checks passed"}


def on(device: torch.device, component: Any) -> Any:
    """A copy, its weights on the device where it has any."""
    own = copy.deepcopy(component)
    return own.to(device) if isinstance(own, torch.nn.Module) else own


def contract(estimator: Any, options: dict[str, Any], device: torch.device, toy: bool) -> Row:
    """The contract with a model on the device."""
    options = {"tolerance": FP32, "examples": 2 if toy else 6} | options
    return applied(check_estimator(on(device, estimator), model=tiny_llama().to(device), **options))


def example() -> Rollout:
    """Ragged on both sides, with answers."""
    generator = torch.Generator().manual_seed(0)
    mask = torch.arange(12) < torch.tensor([[12], [7], [0]])
    return Rollout(
        prompt_ids=torch.randint(8, 25, (3, 5), generator=generator),
        prompt_mask=torch.arange(5) >= torch.tensor([[0], [2], [4]]),
        completion_ids=torch.randint(8, 25, (3, 12), generator=generator).masked_fill(~mask, 0),
        completion_mask=mask,
        reasoning_mask=mask,
        group_ids=torch.zeros(3, dtype=torch.long),
        answer_ids=torch.tensor([[9, 12]] * 3),
        answer_mask=torch.ones(3, 2, dtype=torch.bool),
    )


def values(estimator: Any, device: torch.device, dtype: torch.dtype, bound: float) -> Row:
    """Information on the device against that in fp32 on the CPU, of the same weights rounded to the precision."""
    rounded, rollout = tiny_llama().to(dtype), example()
    found = []
    for place, model in ((torch.device("cpu"), rounded.float()), (device, tiny_llama().to(dtype).to(device))):
        torch.manual_seed(0)
        found.append(on(place, estimator)(model, rollout.to(place)).cpu())
    difference = float((found[1] - found[0]).abs().max())
    sampled = not torch.equal(found[0], estimator_again(estimator, rounded, rollout))
    if not found[1].isfinite().all() or (difference > bound and not sampled and dtype == torch.float32):
        raise AssertionError(f"differs from fp32 on the CPU by {difference:.3g} nats, want at most {bound:g}")
    return {"largest difference, nats": difference}


def estimator_again(estimator: Any, model: torch.nn.Module, rollout: Rollout) -> torch.Tensor:
    """With another seed: what samples has other values."""
    torch.manual_seed(1)
    return on(torch.device("cpu"), estimator)(model, rollout)


def assigner_values(assigner: Any, options: dict[str, Any], device: torch.device) -> Row:
    """Advantages on the device against the CPU's, of inputs that hypothesis makes."""
    sampled = not options.get("deterministic", True)

    def holds(batch: AdvantageInputs) -> None:
        found = []
        for place in (torch.device("cpu"), device):
            with seeded(device=place):
                found.append(assigner(**vars(moved(batch, place))))
        if found[1].advantages.device.type != device.type or found[1].loss_mask.device.type != device.type:
            raise AssertionError(f"want advantages and loss mask on {device}, got {found[1].advantages.device}")
        if not sampled:
            assert_close("advantages", found[1].advantages.cpu(), found[0].advantages, FP32)

    for_all(6, holds, reward_batches(ties=options.get("ties", True)))
    return {"result": "finite" if sampled else f"within {FP32} of the CPU's"}


def moved(batch: AdvantageInputs, device: torch.device) -> AdvantageInputs:
    """The inputs of an assigner, on the device."""
    signals = {name: None if value is None else value.to(device) for name, value in vars(batch.signals).items()}
    own = {name: value.to(device) for name, value in vars(batch).items() if name != "signals"}
    return dataclasses.replace(batch, **own, signals=TokenSignals(**signals))


def loss_values(loss: Any, device: torch.device) -> Row:
    """Loss and gradient on the device against the CPU's."""
    generator = torch.Generator().manual_seed(0)
    old = -torch.rand(4, 9, generator=generator) - 0.1
    mask = torch.arange(9) < torch.tensor([[9], [5], [1], [7]])
    fields = {"old_logprobs": old, "advantages": torch.randn(4, 9, generator=generator), "loss_mask": mask}
    fields |= {"ref_logprobs": old - 0.05, "sampler_logprobs": old + 0.05, "denominator": mask.sum().float()}
    moved = old + 0.3 * torch.randn(4, 9, generator=generator)
    found = []
    for place in (torch.device("cpu"), device):
        policy = moved.to(place, copy=True).requires_grad_()
        value = loss(policy_logprobs=policy, **{name: each.to(place) for name, each in fields.items()}).loss
        value.backward()
        found.append(torch.cat([value.detach().reshape(1), policy.grad.flatten()]).cpu())
    difference = float((found[1] - found[0]).abs().max())
    if not difference < 1e-5:
        raise AssertionError(f"loss or gradient differs from the CPU's by {difference:.3g}")
    return {"largest difference, nats": difference}


def sampler_contract(name: str, device: torch.device, listed: Any) -> Row:
    """The contract with a model on the device."""
    from iapo import rollout

    model = listed.sampled_model().to(device)
    sampler = getattr(rollout, name)(model, listed.TOKENIZER, max_new_tokens=8)
    return applied(check_sampler(sampler, tolerance=FP32))


def resumed(device: torch.device, precision: str, toy: bool) -> Row:
    """Four updates in one go, and two updates, a checkpoint, and two more: the same metrics."""
    import json

    common = [sys.executable, "-m", "iapo.cli", "train", "--device", device.type, "--precision", precision]
    common += ["--prompts_per_step", "4", "--group_size", "4", "--checkpoint_every", "1", "--eval_problems", "4"]
    common += ["--eval_samples", "1", "--diagnose", "0"]
    steps = 2 if toy else 4
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    with tempfile.TemporaryDirectory() as folder:
        logs = []
        for name, counts in (("whole", (steps,)), ("halves", (steps // 2, steps))):
            for index, count in enumerate(counts):
                command = [*common, "--output", f"{folder}/{name}", "--steps", str(count)] + ["--resume"] * (index > 0)
                done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
                if done.returncode:
                    raise AssertionError(f"iapo train: {(done.stderr or done.stdout).strip()[-280:]}")
            lines = Path(folder, name, "metrics.jsonl").read_text().splitlines()
            logs.append([json.loads(line) for line in lines])
    last = [{key: value for key, value in log[-1].items() if "time" not in key} for log in logs]
    apart = [key for key in last[0] if last[0][key] != last[1].get(key)]
    return {"result": f"{steps} updates; metrics that differ after resuming: {', '.join(apart) or 'none'}"}
