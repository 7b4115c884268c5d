"""A digest of the files that a model is loaded from, by which it is noticed that they are others than they were."""

import hashlib
from pathlib import Path

from iapo.policy.hub import cached_revision
from iapo.policy.loading import load_config, locate
from iapo.policy.lora import base_of, is_adapter

_WEIGHTS = (".safetensors", ".bin", ".gguf")
_OTHERS = (".json", ".model", ".txt", ".jinja", ".py")
"""Endings of files with the configuration, the tokenizer, the chat template or code."""
_PIECES, _PIECE = 64, 4096
"""Pieces of a file of weights that are read, spread over it, and the bytes of each: training changes all weights, and
no gigabytes are read."""


def files_digest(source: str, trust_remote_code: bool = False) -> str:
    """A digest of a model's files; of a model on the hub, its revision. Arguments and errors are those of `load_model`.

    Adapters are of the digest of their base too.
    """
    path_or_id, options = locate(source)
    below = files_digest(base_of(source), trust_remote_code) if is_adapter(source) else ""
    folder = Path(path_or_id)
    if not folder.is_dir():
        load_config(source, trust_remote_code)  # asks the hub, if it can be asked, for what is newest
        return cached_revision(source)
    chosen = options.get("gguf_file")
    files = (
        [folder / chosen]
        if chosen
        else [each for each in folder.iterdir() if each.suffix in _WEIGHTS + _OTHERS and each.is_file()]
    )
    found = hashlib.sha256(below.encode())
    for file in sorted(files):
        found.update(f"{file.name} {file.stat().st_size} ".encode())
        found.update(_pieces(file) if file.suffix in _WEIGHTS else file.read_bytes())
    return found.hexdigest()[:16]


def _pieces(file: Path) -> bytes:
    """Pieces of a file's content, at equal distances."""
    found, size = bytearray(), file.stat().st_size
    with file.open("rb") as content:
        for place in range(0, size, max(_PIECE, size // _PIECES)):
            content.seek(place)
            found += content.read(_PIECE)
    return bytes(found)
