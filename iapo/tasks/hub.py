"""Problems from a data set of the Hugging Face hub, or from a local directory in its format or of ``save_to_disk``."""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from iapo.ops.checks import check_kinds
from iapo.ops.extras import check_installed
from iapo.policy.hub import unreachable_data
from iapo.tasks.interface import Row, Split, Task
from iapo.tasks.reading import SUFFIXES, kind_of, name_classes, widen_floats

_LOG = logging.getLogger(__name__)

_SAVED = ("state.json", "dataset_dict.json")
"""What ``save_to_disk`` writes beside one data set, and beside several."""
_ABOUT = ("config.json", "dataset_info.json", "dataset_infos.json")
"""Files that say something of the data, and hold none."""
_SHOWN = 5
"""Files that are named at most."""


@dataclass(frozen=True)
class HubTask(Task):
    """One split of a data set that ``datasets.load_dataset`` loads, or that ``save_to_disk`` of ``datasets`` wrote.

    Args:
        name: id on the hub, or a local data set directory.
        hub_split: the split of the data set, as it names it.
        config: which of several configurations of the data set, as it names it; ``None``: the only one, or its default.
    """

    name: str
    hub_split: str = "train"
    config: str | None = None

    def __post_init__(self) -> None:
        check_kinds(self)

    def __str__(self) -> str:
        return self.name

    def rows(self, split: Split = "train", seed: int = 0, limit: int | None = None) -> list[Row]:
        """The first ``limit`` rows of the data set's split, whatever ``split`` and seed.

        Raises:
            ModuleNotFoundError: the extra ``train`` is not installed.
            ConnectionError: it is not here, and the hub cannot be reached.
            ValueError: there is no such data set, configuration or split, or several configurations and none is named.
        """
        check_installed("datasets", "train")
        import datasets

        folder = Path(self.name).expanduser()
        is_saved = any((folder / name).is_file() for name in _SAVED)
        if reason := unreachable_data(self.name, Path(datasets.config.HF_DATASETS_CACHE)):
            raise ConnectionError(
                f"data: {self.name} is no file or folder here, and the hub cannot be reached: {reason}; want a file "
                "(.jsonl, .json, .csv, .tsv, .parquet), a folder of them, or the id of a data set that can be reached"
            )
        try:
            if is_saved:
                data = self._saved(datasets.load_from_disk(str(folder)))
            else:
                name = str(folder) if folder.is_dir() else self.name
                data = datasets.load_dataset(name, self.config, split=self.hub_split)
                if folder.is_dir() and (
                    left_out := _left_out(folder, datasets.load_dataset_builder(name, self.config))
                ):
                    _LOG.warning(
                        "data: datasets leaves out %d of the files of %s, as %s; name a file to read it",
                        len(left_out),
                        self,
                        ", ".join(left_out[:_SHOWN]),
                    )
        except ValueError as error:
            reason = " ".join(str(error).partition("Example of usage")[0].split())
            raise ValueError(
                f"data: {self.name} cannot be loaded with --split {self.hub_split} and "
                f"{'no --data_config' if self.config is None else f'--data_config {self.config}'}: {reason}"
            ) from error
        except (OSError, datasets.exceptions.DatasetsError) as error:
            kind = "the folder" if folder.is_dir() else "the data set"
            reason = " ".join(str(error.__cause__ or error).split())
            pattern = f"; a pattern of files, {self.name}/*.jsonl, names the file" if folder.is_dir() else ""
            raise ValueError(
                f"data: {kind} {self.name} cannot be loaded ({reason}); want a file (.jsonl, "
                f".json, .csv, .tsv, .parquet), a folder of them, or the id of a data set of the hub{pattern}"
            ) from error
        return take(data, limit)

    def _saved(self, data: Any) -> Any:
        """The split of what ``save_to_disk`` wrote: several by name, or one, ``train`` where it has no name.

        One that was cut from a split, as ``train[:100]``, has the name of that split; from several, its own.
        """
        parts = data if isinstance(data, dict) else {_origin(str(data.split or "train")): data}
        if self.config is not None:
            raise ValueError("save_to_disk wrote it, so that it has no configurations")
        if self.hub_split not in parts:
            raise ValueError(f"it has the splits {sorted(parts)}")
        return parts[self.hub_split]


def _left_out(folder: Path, builder: Any) -> list[str]:
    """Files of a folder that look like data and are of no split: of another format than most, or named unlike splits.

    None of a folder with configurations, which have files of their own.
    """
    if builder.config.name != "default":
        return []
    base = folder.resolve()
    read = {Path(file).resolve() for files in builder.config.data_files.values() for file in files}
    below = [
        path.relative_to(base) for path in base.rglob("*") if kind_of(path) in SUFFIXES and path.name not in _ABOUT
    ]
    shown = [path for path in below if not any(part.startswith((".", "__")) for part in path.parts)]
    return sorted(str(path) for path in shown if (base / path).resolve() not in read)


def _origin(split: str) -> str:
    """Of ``train[:100]`` or ``train[:10]+train[90:]`` the split ``train``; what is of several splits stays as it is."""
    origins = {part.split("[")[0] for part in split.split("+")}
    return origins.pop() if len(origins) == 1 else split


def take(data: Any, limit: int | None) -> list[Row]:
    """The first ``limit`` rows of a ``datasets.Dataset``; ``None``: all.

    Floats are as `widen_floats` has them, and classes have their names (`name_classes`).
    """
    rows = [dict(row) for row in (data if limit is None else data.select(range(min(limit, len(data)))))]
    widen_floats(rows, data.features.arrow_schema)
    name_classes(rows, data.features)
    return rows
