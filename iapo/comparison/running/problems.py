"""Which problems judge: none that any run trains on, and other ones for tuning than for reporting."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from iapo.comparison.running.plan import Plan, Split
from iapo.comparison.running.settings import Settings
from iapo.embedded import generate_problems
from iapo.embedded import rows as embedded_rows
from iapo.policy.loading import load_tokenizer
from iapo.rewards import check_columns
from iapo.tasks.data import Row, hold_out, load_rows, render_prompts

_SPARE = 8
"""How many problems of a generated task are drawn for each one wanted; those that a run trains on are left out."""

_OTHER_SEED = 7_919_000
"""Added to the seed of generated problems that judge, away from the seeds of runs."""

_OF_JUDGING = ("model", "trust_remote_code", "device", "precision", "data", "sampler", "rewards")
"""The settings that judging goes by; others may change without anything being judged again."""


def write_problems(plan: Plan, folder: Path, rewards: Any) -> None:
    """Write ``judging-validation.json`` (if anything is tuned) and ``judging-test.json``: all that judging needs.

    Args:
        plan: of the comparison.
        folder: where the files go.
        rewards: the reward functions that judge; the data must have the columns that they need.

    Raises:
        ValueError: too few problems, or a missing column.
    """
    wanted: dict[Split, int] = {"test": plan.judging.problems}
    seeds = plan.reporting_seeds
    if plan.tuning_runs():
        wanted = {"validation": plan.tuning.problems, **wanted}
        seeds = plan.tuning.seeds + seeds
    settings = plan.judging.settings
    chosen = choose_problems(settings, wanted, plan.judging.seed, seeds)
    tokenizer = load_tokenizer(settings["model"], settings["trust_remote_code"])
    for split, rows in chosen.items():
        check_columns(rewards, rows[0])
        content = {
            "split": split,
            "seed": plan.judging.seed,
            "samples": plan.judging.samples if split == "test" else plan.tuning.samples,
            "batch": plan.judging.batch,
            "settings": {name: settings[name] for name in _OF_JUDGING},
            "problems": [row["prompt"] for row in rows],
            "rows": render_prompts(rows, tokenizer, settings["system_prompt"], settings["prompt_template"]),
        }
        judging_path(folder, split).write_text(json.dumps(content, default=str) + "\n", encoding="utf-8")


def judging_path(folder: Path, split: Split) -> Path:
    """Where a comparison keeps the problems of a split."""
    return folder / f"judging-{split}.json"


def digest(path: Path) -> str:
    """SHA-256 of a file, by which an evaluation knows the problems it was made on."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def choose_problems(
    settings: Settings, wanted: dict[Split, int], seed: int, training_seeds: Sequence[int]
) -> dict[Split, list[Row]]:
    """Disjoint problems for each split.

    The embedded task has splits of its own. Of another generated task (reasoning-gym) new problems are drawn and those
    that a run trains on left out. Of a file or hub data set the rows that training holds out are taken: `hold_out` with
    all the problems wanted.

    Args:
        settings: resolved settings of `iapo train`.
        wanted: problems of each split.
        seed: of generated problems.
        training_seeds: seeds of all runs.

    Raises:
        ValueError: too few problems; the number found is named.
    """
    if settings["data"] == "embedded":
        return {
            split: [dict(row) for row in embedded_rows(generate_problems(count, seed, split))]
            for split, count in wanted.items()
        }
    total = sum(wanted.values())
    if settings["data"].startswith("reasoning-gym:"):
        held = _never_trained_on(settings, total, seed, training_seeds)
    else:
        held = _held_out(settings, total)
    chosen: dict[Split, list[Row]] = {}
    for split, count in wanted.items():
        chosen[split], held = held[:count], held[count:]
    return chosen


def _load(settings: Settings, seed: int, limit: int | None) -> list[Row]:
    columns = settings["prompt_column"], settings["answer_column"]
    return load_rows(settings["data"], settings["split"], limit, seed, *columns)


def _held_out(settings: Settings, total: int) -> list[Row]:
    """The rows that training holds out, with their prompts as in the data; training splits by rendered prompts."""
    rows = _load(settings, 0, settings["limit"])
    tokenizer = load_tokenizer(settings["model"], settings["trust_remote_code"])
    rendered = render_prompts(rows, tokenizer, settings["system_prompt"], settings["prompt_template"])
    plain = {json.dumps(after["prompt"]): before for before, after in zip(rows, rendered, strict=True)}
    return [plain[json.dumps(row["prompt"])] for row in hold_out(rendered, total)[1]]


def _never_trained_on(settings: Settings, total: int, seed: int, training_seeds: Sequence[int]) -> list[Row]:
    trained = {row["prompt"] for each in training_seeds for row in _load(settings, each, settings["limit"])}
    pool = _load(settings, _OTHER_SEED + seed, _SPARE * total)
    found = list({row["prompt"]: row for row in pool if row["prompt"] not in trained}.values())
    if len(found) < total:
        raise ValueError(
            f"evaluation.problems: want {total} problems in all, but of {settings['data']} only {len(found)} of "
            f"{len(pool)} drawn are different ones that no run trains on"
        )
    return found[:total]
