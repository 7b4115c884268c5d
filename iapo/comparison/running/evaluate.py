"""Evaluates one run on the problems of a comparison: `python -m iapo.comparison.running.evaluate`."""

import argparse
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from transformers.utils.logging import disable_progress_bar

from iapo.comparison.running.problems import style_source
from iapo.comparison.running.results import BASE_FOLDER, evaluation_file, made_from, read_evaluation
from iapo.comparison.running.settings import instantiate
from iapo.evaluation import ForcedAnswers, evaluate
from iapo.ops.json_files import read_sealed
from iapo.rewards import in_style
from iapo.rewards.rollouts import score_rollout
from iapo.rollout.greedy import greedy_beside
from iapo.tasks import Classifier, Task
from iapo.training.checkpoints.checkpoint import checkpoints, counters_in, latest_checkpoint, step_of
from iapo.training.configuration.policy_source import PolicySource
from iapo.training.configuration.problem_source import ProblemSource
from iapo.training.configuration.styles import sampler_in_style
from iapo.training.reporting.log import METRICS, metrics_digest, read_metrics
from iapo.training.reporting.report import REPORT
from iapo.training.setup.finding_style import choose_style
from iapo.training.setup.kept_style import kept_style


def evaluate_run(problems: Path, run: Path, reward_time_limit: float | None = None) -> None:
    """Evaluate the last checkpoint of a run.

    Args:
        problems: a file of `iapo.comparison.running.problems.write_problems`.
        run: the run folder; one that nothing was trained in has no checkpoint, and the model is the one that training
            starts from. ``evaluation-SPLIT.json`` is written there: what `iapo.evaluation.EvaluationResult.save`
            writes, what it was made from, the digest of the metrics up to this checkpoint, what differed when the run
            went on by ``--override``, and, as far as the task knows them, mean tokens of each class per completion and
            the length of the shortest sufficient completion, per problem.
        reward_time_limit: seconds that a reward function may take over completions that are sampled together; ``None``:
            no limit.

    Raises:
        FileNotFoundError: a trained run whose last checkpoint is gone or damaged, or budgets that follow from the base
            model before that was evaluated.
    """
    start = time.perf_counter()
    content = read_sealed(problems)
    parts = instantiate(content["settings"])
    checkpoint = last_checkpoint(run)
    forced = forced_answers(problems, run) if "forced" in content else None
    policy = PolicySource(parts["model"], parts["device"], parts["precision"], parts["trust_remote_code"])
    model, tokenizer = policy.load(checkpoint)
    sampler = parts["sampler"](model, tokenizer)
    task = ProblemSource(parts["data"], parts["task"]).resolve()
    with policy.autocast_context():
        style = kept_style(run, content["settings"]) or choose_style(
            style_source(content["settings"]),
            task,
            sampler,
            tokenizer,
            [row["prompt"] for row in content["rows"]],
            policy.torch_device(),
        )
        sampler = sampler_in_style(sampler, style)
        if forced is not None:
            forced = replace(forced, postfix=style.postfix, closing=style.closing)
        torch.manual_seed(content["seed"])
        result = evaluate(
            content["rows"],
            tokenizer=tokenizer,
            sampler=sampler,
            greedy=greedy_beside(sampler, model, tokenizer),
            rewards=in_style(parts["rewards"], style, content["settings"]["lenient"]),
            samples=content["samples"],
            batch=content["batch"],
            keep_texts=True,
            forced=forced,
            score=partial(
                score_rollout, time_limit=reward_time_limit, correct_above=content["settings"]["correct_above"]
            ),
        )
    metadata = {
        **made_from(problems, run),
        "model": policy.model if checkpoint is None else checkpoint.name,
        **_of_training(run, checkpoint),
        **known_to_task(task, tokenizer, content["problems"], result.texts or ()),
        "seconds": time.perf_counter() - start,
    }
    result.save(run / evaluation_file(content["split"]), metadata)


def _of_training(run: Path, checkpoint: Path | None) -> dict[str, Any]:
    """What differed when a run went on by ``--override``, and the digest of its metrics, as its checkpoint has them."""
    if checkpoint is None:
        return {"changed": [], "metrics": metrics_digest(run / METRICS)}
    return counters_in(checkpoint, ("changed", "metrics"))


