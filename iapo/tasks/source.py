"""The task that a text on the command line names."""

from collections.abc import Sequence
from pathlib import Path

from iapo.ops.arguments import arguments_named
from iapo.tasks.embedded import EmbeddedTask
from iapo.tasks.file import FileTask
from iapo.tasks.files import FilesTask, is_pattern
from iapo.tasks.hub import HubTask
from iapo.tasks.interface import Task
from iapo.tasks.reading import SUFFIXES, check_ending, kind_of
from iapo.tasks.reasoning_gym import ReasoningGymTask


@arguments_named
def task_from_source(
    source: str | Path | Sequence[str | Path], split: str = "train", config: str | None = None
) -> Task:
    """The task of a source of problems.

    Args:
        source: ``embedded``; ``reasoning-gym:TASK``; a path ending in .jsonl, .ndjson, .json, .csv, .tsv or .parquet,
            perhaps with .gz, .bz2 or .xz behind it; a pattern of such paths, or a list of paths and patterns; else the
            id of a data set on the hub or a local data set directory. A list of one is that one.
        split: of a hub data set, as it names it.
        config: which configuration of a hub data set.

    Raises:
        ValueError: a file with another ending (with what it is, where its first bytes show it), an address, an empty
            list or the text of a list, or a configuration of what is no data set of the hub.

    Example:
        >>> task_from_source("reasoning-gym:chain_sum"), task_from_source("train.jsonl")
        (ReasoningGymTask(name='chain_sum'), FileTask(path='train.jsonl'))
        >>> task_from_source("train-*.jsonl"), task_from_source(["a.jsonl", "b.csv"])
        (FilesTask(names=('train-*.jsonl',)), FilesTask(names=('a.jsonl', 'b.csv')))
    """
    given = [source] if isinstance(source, str | Path) else source
    names = tuple(str(each) if isinstance(each, Path) else each for each in given)
    _check_names(names)
    several = len(names) > 1 or is_pattern(names[0])
    path = Path(names[0]).expanduser()
    is_file = not several and kind_of(path) in SUFFIXES and not path.is_dir()
    is_generated = not several and (names[0] == "embedded" or names[0].startswith("reasoning-gym:"))
    if config is not None and (several or is_file or is_generated):
        raise ValueError(f"data_config: got {config!r}, but {source} is no data set of the hub; leave it out")
    if several:
        return FilesTask(names)
    if names[0] == "embedded":
        return EmbeddedTask()
    if is_generated:
        return ReasoningGymTask(names[0].partition(":")[2])
    if is_file:
        return FileTask(names[0])
    if path.is_file():
        check_ending(path)
    return HubTask(names[0], split, config)


def _check_names(names: Sequence[str]) -> None:
    """Raise ``ValueError`` unless there are names, and each may be one."""
    if not names:
        raise ValueError("data: got an empty list, want at least one file or pattern of files")
    for name in names:
        if not isinstance(name, str):
            raise ValueError(f"data: got {name!r} in a list, want the name of a file or a pattern of files")
        if "://" in name:
            raise ValueError(
                f"data: {name} is an address; want a file that lies here, or the id of a data set of the hub"
            )
        if name.startswith("[") and name.endswith("]") and not Path(name).exists():
            raise ValueError(
                f"data: {name} looks like a list, and is none of texts in YAML: quote its texts, as in "
                '["*.jsonl", "more.jsonl"]'
            )
