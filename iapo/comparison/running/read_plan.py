"""The plan of a comparison from its YAML file, checked whole before any process starts."""

import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from hashlib import sha256
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]

from iapo.comparison.running.plan import EvaluationPlan, Method, Plan, Tuning
from iapo.comparison.running.problems import problem_source
from iapo.comparison.running.settings import Settings, flags, resolve
from iapo.training.settings import ProblemSource

UNTUNED = "default"
"""Name of the only setting of a method that has nothing to tune."""

_SAME = ("model", "trust_remote_code", *(field.name for field in fields(ProblemSource)))
"""Settings in which the methods of a comparison must not differ."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]*")
_LONGEST_NAME = 80


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
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise ValueError(f"comparison: {path} is no YAML: {error}") from error
    file = _section(
        content, "comparison", ("task", "base", "methods", "tuning", "reporting", "evaluation", "processes")
    )
    base = _mapping(file.get("base", {}), "base")
    tuning = _read_tuning(file.get("tuning", {}))
    entries = _read_entries(file.get("methods", {}), base, path.parent)
    seeds, reference = _read_reporting(file.get("reporting", {}), entries, tuning)
    processes = _section(file.get("processes", {}), "processes", ("at_once", "threads"))
    at_once = _count(processes.get("at_once", 1), "processes.at_once")
    threads = _count(processes.get("threads", 1), "processes.threads")
    common = resolve(flags(base, "base"), "base")
    evaluation = _read_evaluation(file.get("evaluation", {}), base, common)
    methods = tuple(entry.resolve() for entry in entries)
    task = problem_source(common).resolve()
    if task.holds_out:
        held = evaluation.problems + (tuning.problems if any(method.tuned for method in methods) else 0)
        methods = tuple(_holding_out(method, held) for method in methods)
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


@dataclass(frozen=True)
class _Entry:
    """An entry of ``methods`` whose settings are not resolved yet.

    Args:
        name: its key.
        method: ``method`` in the results.
        preset: ``preset`` in the results.
        arguments: flags of `iapo train`.
        grid: values to tune, by flag.
    """

    name: str
    method: str
    preset: str
    arguments: tuple[str, ...]
    grid: Mapping[str, Sequence[Any]]

    def resolve(self) -> Method:
        """The method with the settings of its whole grid."""
        where = f"methods.{self.name}"
        settings: dict[str, Settings] = {}
        combinations = list(itertools.product(*self.grid.values()))
        for values in combinations:
            chosen = dict(zip(self.grid, values, strict=True))
            settings[setting_name(chosen)] = resolve([*self.arguments, *flags(chosen, f"{where}.tune")], where)
        if len(settings) < len(combinations):
            raise ValueError(f"{where}.tune: the same values come twice")
        return Method(self.name, self.method, self.preset, settings)


def _read_entries(content: Any, base: Settings, beside: Path) -> tuple[_Entry, ...]:
    given = _mapping(content, "methods")
    if not given:
        raise ValueError("methods: got none, want at least one")
    entries = tuple(_read_entry(name, entry, base, beside) for name, entry in given.items())
    labels = [(entry.method, entry.preset) for entry in entries]
    for entry, label in zip(entries, labels, strict=True):
        if labels.count(label) > 1:
            raise ValueError(f"methods.{entry.name}: another entry has method {label[0]!r} and preset {label[1]!r} too")
    return entries


def _read_entry(name: Any, content: Any, base: Settings, beside: Path) -> _Entry:
    where = f"methods.{name}"
    if not isinstance(name, str) or not _NAME.fullmatch(name) or name == "base":
        raise ValueError(f"{where}: want a name of letters, digits and _ . + - other than 'base', it names a folder")
    entry = dict(_mapping({} if content is None else content, where))
    config, grid = entry.pop("config", None), _mapping(entry.pop("tune", {}), f"{where}.tune")
    method, preset = entry.pop("method", name), entry.pop("preset", "default")
    arguments = flags(base, "base")
    if config is not None:
        arguments.append(f"--config={_locate(config, beside, where)}")
    arguments += flags(entry, where)
    for flag, values in grid.items():
        if not isinstance(values, list) or len(values) < 2:
            raise ValueError(f"{where}.tune.{flag}: got {values!r}, want a list of at least two values")
    return _Entry(name, str(method), str(preset), tuple(arguments), grid)


def _read_reporting(content: Any, entries: Sequence[_Entry], tuning: Tuning) -> tuple[tuple[int, ...], str]:
    """The seeds of the runs that report, and the method that the others are compared with."""
    reporting = _section(content, "reporting", ("seeds", "reference"))
    seeds = _seeds(reporting.get("seeds"), "reporting.seeds")
    if not tuning.seeds and (tuned := [entry.name for entry in entries if entry.grid]):
        raise ValueError(f"tuning.seeds: got none, but methods.{tuned[0]}.tune needs them")
    if both := sorted(set(seeds) & set(tuning.seeds)):
        raise ValueError(f"reporting.seeds: {both} are tuning.seeds too, want seeds that nothing was chosen with")
    names = [entry.name for entry in entries]
    reference = reporting.get("reference", names[0])
    if reference not in names:
        raise ValueError(f"reporting.reference: got {reference!r}, want one of {names}")
    return seeds, reference


def setting_name(chosen: Mapping[str, Any]) -> str:
    """The name and folder of a setting of a grid.

    Example:
        >>> setting_name({"assigner.alpha": 0.3, "group_size": 8}), setting_name({})
        ('assigner.alpha=0.3,group_size=8', 'default')
    """
    if not chosen:
        return UNTUNED
    name = ",".join(f"{flag}={value}" for flag, value in chosen.items())
    plain = re.sub(r"[^A-Za-z0-9_.+,=-]", "_", name)
    if plain == name and len(name) <= _LONGEST_NAME:
        return name
    return f"{plain[:_LONGEST_NAME]}-{sha256(name.encode()).hexdigest()[:8]}"


def _read_tuning(content: Any) -> Tuning:
    given = _section(content, "tuning", ("seeds", "eval_problems", "eval_samples", "tolerance"))
    tolerance = given.get("tolerance", Tuning.tolerance)
    if isinstance(tolerance, bool) or not isinstance(tolerance, int | float) or not 0 <= tolerance <= 1:
        raise ValueError(f"tuning.tolerance: got {tolerance!r}, want a number from 0 to 1")
    return Tuning(
        seeds=_seeds(given["seeds"], "tuning.seeds") if "seeds" in given else (),
        problems=_count(given.get("eval_problems", Tuning.problems), "tuning.eval_problems"),
        samples=_count(given.get("eval_samples", Tuning.samples), "tuning.eval_samples"),
        tolerance=float(tolerance),
    )


def _read_evaluation(content: Any, base: Settings, common: Settings) -> EvaluationPlan:
    given = _mapping(content, "evaluation")
    own = {name: value for name, value in given.items() if name.partition(".")[0] in ("rewards", "sampler")}
    rest = {name: value for name, value in given.items() if name not in own}
    _section(rest, "evaluation", ("problems", "samples", "ks", "seed", "batch"))
    samples = _count(given.get("samples", 32), "evaluation.samples")
    ks = given.get("ks", [k for k in (1, 2, 4, 8, 16, 32) if k <= samples])
    if not isinstance(ks, list) or not ks or any(not isinstance(k, int) or not 1 <= k <= samples for k in ks):
        raise ValueError(f"evaluation.ks: got {ks!r}, want a list of numbers from 1 to evaluation.samples, {samples}")
    seed = given.get("seed", 0)
    if isinstance(seed, bool) or not isinstance(seed, int):
        raise ValueError(f"evaluation.seed: got {seed!r}, want an integer")
    return EvaluationPlan(
        problems=_count(given.get("problems", 256), "evaluation.problems"),
        samples=samples,
        ks=tuple(sorted(set(ks))),
        seed=seed,
        batch=_count(given.get("batch", 1024), "evaluation.batch"),
        settings=resolve(flags(base, "base") + flags(own, "evaluation"), "evaluation") if own else common,
    )


def _holding_out(method: Method, problems: int) -> Method:
    settings = {name: {**setting, "eval_problems": problems} for name, setting in method.settings.items()}
    return Method(method.name, method.method, method.preset, settings)


def _check_common(name: str, setting: Settings, common: Settings) -> None:
    """Methods may differ in everything but the problems, the model and the budget."""
    budget = "max_tokens" if common.get("max_tokens") is not None else "steps"
    for key in (*_SAME, budget):
        if setting[key] != common[key]:
            raise ValueError(f"methods.{name}.{key}: got {setting[key]!r}, want that of base, {common[key]!r}")


def _locate(config: Any, beside: Path, where: str) -> Path:
    """A method's file: as seen from here, or from the folder of the comparison file."""
    for candidate in (Path(str(config)).expanduser(), beside / str(config)):
        if candidate.is_file():
            return candidate
    raise FileNotFoundError(f"{where}.config: no file {config}, neither from here nor from {beside}")


def _mapping(content: Any, where: str) -> Mapping[str, Any]:
    if not isinstance(content, dict):
        raise ValueError(f"{where}: got {type(content).__name__}, want keys and values")
    return content


def _section(content: Any, where: str, known: Sequence[str]) -> Mapping[str, Any]:
    section = _mapping(content, where)
    for key in section:
        if key not in known:
            raise ValueError(f"{where}.{key}: unknown key, want one of {', '.join(known)}")
    return section


def _seeds(content: Any, where: str) -> tuple[int, ...]:
    if not isinstance(content, list) or not content or any(type(seed) is not int or seed < 0 for seed in content):
        raise ValueError(f"{where}: got {content!r}, want a list of at least one seed, integers of at least 0")
    if len(set(content)) < len(content):
        raise ValueError(f"{where}: got {content}, want every seed once")
    return tuple(content)


def _count(content: Any, where: str) -> int:
    if type(content) is not int or content < 1:
        raise ValueError(f"{where}: got {content!r}, want an integer of at least 1")
    return int(content)