def last_checkpoint(run: Path) -> Path | None:
    """The checkpoint of a run at its end; ``None`` of one that nothing was trained in.

    Raises:
        FileNotFoundError: the run was trained, and this checkpoint is gone or damaged.
    """
    found, made = latest_checkpoint(run), max((row["step"] for row in read_metrics(run / METRICS)), default=0)
    if found is None and (run / REPORT).exists():
        raise FileNotFoundError(
            f"{run}: this run was trained and has no checkpoint left to evaluate; put it back, or delete the folder to "
            "train again"
        )
    end = max([made, *map(step_of, checkpoints(run))])
    if found is not None and step_of(found) < end:
        raise FileNotFoundError(
            f"{run}: this run is to be evaluated at its end, after update {end}, and its newest complete checkpoint is "
            f"{found.name}; put the last one back, or remove {run / REPORT}, and the same comparison trains on from "
            "there"
        )
    return found


def forced_answers(problems: Path, run: Path) -> ForcedAnswers:
    """How the answers of a run are asked for at budgets.

    Args:
        problems: as in `evaluate_run`; says so, but for budgets that follow from the samples of the base model, which
            are in the base model's evaluation.
        run: the run folder.

    Raises:
        FileNotFoundError: such budgets of another run, before the base model was evaluated on these problems.
        ValueError: its evaluation is damaged, or on others.
    """
    forced = ForcedAnswers(**read_sealed(problems)["forced"])
    folder = problems.parent
    if forced.budgets is not None or run.resolve() == (folder / BASE_FOLDER).resolve():
        return forced
    base = read_evaluation(folder, BASE_FOLDER, "test")
    if base is None:
        raise FileNotFoundError(
            f"{folder / BASE_FOLDER}: not evaluated, and the budgets of all runs follow from its lengths; the same "
            "comparison evaluates it first, or give evaluation.budgets"
        )
    curve = base.result.at_budget
    assert curve is not None, "the digest of the problems covers that budgets are measured"
    return replace(forced, budgets=curve.budgets)


def known_to_task(
    task: Task, tokenizer: Any, prompts: Sequence[str], completions: Sequence[Sequence[str]]
) -> dict[str, Any]:
    """What a task knows of completions, problem by problem; what it does not know is absent.

    Args:
        task: where the problems come from.
        tokenizer: of the policy.
        prompts: the problems, as the data have them.
        completions: texts, end of sequence included, for each problem.

    Returns:
        ``classes``, as `tokens_by_class`, and ``shortest``, tokens of the shortest sufficient completion.
    """
    known: dict[str, Any] = {}
    if classifier := task.classifier(tokenizer, prompts):
        known["classes"] = tokens_by_class(prompts, completions, classifier, task.classes)
    shortest = [task.shortest_length(prompt, tokenizer) for prompt in prompts]
    if None not in shortest:
        known["shortest"] = shortest
    return known


def tokens_by_class(
    prompts: Sequence[str], completions: Sequence[Sequence[str]], classifier: Classifier, classes: Sequence[str]
) -> dict[str, list[float]]:
    """Mean tokens of each class in a completion, one number a problem; they sum to the mean length.

    Args:
        prompts: problems.
        completions: texts, end of sequence included, for each problem.
        classifier: labels the tokens of a completion.
        classes: every label there is.

    Raises:
        ValueError: a label that is not among ``classes``.

    Example:
        >>> from iapo.embedded import TokenClass, classify
        >>> found = tokens_by_class(["3+8="], [["<think>3+8=1 hmm "]], classify, tuple(TokenClass))
        >>> {k: v for k, v in found.items() if v != [0.0]}
        {'needed': [5.0], 'filler': [1.0], 'format': [1.0]}
    """
    counts = [
        sum((Counter(map(str, classifier(prompt, text))) for text in texts), Counter[str]())
        for prompt, texts in zip(prompts, completions, strict=True)
    ]
    names = list(map(str, classes))
    if unknown := sorted({name for count in counts for name in count} - set(names)):
        raise ValueError(f"classes: got the labels {unknown}, want those that the task names, {names}")
    return {
        name: [count[name] / len(texts) for count, texts in zip(counts, completions, strict=True)] for name in names
    }


if __name__ == "__main__":
    disable_progress_bar()
    parser = argparse.ArgumentParser(description="Evaluate a run of a comparison.")
    parser.add_argument("problems", type=Path, help="a file problems-SPLIT.json")
    parser.add_argument("run", type=Path, help="the run folder")
    parser.add_argument("--reward_time_limit", type=float, help="seconds of a reward function; left out: no limit")
    evaluate_run(**vars(parser.parse_args()))
