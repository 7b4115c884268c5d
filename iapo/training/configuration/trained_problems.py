"""Which problems a model was trained on, as far as the settings of its run say, which it keeps."""

import json
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from iapo.ops.json_files import read_json_file
from iapo.ops.text_files import write_text
from iapo.tasks import Row
from iapo.tasks.files import is_pattern
from iapo.tasks.reading import SUFFIXES, kind_of
from iapo.tasks.splitting import keys_of, split_indices
from iapo.training.checkpoints.checkpoint import settings_in
from iapo.training.configuration.problem_source import ProblemSource

EXPORTED = "iapo_problems.json"
"""The file of an exported model that says which problems its run had."""

_ROWS = ("limit", "prompt_column", "answer_column", "few_shot", "last_assistant")
"""Settings that say which rows of the data a run has."""

_SETTINGS = ("model", "data", "task", "split", "data_config", *_ROWS, "seed", "eval_problems")


def export_settings(checkpoint: Path, folder: Path) -> None:
    """Write beside an exported model the settings of its run that say which problems it had, and no others.

    Nothing is written where the checkpoint does not say them, or where they name a task in place of data.
    """
    try:
        run = settings_in(checkpoint)
        settings = {name: run[name] for name in _SETTINGS}
    except (OSError, ValueError, LookupError, TypeError):  # no settings, or damaged ones
        return
    if settings["task"] is None:
        write_text(folder / EXPORTED, json.dumps(settings, indent=2) + "\n")


def warn_of_trained(model: str, problems: ProblemSource, held_out: Sequence[Row], flag: str) -> None:
    """Warn of problems that a model was trained on, or one that it was trained from, as far as is known.

    What is known are the settings of runs that checkpoints and exported models keep, and the data that these name where
    they are still there. Damaged settings say nothing.

    Args:
        model: as it is named on the command line.
        problems: where the problems of the evaluation come from.
        held_out: the problems of the evaluation, as the data have them.
        flag: that says how many problems are held out, for the remedy.

    Warns:
        UserWarning: some were trained on; or the data of the run are gone, or no longer fit its settings, so that it is
            not known.
    """
    keys, source, known = keys_of(held_out), model, set[str]()
    while source not in known:
        known.add(source)
        try:
            run = settings_of_run(source)
            if run is None:
                return
            of = source if source == model else f"{source}, from which {model} was trained,"
            trained, had = _trained_on(run, problems), ", ".join(_names(run["data"]))
            if trained is None:
                warnings.warn(
                    f"{flag}: whether {of} was trained on some of these {len(keys)} is not known: its run had {had}, "
                    "which is gone from there or no longer fits its settings; put it back to know",
                    stacklevel=3,
                )
            elif count := sum(key in trained for key in keys):
                remedy = f"its run had {had}; leave these problems out of the data"
                if _same_data(run, problems):
                    remedy = (
                        f"its run held out {run['eval_problems']}, so that --{flag} {run['eval_problems']} (with its "
                        "--limit and --few_shot) evaluates on none that it knows"
                    )
                warnings.warn(f"{flag}: {of} was trained on {count} of these {len(keys)}; {remedy}", stacklevel=3)
            source = str(run.get("model", source))
        except (OSError, ValueError, LookupError, TypeError, AttributeError):
            return


def settings_of_run(model: str) -> dict[str, Any] | None:
    """The settings of the run that a checkpoint or an exported model is of; ``None``: it is of none, or does not say.

    Of a file, one in the GGUF format, those of an exported model that it lies beside.

    Raises:
        OSError: they cannot be read.
        LookupError: they are not there.
        ValueError: they are damaged.
    """
    folder = Path(model).expanduser().resolve()
    folder = folder.parent if folder.is_file() else folder
    if (folder / "state.json").is_file():
        return settings_in(folder)
    path = folder / EXPORTED
    return read_json_file(path) if path.is_file() else None


def _trained_on(run: dict[str, Any], problems: ProblemSource) -> set[str] | None:
    """The keys of the problems that a run with these settings trains on; ``None``: its data cannot be read any more.

    None of them where its problems are a task of one's own or generated, or where its data are an id of the hub and not
    those of the evaluation.

    Raises:
        KeyError: a setting is missing.
    """
    names = _names(run["data"])
    path = Path(names[0]).expanduser()
    if run["task"] is not None:
        return set()
    if not (len(names) > 1 or is_pattern(names[0]) or path.exists() or _same_data(run, problems)):
        return None if kind_of(path) in SUFFIXES or path.is_absolute() else set()
    own = ProblemSource(**{name: run[name] for name in ("data", "split", "data_config", *_ROWS)})
    try:
        rows = own.load(run["seed"])
        training, _ = split_indices(rows, run["eval_problems"], without=own.examples(rows, run["seed"]))
    except (OSError, ValueError):
        return None
    return set(keys_of([rows[index] for index in training]))


def _same_data(run: dict[str, Any], problems: ProblemSource) -> bool:
    """Whether a run had the data that problems come from."""
    ran, asked = ([Path(name).expanduser().resolve() for name in _names(data)] for data in (run["data"], problems.data))
    return ran == asked and (run["task"], run["split"], run["data_config"]) == (
        problems.task,
        problems.split,
        problems.data_config,
    )


def _names(data: str | Sequence[str]) -> Sequence[str]:
    return [data] if isinstance(data, str) else data
