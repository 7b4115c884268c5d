"""Evaluates one run on the problems of a comparison: `python -m iapo.comparison.running.evaluate`."""

import argparse
import json
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from transformers.utils.logging import disable_progress_bar

from iapo.comparison.running.problems import digest
from iapo.comparison.running.settings import instantiate
from iapo.embedded import TokenClass, classify, parse_prompt, shortest_length
from iapo.interfaces import Reward, Sampler
from iapo.policy.loading import choose_autocast, choose_device, load_model
from iapo.rewards.rollouts import score_rollout
from iapo.rollout import TransformersSampler
from iapo.rollout.text import decode_completions
from iapo.training.checkpoint import latest_checkpoint
from iapo.training.run import longest


def judge(problems: Path, run: Path) -> None:
    """Sample completions of every problem from a run's last checkpoint, judge them, and keep what came.

    Args:
        problems: a file of `iapo.comparison.running.problems.write_problems`.
        run: the run folder; one that nothing was trained in has no checkpoint, and the model is the one that training
            starts from.
            ``judged-SPLIT.json`` is written there: per problem and sample whether it was right and its length, the
            same of the greedy completion, and, of the embedded task, mean tokens of each class per completion and the
            length of the shortest sufficient reasoning.

    Raises:
        FileNotFoundError: a trained run whose checkpoints are gone.
    """
    start = time.perf_counter()
    content = json.loads(problems.read_text(encoding="utf-8"))
    settings, rows, samples = content["settings"], content["rows"], content["samples"]
    parts = instantiate(settings)
    place = choose_device(settings["device"])
    autocast = choose_autocast(settings["precision"], place)
    checkpoint = latest_checkpoint(run)
    if checkpoint is None and (run / "report.md").exists():
        raise FileNotFoundError(
            f"{run}: this run was trained and has no checkpoint left to judge; put it back, or delete the folder to "
            "train again"
        )
    source = settings["model"] if checkpoint is None else str(checkpoint)
    model, tokenizer = load_model(source, place, trust_remote_code=settings["trust_remote_code"])
    draw = parts["sampler"](model, tokenizer)
    greedy = TransformersSampler(model, tokenizer, max_new_tokens=longest(draw), temperature=0.0)
    torch.manual_seed(content["seed"])
    with torch.autocast(place.type, autocast, enabled=autocast is not None):
        drawn = _sampled(draw, rows, samples, tokenizer, parts["rewards"], content["batch"])
        best = _sampled(greedy, rows, 1, tokenizer, parts["rewards"], content["batch"])
    judged: dict[str, Any] = {
        "problems": digest(problems),
        "model": settings["model"] if checkpoint is None else checkpoint.name,
        "correct": [[sample[0] for sample in row] for row in drawn],
        "lengths": [[sample[1] for sample in row] for row in drawn],
        "greedy_correct": [row[0][0] for row in best],
        "greedy_lengths": [row[0][1] for row in best],
    }
    if settings["data"] == "embedded":
        judged["classes"] = tokens_by_class(content["problems"], [[sample[2] for sample in row] for row in drawn])
        judged["shortest"] = [shortest_length(parse_prompt(prompt), tokenizer) for prompt in content["problems"]]
    judged["seconds"] = time.perf_counter() - start
    target = run / f"judged-{content['split']}.json"
    partial = target.with_suffix(".partial")
    partial.write_text(json.dumps(judged) + "\n")
    partial.replace(target)


def tokens_by_class(prompts: Sequence[str], completions: Sequence[Sequence[str]]) -> dict[str, list[float]]:
    """Mean tokens of each class in a completion, one number a problem; they sum to the mean length.

    Args:
        prompts: problems of the embedded task.
        completions: texts, end of sequence included, for each problem.

    Example:
        >>> {k: v for k, v in tokens_by_class(["3+8="], [["<think>3+8=1 hmm "]]).items() if v != [0.0]}
        {'needed': [5.0], 'filler': [1.0], 'format': [1.0]}
    """
    counts = [
        sum((Counter(classify(prompt, text)) for text in texts), Counter())
        for prompt, texts in zip(prompts, completions, strict=True)
    ]
    return {
        str(kind): [count[kind] / len(texts) for count, texts in zip(counts, completions, strict=True)]
        for kind in TokenClass
    }


def _sampled(
    sampler: Sampler,
    rows: Sequence[Mapping[str, Any]],
    samples: int,
    tokenizer: Any,
    rewards: Mapping[str, Reward],
    batch: int,
) -> list[list[tuple[int, int, str]]]:
    """Right (1) or wrong (0), length, and text of every completion of every problem, a few problems at a time."""
    judged = []
    size = max(1, batch // samples)
    for start in range(0, len(rows), size):
        part = rows[start : start + size]
        rollout = sampler([row["prompt"] for row in part], samples)
        groups = rollout.group_ids.tolist()
        right = score_rollout(rollout, [part[group] for group in groups], tokenizer, rewards).correct().tolist()
        lengths = rollout.completion_lengths.tolist()
        texts = decode_completions(tokenizer, rollout, eos_ids=())
        found: list[list[tuple[int, int, str]]] = [[] for _ in part]
        for group, correct, length, text in zip(groups, right, lengths, texts, strict=True):
            found[group].append((int(correct), length, text))
        judged += found
    return judged


if __name__ == "__main__":
    disable_progress_bar()
    parser = argparse.ArgumentParser(description="Judge a run of a comparison.")
    parser.add_argument("problems", type=Path, help="a file judging-SPLIT.json")
    parser.add_argument("run", type=Path, help="the run folder")
    judge(**vars(parser.parse_args()))
