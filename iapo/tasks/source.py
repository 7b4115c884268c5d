"""The task that a text on the command line names."""

from pathlib import Path

from iapo.tasks.embedded import EmbeddedTask
from iapo.tasks.endings import SUFFIXES, kind_of
from iapo.tasks.file import FileTask
from iapo.tasks.hub import HubTask
from iapo.tasks.interface import Task
from iapo.tasks.reading import refuse_foreign
from iapo.tasks.reasoning_gym import ReasoningGymTask


def task_from_source(source: str, split: str = "train", config: str | None = None) -> Task:
    """The task of a source of problems.

    Args:
        source: ``embedded``; ``reasoning-gym:TASK``; a path ending in .jsonl, .ndjson, .json, .csv, .tsv or .parquet,
            perhaps with .gz, .bz2 or .xz behind it; else the id of a data set on the hub or a local data set directory.
        split: of a hub data set, as it names it.
        config: which configuration of a hub data set.

    Raises:
        ValueError: a file with another ending (with what it is, where its first bytes show it), or a configuration of
            what is no data set of the hub.

    Example:
        >>> task_from_source("reasoning-gym:chain_sum"), task_from_source("train.jsonl")
        (ReasoningGymTask(name='chain_sum'), FileTask(path='train.jsonl'))
    """
    path = Path(source).expanduser()
    is_file = kind_of(path) in SUFFIXES and not path.is_dir()
    is_generated = source == "embedded" or source.startswith("reasoning-gym:")
    if config is not None and (is_file or is_generated):
        raise ValueError(f"data_config: got {config!r}, but {source} is no data set of the hub; leave it out")
    if source == "embedded":
        return EmbeddedTask()
    if is_generated:
        return ReasoningGymTask(source.partition(":")[2])
    if is_file:
        return FileTask(source)
    if path.is_file():
        with path.open("rb") as file:
            refuse_foreign(path, file.read(32), kind_of(path))
        raise ValueError(f"data: the ending of {source} does not say what it is, want one of {', '.join(SUFFIXES)}")
    return HubTask(source, split, config)
