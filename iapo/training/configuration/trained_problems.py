"""Which problems a model was trained on, as far as the settings of its run say, which stand beside it."""

import dataclasses
import json
from pathlib import Path
from typing import Any

from iapo.ops.text_files import write_text
from iapo.tasks.splitting import keys_of, split_indices
from iapo.training.configuration.settings import ProblemSource

EXPORTED = "iapo_problems.json"
"""The file of an exported model that says which problems its run had."""

_ROWS = ("limit", "prompt_column", "answer_column", "few_shot", "last_assistant")
"""Settings that say which rows of the data a run has."""

_SETTINGS = ("data", "task", "split", "data_config", *_ROWS, "seed", "eval_problems")


def export_settings(checkpoint: Path, folder: Path) -> None:
    """Write beside an exported model the settings of its run that say which problems it had, and no others.

    Nothing is written where the run's settings are not beside the checkpoint, or name a task in place of data.
    """
    try:
        run = json.loads((checkpoint.parent / "config.json").read_text(encoding="utf-8"))
        settings = {name: run[name] for name in _SETTINGS}
    except (OSError, ValueError, LookupError, TypeError):  # no settings, or damaged ones
        return
    if settings["task"] is None:
        write_text(folder / EXPORTED, json.dumps(settings, indent=2) + "\n")


def settings_of_run(model: str) -> dict[str, Any] | None:
    """The settings of the run that a checkpoint or an exported model is of; ``None``: it is of none, or does not say.

    Raises:
        OSError: they cannot be read.
        ValueError: they are damaged.
    """
    folder = Path(model).expanduser().resolve()
    path = folder.parent / "config.json" if (folder / "state.json").is_file() else folder / EXPORTED
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None


def trained_on(run: dict[str, Any], problems: ProblemSource) -> set[str]:
    """The keys of the problems that a run with these settings trains on; none if its data are others.

    Raises:
        KeyError: a setting is missing.
        ValueError: the data do not fit the settings.
    """
    same_file = Path(run["data"]).expanduser().resolve() == Path(problems.data).expanduser().resolve()
    if not same_file or (run["task"], run["split"], run["data_config"]) != (None, problems.split, problems.data_config):
        return set()
    own = dataclasses.replace(problems, **{name: run[name] for name in _ROWS})
    rows = own.load(run["seed"])
    training, _ = split_indices(rows, run["eval_problems"], without=own.examples(rows, run["seed"]))
    return set(keys_of([rows[index] for index in training]))
