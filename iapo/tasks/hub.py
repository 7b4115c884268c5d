"""Problems from a data set of the Hugging Face hub, or from a local directory in its format."""

from dataclasses import dataclass
from typing import Any

from iapo.tasks.interface import Row, Split, Task


@dataclass(frozen=True)
class HubTask(Task):
    """One split of a data set that ``datasets.load_dataset`` loads.

    Args:
        name: id on the hub, or a local data set directory.
        hub_split: the split of the data set, as it names it.
    """

    name: str
    hub_split: str = "train"

    def __str__(self) -> str:
        return self.name

    def rows(self, split: Split = "train", seed: int = 0, limit: int | None = None) -> list[Row]:
        """The first ``limit`` rows of the data set's split, whatever ``split`` and seed.

        Raises:
            ModuleNotFoundError: the extra ``train`` is not installed.
        """
        return take(import_datasets().load_dataset(self.name, split=self.hub_split), limit)


def import_datasets() -> Any:
    """The package ``datasets``; raises ``ModuleNotFoundError`` that names the extra if it is missing."""
    try:
        import datasets
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError("datasets is missing: install the extra, pip install 'iapo[train]'") from error
    return datasets


def take(data: Any, limit: int | None) -> list[Row]:
    """The first ``limit`` rows of a ``datasets.Dataset``; ``None``: all."""
    return [dict(row) for row in (data if limit is None else data.select(range(min(limit, len(data)))))]
