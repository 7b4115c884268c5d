"""The problems that a comparison evaluates on: none that a run trains on, others for tuning than for reporting."""

import json
from collections.abc import Sequence
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any, get_args

from iapo.comparison.running.plan import Plan, Split
from iapo.comparison.running.settings import Settings, instantiate
from iapo.ops.json_files import read_sealed, write_sealed
from iapo.policy.limits import Limits
from iapo.policy.loading import load_limits, load_tokenizer
from iapo.rollout.prompts import encode_prompts
from iapo.tasks import Row, hold_out
from iapo.tasks.messages import problem_key, problem_of
from iapo.training.checkpoints.reproducibility import differences
from iapo.training.components import Answer
from iapo.training.configuration.parser import keeps_rows_apart, max_new_tokens
from iapo.training.configuration.plain_files import digests
from iapo.training.configuration.problem_source import ProblemSource
from iapo.training.configuration.styles import StyleSource
from iapo.training.setup.fitting import Room, forced_in_training, reserved_by
from iapo.training.setup.problems import Problems

_SPARE = 8
"""How many problems of a seeded task are generated for each one wanted; those that a run trains on are left out."""

_OTHER_SEED = 7_919_000
"""Added to the seed of generated problems to evaluate on, away from the seeds of runs."""

_EVALUATED_BY = (
    *("model", "trust_remote_code", "device", "precision", "data", "task", "sampler", "rewards", "correct_above"),
    *(field.name for field in fields(StyleSource)),
)
"""The settings that an evaluation depends on; others may change without anything being evaluated again."""


def write_problems(plan: Plan, folder: Path, rewards: Any) -> None:
    """Write ``problems-test.json`` and, if anything is tuned, ``problems-validation.json``.

    They have all that an evaluation needs. What the trainings would refuse for its length is found here too, unless
    the style that their samples show forces more tokens behind completions than the estimator's settings.

    Args:
        plan: of the comparison.
        folder: where the files go.
        rewards: the reward functions of the evaluation; the data must have the columns that they need.

    Raises:
        ValueError: too few problems, a missing column, or prompts, of trainings too, that cannot be rendered or do not
            fit the model.
    """
    wanted: dict[Split, int] = {"test": plan.evaluation.problems}
    seeds = plan.reporting_seeds
    if plan.tuning_runs():
        wanted = {"validation": plan.tuning.problems, **wanted}
        seeds = plan.tuning.seeds + seeds
    settings = plan.evaluation.settings
    source = problem_source(settings)
    chosen = choose_problems(settings, wanted, plan.evaluation.seed, seeds)
    model = settings["model"], settings["trust_remote_code"]
    tokenizer, limits = load_tokenizer(*model), load_limits(*model)
    _check_trainings(plan, source, seeds, tokenizer, limits.scored)
    reserved = reserved_by(max_new_tokens(settings["sampler"]), tokenizer, plan.evaluation.forced)
    evaluated = limits if keeps_rows_apart(settings["sampler"]) else limits.scored
    room = Room(tokenizer, evaluated, reserved, source.long_prompts)
    for split, rows in chosen.items():
        numbers = [f"{place} of the {split} problems of {source.resolve()}" for place in range(len(rows))]
        problems = Problems(source, rows, numbers)
        problems.check(rewards)
        rendered = problems.rendered(tokenizer)
        kept = room.fitting(rendered.sizes, numbers)
        content = {
            **_evaluated_as(plan, split),
            "problems": [rows[place]["prompt"] for place in kept],
            "rows": [rendered.rows[place] for place in kept],
        }
        write_sealed(problems_path(folder, split), json.loads(json.dumps(content, default=_as_text)))


