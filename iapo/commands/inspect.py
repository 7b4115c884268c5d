"""`iapo inspect`: one prompt, its sampled reasoning, every token colored by what it told about the answer."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from iapo.inspection import Inspection, trace_from_rollout
from iapo.interfaces import MIEstimator, Reward, Sampler
from iapo.policy.forward import inference_mode
from iapo.policy.loading import choose_autocast, choose_device, load_model
from iapo.policy.logprobs import completion_logprobs
from iapo.rewards.rollouts import score_rollout
from iapo.rewards.text import reference_answer
from iapo.rollout import with_answers
from iapo.tasks.data import Row, load_rows, render_prompts
from iapo.training.loop import Answer


def inspect_prompt(
    *,
    model: str,
    seed: int,
    device: str,
    precision: str,
    trust_remote_code: bool,
    data: str,
    split: str,
    limit: int | None,
    prompt_column: str,
    answer_column: str,
    prompt_template: str | None,
    system_prompt: str | None,
    prompt: str | None,
    index: int,
    samples: int,
    answer: Answer,
    sampler: Callable[[nn.Module, Any], Sampler],
    rewards: Mapping[str, Reward],
    estimator: MIEstimator,
) -> Inspection:
    """Sample completions of one prompt and measure them. The settings are those of ``iapo inspect``, see its help.

    Raises:
        ValueError: the reference answer is asked about a prompt without one; ``index`` beyond the data.
    """
    if prompt is not None and answer == "reference":
        raise ValueError("answer: 'reference' needs a problem of the data, --prompt has no reference answer")
    rows: list[Row] = [{"prompt": prompt}]
    if prompt is None:
        rows = load_rows(data, split, limit, seed, prompt_column, answer_column)
        if not 0 <= index < len(rows):
            raise ValueError(f"index: got {index}, want 0 to {len(rows) - 1}")
        rows = [rows[index]]
    place = choose_device(device)
    autocast = choose_autocast(precision, place)
    torch.manual_seed(seed)
    policy, tokenizer = load_model(model, place, trust_remote_code=trust_remote_code)
    rows = render_prompts(rows, tokenizer, system_prompt, prompt_template)
    with torch.autocast(place.type, autocast, enabled=autocast is not None), inference_mode(policy):
        rollout = sampler(policy, tokenizer)([rows[0]["prompt"]], samples)
        total = None
        if prompt is None:
            total = score_rollout(rollout, rows * samples, tokenizer, rewards).total.tolist()
        asked = rollout
        if answer == "reference":
            reference = tokenizer.encode(reference_answer(str(rows[0]["answer"])), add_special_tokens=False)
            asked = with_answers(rollout, [reference] * samples)
        information, probes = estimator(policy, asked).float(), estimator.probe(policy, asked).float()
        _, entropy = completion_logprobs(policy, rollout, with_entropy=True)
    label = "log p(answer | prefix), nats" if estimator.information_sign > 0 else "H(answer | prefix), nats"
    traces = tuple(
        trace_from_rollout(
            rollout,
            row,
            tokenizer,
            information,
            probes,
            label,
            reward=None if total is None else total[row],
            policy_entropy=entropy,
        )
        for row in range(len(rollout))
    )
    metadata = {"model": model, "estimator": type(estimator).__name__, "answer": answer, "seed": str(seed)}
    return Inspection(traces=traces, metadata=metadata)


def write_page(inspection: Inspection, path: str) -> None:
    """Write the HTML page of an inspection, UTF-8."""
    from iapo.inspection import render_html

    Path(path).write_text(render_html(inspection), encoding="utf-8")
