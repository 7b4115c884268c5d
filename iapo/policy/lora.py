"""Low-rank adapters of a policy (LoRA) by PEFT: attached, read from a checkpoint, merged, and switched off."""

import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from iapo.ops.checks import check_integer
from iapo.ops.extras import check_installed
from iapo.ops.json_files import read_json_file

ADAPTER = "adapter_config.json"
"""The file that a folder of adapters has, and a folder of a whole model has not."""


@dataclass(frozen=True)
class LoRA:
    """Train low-rank adapters in place of the weights.

    Args:
        r: rank of the adapters; 0 trains all weights.
        alpha: the adapters' product is scaled by alpha / r.
        target_modules: names of the linear layers that get one; default is all but the output's.

    Raises:
        ValueError: ``r`` below 0, or ``alpha`` that is not positive.
    """

    r: int = 0
    alpha: int = 16
    target_modules: list[str] | None = None

    def __post_init__(self) -> None:
        check_integer("lora.r", self.r, least=0)
        check_integer("lora.alpha", self.alpha)

    def attach(self, model: Any, source: str) -> Any:
        """The model with new adapters, which change nothing yet; its own weights are frozen.

        There is no dropout: updates run in evaluation mode.

        Args:
            model: the base model.
            source: where it was loaded from, which checkpoints name as their base.

        Raises:
            ValueError: no layer has one of the names.
        """
        peft = _peft()
        target = "all-linear" if self.target_modules is None else self.target_modules
        config = peft.LoraConfig(r=self.r, lora_alpha=self.alpha, target_modules=target, task_type="CAUSAL_LM")
        with _named(f"lora.target_modules: {target} cannot be adapted"):
            adapted = peft.get_peft_model(model, config)
        name_base(adapted, source)
        return adapted


_BUILT_AS = (
    *("_is_stateful", "_supports_sdpa", "base_model", "device"),
    *("get_input_embeddings", "get_output_embeddings", "set_attn_implementation"),
)
"""What estimators ask a model beside its forwards."""


class AdapterOff(nn.Module):
    """A policy with adapters as it was before they were trained: the reference policy, without a copy of the weights.

    Estimators read it like any other policy; it does not generate.

    Args:
        model: with adapters, not wrapped by DDP; its weights may be sharded by FSDP2.
    """

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model, self.config = model, model.config

    def __getattr__(self, name: str) -> Any:
        """How the model is built, and nothing that would run it with its adapters on."""
        return getattr(self.model, name) if name in _BUILT_AS else super().__getattr__(name)

    def forward(self, **inputs: Any) -> Any:
        """The model's forward, its adapters off."""
        with self.model.disable_adapter():
            return self.model(**inputs)


def is_adapter(folder: str | Path) -> bool:
    """Whether a folder holds adapters in place of a whole model."""
    return (Path(folder) / ADAPTER).is_file()


def base_of(folder: str | Path) -> str:
    """The model that the adapters in a folder were trained on: a directory or an id of the hub.

    Raises:
        ValueError: the folder does not say, or names itself.
    """
    path = Path(folder) / ADAPTER
    try:
        base = read_json_file(path)["base_model_name_or_path"]
    except (ValueError, LookupError, TypeError):
        base = None
    if not isinstance(base, str) or not base or Path(base).resolve() == Path(folder).resolve():
        raise ValueError(f"{path}: names no base_model_name_or_path, want the model that the adapters belong to")
    return base


def with_adapters(model: nn.Module, folder: str | Path, trainable: bool = False) -> Any:
    """A base model with the adapters of a folder.

    Args:
        model: the base model of `base_of`.
        folder: of the adapters.
        trainable: they are trained on; otherwise they are merged into the weights, which can be trained, unless they
            are packed.

    Raises:
        ValueError: PEFT cannot read the folder, or the adapters are none of this model or not all there.
    """
    peft = _peft()
    with _named(f"model: the adapters in {folder} cannot be loaded"):
        warnings.filterwarnings("error", message="Found missing adapter keys")  # new ones would be taken for them
        adapted = peft.PeftModel.from_pretrained(model, str(folder), is_trainable=trainable)
        if trainable:
            return adapted
        merged = adapted.merge_and_unload()
        for weight in merged.parameters():
            weight.requires_grad_(weight.is_floating_point())
        return merged


def name_base(adapted: Any, source: str) -> None:
    """Let checkpoints of a model with adapters name where its base was loaded from.

    Args:
        adapted: a model of PEFT.
        source: a directory, of which the whole path is named, an id of the hub, or a name of its own.
    """
    path = Path(source).expanduser()
    base = str(path.resolve()) if path.exists() else adapted.get_base_model().name_or_path
    adapted.peft_config["default"].base_model_name_or_path = base


def saving_options(model: Any) -> dict[str, Any]:
    """What a model's ``save_pretrained`` needs beside the folder: of adapters, not to ask the hub about embeddings."""
    peft = sys.modules.get("peft")
    return {"save_embedding_layers": False} if peft is not None and isinstance(model, peft.PeftModel) else {}


def _peft() -> Any:
    check_installed("peft", "train")
    import peft

    return peft


@contextmanager
def _named(what: str) -> Iterator[None]:
    """An error of PEFT's as one that says what it is about, without its warnings about its own use of transformers."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            yield
    except Exception as error:
        raise ValueError(f"{what} ({told(error)})") from error


def told(error: Exception) -> str:
    """An error of reading weights, as text. That of a pickle is put in other words: torch advises to run it."""
    if type(error).__name__ == "UnpicklingError":
        return "its weights are a pickle with more than tensors in it, which may be code to run; want safetensors"
    return f"{type(error).__name__}: {error}"
