"""The plan of a comparison from its YAML file, checked whole before any process starts."""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]

from iapo.comparison.running.entries import Entry, read_entries
from iapo.comparison.running.plan import EvaluationPlan, Method, Plan, Tuning
from iapo.comparison.running.problems import problem_source, style_source
from iapo.comparison.running.settings import Settings, flags, resolve
from iapo.comparison.running.values import check_plain, mapping, one_seed, positive, section, seed_list
from iapo.evaluation import ForcedAnswers
from iapo.styles import CompletionStyle
from iapo.tasks import Task
from iapo.training.configuration.problem_source import ProblemSource
from iapo.training.configuration.unique_keys import check_unique_keys

_SAME = ("model", "trust_remote_code", *(field.name for field in fields(ProblemSource)))
"""Settings in which the methods of a comparison must not differ."""

_FORCED = ("budgets", "budget_samples", "answer_tokens")
"""Keys of ``evaluation`` that say how answers are asked for at budgets."""


def read_plan(path: Path) -> Plan:
    """Read and check a comparison file.

    Args:
        path: YAML with the keys ``methods``, ``reporting`` and, optional, ``task``, ``base``, ``tuning``,
            ``evaluation`` and ``processes``; see the page `compare` of the documentation.

    Raises:
        FileNotFoundError: the file, or a method's ``config``, is not there.
        ValueError: an unknown key, a value out of range, seeds that overlap, settings that `iapo train` refuses, or
            methods that differ in data or budget; the key is named.
    """
    if not path.is_file():
        raise FileNotFoundError(f"comparison: no file {path}")
    try:
        text = path.read_text(encoding="utf-8")
        content = yaml.safe_load(text)
        check_unique_keys(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # a ValueError: a date that is none, other encodings
        raise ValueError(f"comparison: {path} is no YAML: {error}") from error
    check_plain(content)
    file = section(content, "comparison", ("task", "base", "methods", "tuning", "reporting", "evaluation", "processes"))
    base = mapping(file.get("base", {}), "base")
    tuning = _read_tuning(file.get("tuning", {}))
    entries = read_entries(file.get("methods", {}), base, path.parent)
    seeds, reference = _read_reporting(file.get("reporting", {}), entries, tuning)
    processes = section(file.get("processes", {}), "processes", ("at_once", "threads"))
    at_once = positive(processes.get("at_once", 1), "processes.at_once")
    threads = positive(processes.get("threads", 1), "processes.threads")
    common = resolve(flags(base, "base"), "base")
    if common["few_shot"]:
        raise ValueError("base.few_shot: a comparison has no examples; write them into base.prompt_template")
    task = problem_source(common).resolve()
    evaluation = _read_evaluation(file.get("evaluation", {}), base, common, task)
    methods = tuple(entry.resolve() for entry in entries)
    if task.holds_out:
        held = evaluation.problems + (tuning.problems if any(method.tuned for method in methods) else 0)
        own = {f"methods.{name}": given or {} for name, given in file["methods"].items()}
        for where, given in {"base": base, **own}.items():
            _check_held_out(where, given.get("eval_problems", held), held)
        methods = tuple(_holding_out(method, held, common["eval_problems"]) for method in methods)
    for method in methods:
        for setting in method.settings.values():
            _check_common(method.name, setting, common)
    return Plan(
        task=str(file.get("task", task)),
        data=str(task),
        methods=methods,
        tuning=tuning,
        reporting_seeds=seeds,
        reference=reference,
        evaluation=evaluation,
        at_once=at_once,
        threads=threads,
    )


def _read_reporting(content: Any, entries: Sequence[Entry], tuning: Tuning) -> tuple[tuple[int, ...], str]:
    """The seeds of the runs that report, and the method that the others are compared with."""
    reporting = section(content, "reporting", ("seeds", "reference"))
    seeds = seed_list(reporting.get("seeds"), "reporting.seeds")
    if not tuning.seeds and (tuned := [entry.name for entry in entries if entry.grid]):
        raise ValueError(f"tuning.seeds: got none, but methods.{tuned[0]}.tune needs them")
    if both := sorted(set(seeds) & set(tuning.seeds)):
        raise ValueError(f"reporting.seeds: {both} are tuning.seeds too, want seeds that nothing was chosen with")
    names = [entry.name for entry in entries]
    reference = reporting.get("reference", names[0])
    if reference not in names:
        raise ValueError(f"reporting.reference: got {reference!r}, want one of {names}")
    return seeds, reference


def _read_tuning(content: Any) -> Tuning:
    given = section(content, "tuning", ("seeds", "eval_problems", "eval_samples", "tolerance"))
    tolerance = given.get("tolerance", Tuning.tolerance)
    if isinstance(tolerance, bool) or not isinstance(tolerance, int | float) or not 0 <= tolerance <= 1:
        raise ValueError(f"tuning.tolerance: got {tolerance!r}, want a number from 0 to 1")
    return Tuning(
        seeds=seed_list(given["seeds"], "tuning.seeds") if "seeds" in given else (),
        problems=positive(given.get("eval_problems", Tuning.problems), "tuning.eval_problems"),
        samples=positive(given.get("eval_samples", Tuning.samples), "tuning.eval_samples"),
        tolerance=float(tolerance),
    )


def _read_evaluation(content: Any, base: Settings, common: Settings, task: Task) -> EvaluationPlan:
    given = mapping(content, "evaluation")
    own = {name: value for name, value in given.items() if name.partition(".")[0] in ("rewards", "sampler")}
    rest = {name: value for name, value in given.items() if name not in own}
    section(rest, "evaluation", ("problems", "samples", "ks", "seed", "batch", *_FORCED))
    samples = positive(given.get("samples", 32), "evaluation.samples")
    ks = given.get("ks", [k for k in (1, 2, 4, 8, 16, 32) if k <= samples])
    if not isinstance(ks, list) or not ks or any(type(k) is not int or not 1 <= k <= samples for k in ks):
        raise ValueError(f"evaluation.ks: got {ks!r}, want a list of numbers from 1 to evaluation.samples, {samples}")
    settings = resolve(flags(base, "base") + flags(own, "evaluation"), "evaluation") if own else common
    return EvaluationPlan(
        problems=positive(given.get("problems", 256), "evaluation.problems"),
        samples=samples,
        ks=tuple(sorted(set(ks))),
        seed=one_seed(given.get("seed", 0), "evaluation.seed"),
        batch=positive(given.get("batch", 1024), "evaluation.batch"),
        settings=settings,
        forced=_read_forced(given, _known_style(settings, task)),
    )


def _known_style(settings: Settings, task: Task) -> CompletionStyle:
    """How completions are written as far as that is known before any is sampled; an evaluation samples first."""
    source = style_source(settings)
    return source.known(task) or CompletionStyle().replaced(source.postfix, source.closing)


def _read_forced(given: Mapping[str, Any], style: CompletionStyle) -> ForcedAnswers | None:
    """How answers are asked for at budgets."""
    budgets = given.get("budgets", "auto")
    if budgets != "auto" and (not isinstance(budgets, list) or any(type(budget) is not int for budget in budgets)):
        raise ValueError(f"evaluation.budgets: got {budgets!r}, want auto or a list of numbers of tokens")
    if not budgets:
        return None
    try:
        return ForcedAnswers(
            style.postfix,
            style.closing,
            budgets=None if budgets == "auto" else tuple(budgets),
            answer_tokens=positive(given.get("answer_tokens", 32), "evaluation.answer_tokens"),
            samples=positive(given.get("budget_samples", 8), "evaluation.budget_samples"),
        )
    except ValueError as error:
        raise ValueError(str(error) if str(error).startswith("evaluation") else f"evaluation.{error}") from error


def _check_held_out(where: str, wanted: int, held: int) -> None:
    """Refuse another number of held-out problems than the comparison has, which decides."""
    if wanted != held:
        raise ValueError(
            f"{where}.eval_problems: got {wanted}, but the data have no problems of their own to test on, so that "
            f"every run holds out those of the comparison, {held} (evaluation.problems, and tuning.eval_problems "
            "where something is tuned); leave it out"
        )


def _holding_out(method: Method, problems: int, default: int) -> Method:
    """The method with so many problems held out; its file of settings, or a value to be tuned, may not want others."""
    for setting in method.settings.values():
        if setting["eval_problems"] != default:
            _check_held_out(f"methods.{method.name}", setting["eval_problems"], problems)
    settings = {name: {**setting, "eval_problems": problems} for name, setting in method.settings.items()}
    return Method(method.name, method.method, method.preset, settings)


def _check_common(name: str, setting: Settings, common: Settings) -> None:
    """Methods may differ in everything but the problems, the model and the budget."""
    budget = "max_tokens" if common.get("max_tokens") is not None else "steps"
    for key in (*_SAME, budget):
        if setting[key] != common[key]:
            raise ValueError(f"methods.{name}.{key}: got {setting[key]!r}, want that of base, {common[key]!r}")
