"""Metrics sent to TensorBoard, Weights & Biases or trackio, by the tracker classes of Accelerate."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

TrackerName = Literal["none", "tensorboard", "wandb", "trackio"]

Track = Callable[[int, Mapping[str, float]], None]

PROJECT = "iapo"
"""The project of a run at Weights & Biases and trackio; its name there is that of the run folder."""


def check_tracker(name: TrackerName) -> None:
    """Raise ``ModuleNotFoundError`` if the package of a tracker is not installed."""
    for needed in () if name == "none" else ("accelerate", name):
        if find_spec(needed) is None:
            raise ModuleNotFoundError(
                f"tracker: got {name!r}, but {needed} is missing: pip install {needed}", name=needed
            )


@contextmanager
def tracked(name: TrackerName, folder: Path, config: Mapping[str, Any], step: int) -> Iterator[Track]:
    """Yield a function to be called with each step and its metrics.

    Args:
        name: ``none``: the function does nothing.
        folder: the run folder; TensorBoard's events go into ``tensorboard`` in it.
        config: settings as plain data; Weights & Biases and trackio get them.
        step: updates done before: TensorBoard drops what an earlier process wrote beyond.
    """
    if name == "none":
        yield lambda step, metrics: None
        return
    tracker = _tracker(name, folder, step)
    tracker.start()
    if name != "tensorboard":  # whose classes would make a folder of its own of them
        tracker.store_init_configuration(dict(config))
    try:
        yield lambda step, metrics: tracker.log(dict(metrics), step=step)
    finally:
        tracker.finish()


def _tracker(name: TrackerName, folder: Path, step: int) -> Any:
    from accelerate import PartialState, tracking

    PartialState()  # Accelerate's loggers want one
    if name == "tensorboard":
        return tracking.TensorBoardTracker(name, folder, purge_step=step + 1)
    kind = {"wandb": tracking.WandBTracker, "trackio": tracking.TrackioTracker}[name]
    return kind(PROJECT, name=folder.resolve().name)
