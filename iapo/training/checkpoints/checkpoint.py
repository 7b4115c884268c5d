"""Checkpoints of a run: everything that the next step depends on, complete or not there, safetensors and JSON only.

A run folder holds ``checkpoint-N`` after step ``N``. Each is a model folder that
``AutoModelForCausalLM.from_pretrained`` and ``AutoTokenizer.from_pretrained`` load, with three more files:
``state.safetensors`` and ``state.json`` (optimizer, counters, data position, random generators, configuration,
versions), and ``manifest.json`` (SHA-256 of every file). A process killed at any point leaves the checkpoints before.
"""

import json
import re
import shutil
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase

from iapo.ops.checks import check_integer
from iapo.ops.json_files import read_json_file
from iapo.ops.random_state import capture_rng
from iapo.ops.tensor_files import failed_writes_named, follow_umask
from iapo.ops.text_files import TEMPORARY, read_bytes
from iapo.ops.tree import flatten, unflatten
from iapo.policy.forward import unwrap
from iapo.policy.lora import saving_options
from iapo.policy.whole_weights import gathered_weights
from iapo.training.checkpoints.folder import (
    MANIFEST,
    DamagedCheckpointError,
    discard_folder,
    verify_folder,
    write_folder,
)
from iapo.training.checkpoints.reproducibility import differences, versions

FORMAT = 1
"""Version of the layout; a checkpoint of a newer one is refused."""

_OWN = {"state.json": rb'\{"step": \d+, "versions": \{', MANIFEST: rb'\{"format": \d+, "files": \{'}
"""How the files begin that say that a folder is a checkpoint; those of others may have the same names."""

_NAME = re.compile(r"checkpoint-(0|[1-9][0-9]*)")


@dataclass(frozen=True, eq=False)
class TrainingState:
    """What a checkpoint holds beside weights and tokenizer. Every value is nested state: dictionaries, lists, tuples,
    numbers, text and tensors.

    Args:
        optimizer: state of the optimizer and its schedule, as ``state_dict()`` gives it.
        data: position in the data, as `iapo.tasks.PromptStream.state` gives it.
        config: the resolved configuration, JSON values only; compared field by field on resuming, so leave out what
            may change (the number of steps to go, where the run lies).
        counters: further numbers that the loop keeps.
        rng: random generators; captured where it is left out.
    """

    optimizer: Mapping[str, Any]
    data: Mapping[str, Any]
    config: Mapping[str, Any]
    counters: Mapping[str, Any] = field(default_factory=dict)
    rng: Mapping[str, Any] = field(default_factory=capture_rng)

    def __post_init__(self) -> None:
        for name in ("optimizer", "rng"):
            if not getattr(self, name):
                raise ValueError(f"{name}: got nothing, want its state; a run cannot be resumed exactly without it")
        # Those that would be captured here; of CUDA's the number is compared as a version.
        if missing := {name for name in capture_rng() if name != "cuda" and self.rng.get(name) is None}:
            raise ValueError(f"rng: the states of {sorted(missing)} are missing; want what capture_rng returns")


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """A checkpoint that was read.

    Args:
        path: its folder, from which the model and the tokenizer load.
        step: steps taken when it was written.
        state: what it holds beside weights and tokenizer; tensors on the CPU.
        changes: what differs from when it was written, one sentence each; none unless that was overridden.
    """

    path: Path
    step: int
    state: TrainingState
    changes: tuple[str, ...] = ()


def save_checkpoint(
    run: str | Path,
    step: int,
    state: TrainingState,
    model: nn.Module,
    tokenizer: PreTrainedTokenizerBase,
    keep: int = 2,
) -> Path:
    """Write ``checkpoint-{step}`` into a run folder, then remove old ones.

    On several processes, call it on one, inside `iapo.policy.whole_weights.whole_weights`.

    Args:
        run: the run folder; made if it is not there.
        step: steps taken.
        state: everything beside weights and tokenizer.
        model: the policy, a model of transformers, possibly wrapped (DDP, FSDP2); weights are stored in their dtype.
        tokenizer: of the policy.
        keep: checkpoints to keep, this one included; older ones go once this one is complete.

    Returns:
        The folder of the checkpoint.

    Raises:
        ValueError: ``step`` below 0 or ``keep`` below 1.
        FileExistsError: there is a complete checkpoint of this step. A damaged one is replaced.
        TypeError: something in ``state`` that is neither tensor nor JSON; its path is named.
        OSError: a write failed (disk full). What was written is removed, earlier checkpoints are as they were.
    """
    check_integer("step", step, least=0)
    check_integer("keep", keep)
    run = Path(run)
    target = run / f"checkpoint-{step}"
    if target.is_symlink():
        raise FileExistsError(f"{target}: is a symbolic link, want nothing there")
    replaces = target.exists()
    if replaces and _is_complete(target):
        raise FileExistsError(f"{target}: there is a complete checkpoint of step {step} already")
    content: dict[str, Any] = {"step": step, "versions": versions()}
    tensors: dict[str, Tensor] = {}
    for part in fields(state):
        content[part.name], found = flatten(getattr(state, part.name), part.name)
        tensors |= found
    text = json.dumps(content, allow_nan=False)
    if replaces:
        discard_folder(target)
    with failed_writes_named(target, "make room, then go on with --resume"), write_folder(target, FORMAT) as folder:
        inner = unwrap(model)
        inner.save_pretrained(folder, state_dict=gathered_weights(model), **saving_options(inner))
        tokenizer.save_pretrained(folder)
        save_file(tensors, folder / "state.safetensors")
        (folder / "state.json").write_text(text, encoding="utf-8")
        follow_umask(folder)
    for old in [path for path in checkpoints(run) if step_of(path) < step][keep - 1 :]:
        discard_folder(old)
    for left_over in run.glob(f"checkpoint-*{TEMPORARY}"):
        shutil.rmtree(left_over)
    return target


