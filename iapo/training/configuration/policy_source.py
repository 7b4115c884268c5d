"""Which policy, and how its forwards run: the settings of a model that the commands share."""

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from transformers import PreTrainedModel

from iapo.policy.loading import choose_autocast, choose_device, load_config, load_model, load_tokenizer
from iapo.training.checkpoints.checkpoint import FORMAT, is_checkpoint
from iapo.training.checkpoints.folder import verify_folder


@dataclass(frozen=True)
class PolicySource:
    """The policy and how its forwards run.

    Args:
        model: embedded, a directory, a hub id, or a .gguf file.
        device: auto is CUDA if there is one, else the CPU.
        precision: of forwards; auto is bf16 on CUDA.
        trust_remote_code: run code that comes with a model.
    """

    model: str = "embedded"
    device: str = "auto"
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    trust_remote_code: bool = False

    def torch_device(self) -> torch.device:
        """The device that ``device`` names on this machine."""
        return choose_device(self.device)

    def autocast(self) -> torch.dtype | None:
        """The reduced precision of forwards on that device; ``None``: that of the weights."""
        return choose_autocast(self.precision, self.torch_device())

    def autocast_context(self) -> AbstractContextManager[Any]:
        """A new context in which forwards on that device run in that precision."""
        dtype = self.autocast()
        return nullcontext() if dtype is None else torch.autocast(self.torch_device().type, dtype)

    def tokenizer(self) -> Any:
        """The tokenizer of ``model``."""
        return load_tokenizer(self.model, self.trust_remote_code)

    def check(self) -> None:
        """Look at ``model`` before it is loaded: at its configuration, its tokenizer, the digests of a checkpoint.

        Raises:
            DamagedCheckpointError: ``model`` is a checkpoint of a run, and is not what was written.
            ValueError: it cannot be loaded.
        """
        self._verify()
        load_config(self.model, self.trust_remote_code)
        self.tokenizer()

    def load(self, checkpoint: Path | None = None) -> tuple[PreTrainedModel, Any]:
        """The model and its tokenizer, of a ``checkpoint`` in place of ``model`` if one is given.

        Raises:
            DamagedCheckpointError: ``model`` is a checkpoint of a run, and is not what was written; a ``checkpoint`` is
                taken as it is.
        """
        if checkpoint is None:
            self._verify()
        source = self.model if checkpoint is None else str(checkpoint)
        return load_model(source, self.torch_device(), trust_remote_code=self.trust_remote_code)

    def _verify(self) -> None:
        folder = Path(self.model).expanduser().resolve()
        if is_checkpoint(folder):
            verify_folder(folder, FORMAT)
