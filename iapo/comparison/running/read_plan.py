"""The plan of a comparison from its YAML file, checked whole before any process starts."""

import itertools
import re
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]

from iapo.comparison.running.plan import Judging, Method, Plan, Tuning
from iapo.comparison.running.settings import Settings, flags, resolve

UNTUNED = "default"
"""Name of the only setting of a method that has nothing to tune."""

_SAME = (
    *("model", "trust_remote_code", "data", "split", "limit", "prompt_column", "answer_column"),
    *("prompt_template", "system_prompt"),
)
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
    common = resolve(flags(base, "base"), "base")
    tuning = _read_tuning(file.get("tuning", {}))
    judging = _read_judging(file.get("evaluation", {}), base)
    methods = _read_methods(file.get("methods", {}), base, path.parent)
    if common["data"] != "embedded" and not common["data"].startswith("reasoning-gym:"):
        # Training holds out what the runs are judged on, so that it never sees it.
        held = judging.problems + (tuning.problems if any(method.tuned for method in methods) else 0)
        methods = tuple(_holding_out(method, held) for method in methods)
    for method in methods:
        for setting in method.settings.values():
            _check_common(method.name, setting, common)
    reporting = _section(file.get("reporting", {}), "reporting", ("seeds", "reference"))
    seeds = _seeds(reporting.get("seeds"), "reporting.seeds")
    if any(method.tuned for method in methods) and not tuning.seeds:
        name = next(method.name for method in methods if method.tuned)
        raise ValueError(f"tuning.seeds: got none, but methods.{name}.tune needs them")
    if both := sorted(set(seeds) & set(tuning.seeds)):
        raise ValueError(f"reporting.seeds: {both} are tuning.seeds too, want seeds that nothing was chosen with")
    reference = reporting.get("reference", methods[0].name)
    if reference not in [method.name for method in methods]:
        raise ValueError(f"reporting.reference: got {reference!r}, want one of {[method.name for method in methods]}")
    processes = _section(file.get("processes", {}), "processes", ("at_once", "threads"))
    return Plan(
        task=str(file.get("task", common["data"])),
        methods=methods,
        tuning=tuning,
        reporting_seeds=seeds,
        reference=reference,
        judging=judging,
        at_once=_count(processes.get("at_once", 1), "processes.at_once"),
        threads=_count(processes.get("threads", 1), "processes.threads"),
    )


def _read_methods(content: Any, base: Settings, beside: Path) -> tuple[Method, ...]:
    entries = _mapping(content, "methods")
    if not entries:
        raise ValueError("methods: got none, want at least one")
    methods = tuple(_read_method(name, entry, base, beside) for name, entry in entries.items())
    labels = [(method.method, method.preset) for method in methods]
    for method, label in zip(methods, labels, strict=True):
        if labels.count(label) > 1:
            raise ValueError(
                f"methods.{method.name}: another entry has method {label[0]!r} and preset {label[1]!r} too"
            )
    return methods


def _read_method(name: Any, content: Any, base: Settings, beside: Path) -> Method:
    where = f"methods.{name}"
    if not isinstance(name, str) or not _NAME.fullmatch(name) or name == "base":
        raise ValueError(f"{where}: want a name of letters, digits and _ . + - other than 'base', it names a folder")
    entry = dict(_mapping({} if content is None else content, where))
    config, tune = entry.pop("config", None), _mapping(entry.pop("tune", {}), f"{where}.tune")
    method, preset = entry.pop("method", name), entry.pop("preset", "default")
    arguments = flags(base, "base")
    if config is not None:
        arguments.append(f"--config={_locate(config, beside, where)}")
    arguments += flags(entry, where)
    for flag, values in tune.items():
        if not isinstance(values, list) or len(values) < 2:
            raise ValueError(f"{where}.tune.{flag}: got {values!r}, want a list of at least two values")
    settings: dict[str, Settings] = {}
    for values in itertools.product(*tune.values()):
        chosen = dict(zip(tune, values, strict=True))
        settings[setting_name(chosen)] = resolve(arguments + flags(chosen, f"{where}.tune"), where)
    if len(settings) < len(list(itertools.product(*tune.values()))):
        raise ValueError(f"{where}.tune: the same values come twice")
    return Method(name, str(method), str(preset), settings)


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


def _read_judging(content: Any, base: Settings) -> Judging:
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
    return Judging(
        problems=_count(given.get("problems", 256), "evaluation.problems"),
        samples=samples,
        ks=tuple(sorted(set(ks))),
        seed=seed,
        batch=_count(given.get("batch", 1024), "evaluation.batch"),
        settings=resolve(flags(base, "base") + flags(own, "evaluation"), "evaluation"),
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
