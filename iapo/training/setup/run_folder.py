"""What lies in a run folder before the run: whether it may be used, and what of it the run goes on with."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from iapo.ops.json_files import read_json_file
from iapo.training.checkpoints.checkpoint import checkpoints
from iapo.training.checkpoints.reproducibility import differences
from iapo.training.configuration.settings import RunSettings
from iapo.training.reporting.log import METRICS
from iapo.training.reporting.report import FIGURES, REPORT
from iapo.training.reporting.report_so_far import SO_FAR
from iapo.training.samples import SAMPLES

_WRITTEN = (REPORT, *FIGURES, METRICS, SAMPLES)
"""Files that every run writes beside its ``config.json``."""
_EVALUATION = re.compile(r"evaluation-(\d+)\.jsonl?")


def check_free(folder: Path, settings: RunSettings) -> None:
    """Raise ``FileExistsError`` if a run would take what lies there for its own (an evaluation), or its place."""
    if _is_of_model(folder / "config.json"):
        raise FileExistsError(
            f"output: {settings.output} is the folder of a model, whose config.json a run would take the place of; "
            "name another folder"
        )
    if (folder / "problems-test.json").exists():
        raise FileExistsError(
            f"output: {settings.output} is the folder of a comparison, whose report a run would take the place of; "
            "name another folder"
        )
    is_of_run = any((folder / name).exists() for name in ("config.json", SO_FAR)) or checkpoints(folder)
    if not is_of_run and (foreign := [name for name in _WRITTEN if (folder / name).exists()]):
        raise FileExistsError(
            f"output: {settings.output} has {foreign[0]}, which is of no run and whose place a run's would take; name "
            "another folder"
        )
    if settings.resume and (folder / REPORT).exists() and not checkpoints(folder):
        raise FileExistsError(
            f"output: {settings.output} holds a finished run whose checkpoints are gone, so that nothing can go on, "
            "and a new run would take the place of its metrics and report; put one back, or name another folder"
        )
    names = ("config.json", "checkpoint-*", "evaluation-*.json")
    if not settings.resume and any(True for name in names for _ in folder.glob(name)):
        state = "a finished run" if (folder / REPORT).exists() else "a run"
        raise FileExistsError(
            f"output: {settings.output} holds {state} already; remove it, name another, or go on with --resume "
            "(a finished run with more --steps)"
        )


def check_begun(folder: Path, resolved: Mapping[str, Any], override: bool) -> bool:
    """Compare a run that has no checkpoint yet with the settings that it began with, which are in its ``config.json``.

    Args:
        folder: of the run.
        resolved: all settings as plain data, of the run that goes on.
        override: go on although they differ.

    Returns:
        Whether what was evaluated is of these settings.

    Raises:
        ValueError: they differ, listed field by field.
    """
    path = folder / "config.json"
    if not path.exists():
        return False
    saved = read_json_file(path)
    changes = differences({**saved, "style": None}, {**resolved, "style": None})
    if changes and not override:
        raise ValueError(
            f"{path}: the run began with other settings, these differ (--override, and what was evaluated is evaluated "
            f"again; or name another folder): {'; '.join(changes)}"
        )
    return not changes


def forget_evaluations(folder: Path, first: int) -> None:
    """Remove the evaluations after the updates from ``first`` on: the run makes these updates again, or differs."""
    for path in folder.glob("evaluation-*.json*"):
        match = _EVALUATION.fullmatch(path.name)
        if match and int(match[1]) >= first:
            path.unlink()


def _is_of_model(config: Path) -> bool:
    """Whether a ``config.json`` is that of a model."""
    try:
        return "model_type" in read_json_file(config)
    except (OSError, ValueError, TypeError):
        return False
