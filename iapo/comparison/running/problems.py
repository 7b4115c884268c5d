"""The problems that a comparison evaluates on: none that a run trains on, others for tuning than for reporting."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

from iapo.comparison.running.plan import Plan, Split
from iapo.comparison.running.settings import Settings, instantiate
from iapo.policy.loading import load_tokenizer
from iapo.rewards import check_columns, check_references
from iapo.tasks import Row, hold_out, load_rows
from iapo.training.settings import ProblemSource
from iapo.training.styles import StyleSource

_SPARE = 8
"""How many problems of a seeded task are generated for each one wanted; those that a run trains on are left out."""

_OTHER_SEED = 7_919_000
"""Added to the seed of generated problems to evaluate on, away from the seeds of runs."""

_EVALUATED_BY = (
    *("model", "trust_remote_code", "device", "precision", "data", "task", "sampler", "rewards"),
    *(field.name for field in fields(StyleSource)),
)
"""The settings that an evaluation depends on; others may change without anything being evaluated again."""


def write_problems(plan: Plan, folder: Path, rewards: Any) -> None:
    """Write ``problems-test.json`` and, if anything is tuned, ``problems-validation.json``.

    They have all that an evaluation needs.

    Args:
        plan: of the comparison.
        folder: where the files go.
        rewards: the reward functions of the evaluation; the data must have the columns that they need.

    Raises:
        ValueError: too few problems, or a missing column.
    """
    wanted: dict[Split, int] = {"test": plan.evaluation.problems}
    seeds = plan.reporting_seeds
    if plan.tuning_runs():
        wanted = {"validation": plan.tuning.problems, **wanted}
        seeds = plan.tuning.seeds + seeds
    settings = plan.evaluation.settings
    source = problem_source(settings)
    chosen = choose_problems(settings, wanted, plan.evaluation.seed, seeds)
    tokenizer = load_tokenizer(settings["model"], settings["trust_remote_code"])
    for split, rows in chosen.items():
        check_columns(rewards, rows[0])
        check_references(rewards, rows)
        content = {
            "split": split,
            "seed": plan.evaluation.seed,
            "samples": plan.evaluation.samples if split == "test" else plan.tuning.samples,
            "batch": plan.evaluation.batch,
            "settings": {name: settings[name] for name in _EVALUATED_BY},
            "problems": [row["prompt"] for row in rows],
            "rows": source.render(rows, tokenizer),
        }
        if split == "test" and plan.evaluation.forced is not None:
            content["forced"] = asdict(plan.evaluation.forced)
        problems_path(folder, split).write_text(json.dumps(content, default=str) + "\n", encoding="utf-8")


def problem_source(settings: Settings) -> ProblemSource:
    """Where the problems come from, of resolved settings of `iapo train`."""
    parts = settings if settings["task"] is None else instantiate(settings)
    return ProblemSource(**{field.name: parts[field.name] for field in fields(ProblemSource)})


def style_source(settings: Settings) -> StyleSource:
    """How completions are written, of resolved settings of `iapo train`."""
    parts = instantiate(settings)
    return StyleSource(**{field.name: parts[field.name] for field in fields(StyleSource)})


def problems_path(folder: Path, split: Split) -> Path:
    """Where a comparison keeps the problems of a split."""
    return folder / f"problems-{split}.json"


def digest(path: Path) -> str:
    """SHA-256 of a file, by which an evaluation knows the problems it was made on."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def choose_problems(
    settings: Settings, wanted: dict[Split, int], seed: int, training_seeds: Sequence[int]
) -> dict[Split, list[Row]]:
    """Disjoint problems for each split.

    A task with disjoint splits gives those. Of another seeded task, new problems are generated, and those that a run
    trains on are left out. Of a fixed set of problems, the rows that training holds out are taken: `hold_out` with all
    the problems wanted.

    Args:
        settings: resolved settings of `iapo train`.
        wanted: problems of each split.
        seed: of generated problems.
        training_seeds: seeds of all runs.

    Raises:
        ValueError: too few problems; the number found is named.
    """
    source = problem_source(settings)
    task = source.resolve()
    if task.disjoint_splits:
        return {split: _of_split(source, split, count, seed) for split, count in wanted.items()}
    total = sum(wanted.values())
    if task.holds_out:
        tokenizer = load_tokenizer(settings["model"], settings["trust_remote_code"])
        held = _held_out(source, tokenizer, total)
    else:
        held = _never_trained_on(source, total, seed, training_seeds)
    chosen: dict[Split, list[Row]] = {}
    for split, count in wanted.items():
        chosen[split], held = held[:count], held[count:]
    return chosen


def _of_split(source: ProblemSource, split: Split, count: int, seed: int) -> list[Row]:
    """Problems of one of the splits of a task whose splits are disjoint."""
    task = source.resolve()
    rows = load_rows(task, split, seed, count, source.prompt_column, source.answer_column)
    if len(rows) < count:
        raise ValueError(f"evaluation.problems: want {count} problems, but the {split} split of {task} has {len(rows)}")
    return rows


def _held_out(source: ProblemSource, tokenizer: Any, total: int) -> list[Row]:
    """The rows that training holds out, with their prompts as in the data; training splits by rendered prompts."""
    rows = source.load(seed=0)
    rendered = source.render(rows, tokenizer)
    plain = {json.dumps(after["prompt"]): before for before, after in zip(rows, rendered, strict=True)}
    return [plain[json.dumps(row["prompt"])] for row in hold_out(rendered, total)[1]]


def _never_trained_on(source: ProblemSource, total: int, seed: int, training_seeds: Sequence[int]) -> list[Row]:
    trained = {json.dumps(row["prompt"]) for each in training_seeds for row in source.load(each)}
    pool = replace(source, limit=_SPARE * total).load(_OTHER_SEED + seed)
    found = {json.dumps(row["prompt"]): row for row in pool}
    new = [row for prompt, row in found.items() if prompt not in trained]
    if len(new) < total:
        raise ValueError(
            f"evaluation.problems: want {total} problems in all, but of {source.resolve()} only {len(new)} of "
            f"{len(pool)} generated ones are different ones that no run trains on"
        )
    return new[:total]