def checkpoints(run: str | Path) -> list[Path]:
    """The checkpoint folders of a run, newest first, whether complete or damaged."""
    found = [path for path in Path(run).glob("checkpoint-*") if _NAME.fullmatch(path.name)]
    return sorted(found, key=step_of, reverse=True)


def step_of(path: Path) -> int:
    """The step that the name of a checkpoint's folder says."""
    return int(path.name.removeprefix("checkpoint-"))


def is_checkpoint(folder: Path) -> bool:
    """Whether a folder was written by `save_checkpoint`: its state or its manifest begins as they are written there.

    The other one may be gone or damaged, which `iapo.training.checkpoints.folder.verify_folder` says.
    """
    return any(_begins(folder / name, beginning) for name, beginning in _OWN.items())


def settings_in(path: Path) -> dict[str, Any]:
    """The settings of the run that a checkpoint is of, as it keeps them; its digests are not checked.

    Args:
        path: its folder, wherever it was moved to.

    Raises:
        OSError: it cannot be read.
        LookupError: it has no settings.
        ValueError: it is damaged.
    """
    settings = unflatten(read_json_file(path / "state.json")["config"], {})
    if not isinstance(settings, dict):
        raise ValueError(f"{path}: its settings are {settings!r:.80}, want keys and values")
    return settings


def counters_in(path: Path, names: Sequence[str]) -> dict[str, Any]:
    """Some counters of a run at a checkpoint.

    Args:
        path: its folder.
        names: of counters that are no tensors.

    Errors are those of `settings_in`.
    """
    counters = dict(read_json_file(path / "state.json")["counters"]["dict"])
    return {name: unflatten(counters[name], {}) for name in names}


def latest_checkpoint(run: str | Path) -> Path | None:
    """The newest complete checkpoint of a run, every file compared with its digest.

    Args:
        run: the run folder.

    Returns:
        Its folder; ``None`` if the run has no checkpoints at all.

    Warns:
        UserWarning: a newer one is damaged and passed over; the file is named.

    Raises:
        DamagedCheckpointError: all are damaged; the files are named.
        ValueError: one that is newer than every complete one has a format that this version does not read.
    """
    damages = []
    for path in checkpoints(run):
        try:
            verify_folder(path, FORMAT)
        except DamagedCheckpointError as error:
            damages.append(str(error))
            continue
        for damage in damages:
            warnings.warn(f"{damage}; taking {path.name} instead", stacklevel=2)
        return path
    if damages:
        raise DamagedCheckpointError(f"{run}: no complete checkpoint. " + "; ".join(damages))
    return None


def load_checkpoint(run: str | Path, config: Mapping[str, Any] | None = None, override: bool = False) -> Checkpoint:
    """Read the newest complete checkpoint of a run.

    Then ``iapo.policy.loading.load_model(str(checkpoint.path), ...)``, the optimizer's ``load_state_dict``, the data's
    ``restore``, and last `restore_rng`.

    Args:
        run: the run folder.
        config: the configuration to go on with; ``None``: not compared.
        override: go on although configuration, versions or thread count differ. The run is then not an exact
            continuation.

    Returns:
        The checkpoint.

    Warns:
        UserWarning: a newer one is damaged and passed over; the file is named.

    Raises:
        FileNotFoundError: no checkpoint.
        DamagedCheckpointError: none is complete.
        ValueError: a newer format; a missing state of the optimizer or of a random generator; a folder whose name is
            that of another step; or differences, listed field by field.
    """
    path = latest_checkpoint(run)
    if path is None:
        raise FileNotFoundError(f"{run}: no checkpoint-N folder")
    try:
        content = read_json_file(path / "state.json")
        tensors = load_file(path / "state.safetensors")
        names = [part.name for part in fields(TrainingState)]
        if missing := [name for name in names if name not in content]:
            raise ValueError(f"no state of {', '.join(missing)}")
        state = TrainingState(**{name: unflatten(content[name], tensors) for name in names})
        changes = differences(content["versions"], versions())
        step = int(content["step"])
    except (OSError, MemoryError):
        raise
    except Exception as error:  # its digests are right, so somebody wrote it like this: anything may be in there
        reason = f"{type(error).__name__}: {error}" if not isinstance(error, ValueError) else str(error)
        raise ValueError(f"{path}: its state cannot be read ({reason}); the run cannot be resumed from it") from error
    if step != step_of(path):
        raise ValueError(
            f"{path}: its state is of step {step}, so its folder was renamed or copied; name it checkpoint-{step}, or "
            "move it out of the run folder"
        )
    if config is not None:
        changes += differences(state.config, config)
    if changes and not override:
        raise ValueError(
            f"{path}: not an exact continuation, these differ (override to go on all the same): " + "; ".join(changes)
        )
    return Checkpoint(path, step, state, tuple(changes))


def _begins(path: Path, beginning: bytes) -> bool:
    try:
        return re.match(beginning, read_bytes(path)) is not None
    except OSError:  # it is not there, or no file
        return False


def _is_complete(path: Path) -> bool:
    try:
        verify_folder(path, FORMAT)
    except DamagedCheckpointError:
        return False
    return True
