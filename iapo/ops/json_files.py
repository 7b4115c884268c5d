"""Files of JSON: read with one error for whatever is wrong with them, and sealed by a digest of what they hold."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from iapo.ops.text_files import read_text, write_text

_SEAL = "sha256"
"""The entry of a sealed file that has the digest of the others."""


def read_json_file(path: Path) -> Any:
    """What a file of JSON holds.

    Raises:
        OSError: as `iapo.ops.text_files.read_bytes` does.
        ValueError: it is no JSON in UTF-8, or nested too deep; the file is named, and why.
    """
    return _read(path)[0]


def sealed(content: Mapping[str, Any]) -> str:
    """Entries of JSON, and behind them their digest (SHA-256), as the text of a file that `read_sealed` knows again."""
    digest = hashlib.sha256(json.dumps(content).encode()).hexdigest()
    return json.dumps({**content, _SEAL: digest}) + "\n"


def write_sealed(path: Path, content: Mapping[str, Any]) -> None:
    """Write what `sealed` makes of the entries.

    Raises:
        OSError: as `iapo.ops.text_files.write_text` does.
    """
    write_text(path, sealed(content))


def read_sealed(path: Path) -> dict[str, Any]:
    """The entries of a file that `sealed` made the text of, without their digest.

    Raises:
        OSError: as `iapo.ops.text_files.read_bytes` does.
        ValueError: the file is not what was written, to the byte; it is named.
    """
    content, text = _read(path)
    if not isinstance(content, dict) or content.pop(_SEAL, None) is None:
        raise ValueError(f"{path}: is damaged or of something else, it has no digest of its content")
    if sealed(content) != text:
        raise ValueError(f"{path}: is damaged, its content is not what was written (SHA-256)")
    return content


def _read(path: Path) -> tuple[Any, str]:
    """What a file of JSON holds, and its text."""
    try:
        text = read_text(path)
        return json.loads(text), text
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: is damaged, it is no JSON ({error})") from error