def check_problems(plan: Plan, folder: Path) -> None:
    """Raise ``ValueError`` if the problems of a folder were written for another plan of evaluation than this one's.

    Raises:
        FileNotFoundError: there are none.
    """
    if not problems_path(folder, "test").exists():
        raise FileNotFoundError(f"output: {folder} holds no comparison")
    for path in filter(Path.exists, (problems_path(folder, split) for split in get_args(Split))):
        try:
            content = read_sealed(path)
        except ValueError as error:
            raise ValueError(f"{error}; the same command without --only_report writes it again") from error
        found = {name: value for name, value in content.items() if name not in ("problems", "rows")}
        number = len(content["rows"])
        changes = differences(found, _evaluated_as(plan, found["split"]))
        size = plan.evaluation.problems if found["split"] == "test" else plan.tuning.problems
        if number != size and problem_source(plan.evaluation.settings).long_prompts == "refuse":
            changes.append(f"problems: saved {number}, now {size}")
        if changes:
            raise ValueError(
                f"{path}: the runs were evaluated by another plan ({'; '.join(changes)}); put the plan back, or leave "
                "--only_report out, and they are evaluated again"
            )


def _evaluated_as(plan: Plan, split: Split) -> dict[str, Any]:
    """How the runs of a plan are evaluated on a split, but for the problems themselves."""
    evaluation, test = plan.evaluation, split == "test"
    content = {
        "split": split,
        "seed": evaluation.seed,
        "samples": evaluation.samples if test else plan.tuning.samples,
        "batch": evaluation.batch,
        "settings": {name: evaluation.settings[name] for name in _EVALUATED_BY},
        "files": digests(evaluation.settings),
    }
    if test and evaluation.forced is not None:
        content["forced"] = asdict(evaluation.forced)
    return content


def _check_trainings(plan: Plan, source: ProblemSource, seeds: Sequence[int], tokenizer: Any, limits: Limits) -> None:
    """Raise ``ValueError`` for problems of a training that cannot be rendered or do not fit the model."""
    followed = {(_may_follow(each), each["answer"]) for method in plan.methods for each in method.settings.values()}
    asked: Answer = "reference" if any(answer == "reference" for _, answer in followed) else "own"
    for seed in seeds if source.resolve().seeded else seeds[:1]:
        problems = Problems.read(source, seed)
        longest = max(map(len, encode_prompts(problems.references(asked), tokenizer)), default=0)
        most = max(tokens + longest * (answer == "reference") for tokens, answer in followed)
        problems.rendered(tokenizer).fitting(Room(tokenizer, limits, most, source.long_prompts))


def _may_follow(settings: Settings) -> int:
    """Tokens that a training may put behind a prompt, but for a reference: a completion, and what an answer is asked
    for with."""
    parts = instantiate(settings)
    return max_new_tokens(settings["sampler"]) + len(forced_in_training(parts["estimator"], parts["assigner"]))


def _as_text(value: Any) -> str:
    """A value that JSON lacks, as rewards read it as a reference."""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


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
        held = hold_out(source.load(seed=0), total, "evaluation.problems, with tuning.eval_problems")[1]
    else:
        held = _never_trained_on(source, total, seed, training_seeds)
    chosen: dict[Split, list[Row]] = {}
    for split, count in wanted.items():
        chosen[split], held = held[:count], held[count:]
    return chosen


def _of_split(source: ProblemSource, split: Split, count: int, seed: int) -> list[Row]:
    """Problems of one of the splits of a task whose splits are disjoint."""
    task = source.resolve()
    rows = source.load_split(split, seed, count)
    if len(rows) < count:
        raise ValueError(f"evaluation.problems: want {count} problems, but the {split} split of {task} has {len(rows)}")
    return rows


def _never_trained_on(source: ProblemSource, total: int, seed: int, training_seeds: Sequence[int]) -> list[Row]:
    trained = {problem_key(problem_of(row["prompt"])) for each in training_seeds for row in source.load(each)}
    pool = replace(source, limit=_SPARE * total).load(_OTHER_SEED + seed)
    found = {problem_key(problem_of(row["prompt"])): row for row in pool}
    new = [row for problem, row in found.items() if problem not in trained]
    if len(new) < total:
        raise ValueError(
            f"evaluation.problems: want {total} problems in all, but of {source.resolve()} only {len(new)} of "
            f"{len(pool)} generated ones are different ones that no run trains on"
        )
    return new[:total]
