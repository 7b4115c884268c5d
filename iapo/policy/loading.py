"""Loads models and tokenizers: the embedded one, a local directory, a hub id, or a GGUF file."""

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from difflib import get_close_matches
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors import safe_open
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, PreTrainedModel

from iapo.embedded import model_path
from iapo.ops.arguments import arguments_named
from iapo.ops.extras import check_installed
from iapo.ops.json_files import read_json_file
from iapo.ops.memory import is_out_of_memory
from iapo.policy.hub import unreachable_model
from iapo.policy.limits import Limits, limits_of, limits_of_config
from iapo.policy.lora import base_of, is_adapter, told, with_adapters

_POINTER = b"version https://git-lfs"


def choose_device(name: str = "auto") -> torch.device:
    """``auto``: CUDA if it is there, else the CPU; any other name as torch takes it.

    Raises:
        ValueError: no device of that name, or CUDA is asked for and not there.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ValueError(f"device: got {name!r}, want auto, cpu, cuda or cuda:N") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ValueError(f"device: got {name!r}, but this machine has no CUDA device")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ValueError(f"device: got {name!r}, but this machine has {torch.cuda.device_count()} CUDA devices")
    return device


def choose_autocast(precision: str, device: torch.device) -> torch.dtype | None:
    """The reduced precision of forwards: ``auto`` is bf16 on a CUDA device that has it, else none; weights stay fp32.

    Raises:
        ValueError: ``precision`` is none of ``auto``, ``bf16``, ``fp32``.
    """
    if precision not in ("auto", "bf16", "fp32"):
        raise ValueError(f"precision: got {precision!r}, want one of auto, bf16, fp32")
    if precision == "auto":
        precision = "bf16" if device.type == "cuda" and torch.cuda.is_bf16_supported() else "fp32"
    return torch.bfloat16 if precision == "bf16" else None


@arguments_named
def load_tokenizer(source: str | Path, trust_remote_code: bool = False) -> Any:
    """The tokenizer of a model, left-padding, with a padding token.

    Args:
        source, trust_remote_code: as of `load_model`.

    Raises:
        ModuleNotFoundError: a GGUF file without the extra ``gguf``.
        ValueError: a path that is not there, a tokenizer that transformers cannot load, or one with neither a padding
            nor an end-of-sequence token.
    """
    source = os.fspath(source)
    with _named(source):
        tokenizer = _read(AutoTokenizer, source, trust_remote_code)
    tokenizer.padding_side = "left"
    if tokenizer.pad_token_id is None:
        if tokenizer.eos_token_id is None:
            raise ValueError(f"model: the tokenizer of {source} has neither a padding nor an end-of-sequence token")
        tokenizer.pad_token = tokenizer.eos_token  # masks come from lengths, so that any token will do
    return tokenizer


@arguments_named
def load_model(
    source: str | Path,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
    attn_implementation: str = "sdpa",
    trust_remote_code: bool = False,
) -> tuple[PreTrainedModel, Any]:
    """A causal language model and its tokenizer.

    Args:
        source: ``embedded``, a local directory, a hub id, or the path of a ``.gguf`` file, whose weights are unpacked.
            Of a directory of adapters the base model is loaded, and the adapters are merged into it.
        device: that of the weights.
        dtype: of the weights; keep fp32 to train, small updates vanish in bf16.
        attn_implementation: as transformers takes it; ``sdpa`` and ``eager`` can be probed without a switch.
        trust_remote_code: run code that comes with the model.

    Returns:
        Model and tokenizer.

    Raises:
        FileNotFoundError: a path that is not there.
        ModuleNotFoundError: a GGUF file without the extra ``gguf``.
        ValueError: transformers cannot load it (a file is missing, damaged, or does not fit the others), weights that
            are not all there, a generation configuration that cannot be read, or a tokenizer with neither a padding nor
            an end-of-sequence token, or with one of them that the model has no embedding of.
    """
    source = os.fspath(source)
    if is_adapter(source):
        with _base_named(source) as place:
            base, _ = load_model(place, device, dtype, attn_implementation, trust_remote_code)
        return with_adapters(base, source), load_tokenizer(source, trust_remote_code)
    path_or_id, options = locate(source)
    _check_generation_config(Path(path_or_id))
    if "gguf_file" in options and hasattr(transformers, "GgufConfig"):
        # Weights left in their packed blocks can neither be trained nor saved.
        options["quantization_config"] = transformers.GgufConfig(dequantize=True)
    if "gguf_file" in options:
        options["config"] = load_config(source)
    with _named(source):
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            path_or_id,
            dtype=dtype,
            attn_implementation=attn_implementation,
            trust_remote_code=trust_remote_code,
            output_loading_info=True,
            **options,
        )
    model, found = loaded
    parameters = {name for name, _ in model.named_parameters()}
    if missing := sorted(parameters.intersection(found["missing_keys"])):
        raise ValueError(
            f"model: the weights of {source} lack {len(missing)} of the tensors of {type(model).__name__}, such as "
            f"{missing[0]}, which would be newly initialised; want all weights of a causal language model"
        )
    tokenizer = load_tokenizer(source, trust_remote_code)
    special = [token for token in (tokenizer.pad_token_id, tokenizer.eos_token_id) if token is not None]
    limits_of(model).check_tokens(special, tokenizer, f"model: {source}")
    return model.to(torch.device(device)), tokenizer


def load_limits(source: str, trust_remote_code: bool = False) -> Limits:
    """The limits of a model, read from its configuration alone. Arguments and errors are those of `load_config`."""
    return limits_of_config(load_config(source, trust_remote_code))


def load_config(source: str, trust_remote_code: bool = False) -> Any:
    """The configuration of a model; of adapters that of their base.

    Args:
        source, trust_remote_code: as of `load_model`.

    Raises:
        ModuleNotFoundError: a GGUF file without the extra ``gguf``.
        ValueError: a path that is not there, or a configuration that transformers cannot load.
    """
    if is_adapter(source):
        with _base_named(source) as place:
            return load_config(place, trust_remote_code)
    with _named(source):
        return _read(AutoConfig, source, trust_remote_code)


def _read(kind: Any, source: str, trust_remote_code: bool) -> Any:
    """What an auto class of transformers reads of a source; of a GGUF file, which takes seconds each time, once."""
    path_or_id, options = locate(source)
    if "gguf_file" not in options:
        return kind.from_pretrained(path_or_id, trust_remote_code=trust_remote_code, **options)
    return deepcopy(_read_gguf(kind, path_or_id, options["gguf_file"], Path(source).expanduser().stat().st_mtime_ns))


@lru_cache(maxsize=4)
def _read_gguf(kind: Any, folder: str, name: str, changed: int) -> Any:
    return kind.from_pretrained(folder, gguf_file=name)


@contextmanager
def _base_named(adapters: str) -> Iterator[str]:
    """The model that adapters belong to; an error about it says so."""
    base = base_of(adapters)
    try:
        yield base
    except ValueError as error:
        raise ValueError(f"{error}. The adapters in {adapters} belong to it; put it back where it was") from error


@contextmanager
def _named(source: str) -> Iterator[None]:
    """Whatever transformers raises about files, as one error that names the source.

    A hub that cannot be reached is noticed first: transformers would try again and again for a minute.
    """
    try:
        locate(source)
        if reason := unreachable_model(source):
            raise ConnectionError(reason)
        yield
    except Exception as error:
        if is_out_of_memory(error) or isinstance(error, ModuleNotFoundError):
            raise
        raise ValueError(
            f"model: {source} cannot be loaded ({_why(source, error)}); want a complete folder, an id of the hub that "
            "can be reached, or a .gguf file"
        ) from error


def _why(source: str, error: Exception) -> str:
    """What is missing in a folder, where that can be seen; else what transformers says of it."""
    path = Path(source).expanduser()
    if path.is_dir():
        names = {each.name for each in path.iterdir()}
        steps = [int(name.removeprefix("checkpoint-")) for name in names if re.fullmatch(r"checkpoint-[0-9]+", name)]
        if steps and "model.safetensors" not in names:
            return f"it is the folder of a run; name {path / f'checkpoint-{max(steps)}'}"
        if names & {"metrics.jsonl", "samples.jsonl", "report-so-far.md"}:
            return "it is the folder of a run that has no checkpoint yet"
        if "config.json" not in names:
            return f"it has no config.json, but {', '.join(sorted(names)[:5]) or 'nothing'}"
        if not any(name.endswith((".safetensors", ".bin", ".gguf")) for name in names):
            return "it has no weights (model.safetensors)"
        if not any(name.startswith(("tokenizer", "vocab", "spiece")) or name == "merges.txt" for name in names):
            return "it has no tokenizer (tokenizer.json)"
        if damaged := next(filter(None, map(_damage, sorted(path.iterdir()))), None):
            return damaged
    if isinstance(error, ConnectionError):
        return f"it is no folder here, and the hub cannot be reached: {error}"
    if isinstance(error, OSError) and "couldn't connect" in str(error).lower():
        return "it is no folder here, and the hub cannot be reached"
    return told(error)


def _damage(file: Path) -> str | None:
    """What is wrong with a file of a model, where that can be seen by it alone."""
    if not file.is_file():
        return None
    with file.open("rb") as content:
        if content.read(len(_POINTER)) == _POINTER:
            return f"{file.name} is a pointer of Git LFS in place of the file; get it with git lfs pull"
    if file.suffix == ".safetensors":
        try:
            with safe_open(file, "pt"):
                return None
        except Exception as error:
            return f"{file.name} is damaged or not complete: {told(error)}"
    return None


def _check_generation_config(folder: Path) -> None:
    """Refuse a file that transformers would ignore in silence, and with it the tokens that end a sequence."""
    path = folder / "generation_config.json"
    try:
        is_read = not os.path.lexists(path) or isinstance(read_json_file(path), Mapping)
    except ValueError:
        is_read = False
    if not is_read:
        raise ValueError(f"model: {path} is no JSON object; get it again, or remove it if the model has none")


def locate(source: str) -> tuple[str, dict[str, Any]]:
    """The arguments of ``from_pretrained`` for a source, as `load_model` takes it.

    Raises:
        FileNotFoundError: a path that is not there.
        ModuleNotFoundError: a GGUF file without the extra ``gguf``.
        ValueError: a file that is no GGUF file, or a name that is nearly ``embedded``.
    """
    if source == "embedded":
        return str(model_path()), {}
    path = Path(source).expanduser()
    if path.suffix == ".gguf":
        for needed in ("gguf", "accelerate"):
            check_installed(needed, "gguf")
        if not path.is_file():
            raise FileNotFoundError(f"model: no file {source}")
        return str(path.parent), {"gguf_file": path.name}
    if path.is_file():
        raise ValueError(f"model: {source} is a file")
    if (source.startswith((".", "/", "~")) or source.count("/") > 1) and not path.is_dir():
        raise FileNotFoundError(f"model: no directory {source}")  # a hub id has one slash at most
    if not path.is_dir() and get_close_matches(source, ["embedded"], cutoff=0.8):
        raise ValueError(f"model: no directory {source}; did you mean embedded?")
    return str(path) if path.is_dir() else source, {}
