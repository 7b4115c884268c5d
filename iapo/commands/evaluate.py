"""`iapo eval`: several models on the same problems, as a table and as JSON."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import nn

from iapo.evaluation.evaluation import EvaluationResult, evaluate, markdown_table
from iapo.interfaces import Reward, Sampler
from iapo.policy.loading import choose_autocast, choose_device, load_model
from iapo.rewards import check_columns
from iapo.rollout import TransformersSampler
from iapo.tasks.data import hold_out, load_rows, render_prompts


def evaluate_models(
    *,
    models: Sequence[str],
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
    problems: int,
    samples: int,
    ks: Sequence[int],
    sampler: Callable[[nn.Module, Any], Sampler],
    rewards: Mapping[str, Reward],
    output: str | None,
) -> str:
    """Evaluate each model with the same problems and seed. The settings are those of ``iapo eval``, see its help.

    Returns:
        The table, Markdown. If ``output`` is a path, all numbers are written there as JSON.

    Raises:
        ValueError: a k above ``samples``, a missing column, fewer problems than wanted; before any model loads.
    """
    wrong = [k for k in ks if not 1 <= k <= samples]
    if wrong:
        raise ValueError(f"ks: got {wrong}, want 1 to the number of samples, {samples}")
    rows = load_rows(data, split, limit, seed, prompt_column, answer_column)
    check_columns(rewards, rows[0])
    _, held_out = hold_out(rows, problems)
    place = choose_device(device)
    autocast = choose_autocast(precision, place)
    results: dict[str, EvaluationResult] = {}
    for source in models:
        model, tokenizer = load_model(source, place, trust_remote_code=trust_remote_code)
        draw = sampler(model, tokenizer)
        torch.manual_seed(seed)
        with torch.autocast(place.type, autocast, enabled=autocast is not None):
            results[source] = evaluate(
                render_prompts(held_out, tokenizer, system_prompt, prompt_template),
                tokenizer=tokenizer,
                sampler=draw,
                greedy=TransformersSampler(model, tokenizer, getattr(draw, "max_new_tokens", 1024), temperature=0.0),
                rewards=rewards,
                samples=samples,
            )
    if output is not None:
        numbers = {
            source: {name: asdict(measure) for name, measure in result.measures(ks).items()}
            for source, result in results.items()
        }
        settings = {"data": data, "problems": problems, "samples": samples, "seed": seed}
        Path(output).write_text(json.dumps({"settings": settings, "results": numbers}, indent=2) + "\n")
    return markdown_table(results, ks)
