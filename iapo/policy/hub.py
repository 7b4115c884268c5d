"""Finds out within seconds whether the hub can be reached; what loads from it would try again for a minute."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi, try_to_load_from_cache
from huggingface_hub.errors import HfHubHTTPError

_PATIENCE = 10.0
"""Seconds in which the hub is to answer."""


def unreachable_model(source: str) -> str:
    """Why the hub cannot be asked for a model; empty if it can be, or need not be: the model is here or cached."""
    if source == "embedded" or not is_hub_id(source) or Path(source).suffix == ".gguf":
        return ""
    if isinstance(try_to_load_from_cache(source, "config.json"), str):
        return ""
    return _why_not(lambda: HfApi().model_info(source, timeout=_PATIENCE))


def cached_revision(source: str) -> str:
    """The revision of a model that was loaded last, as the hub's cache has it; empty if it has none."""
    found = try_to_load_from_cache(source, "config.json")
    return Path(found).parent.name if isinstance(found, str) else ""


def unreachable_data(name: str, cache: Path) -> str:
    """Why the hub cannot be asked for a data set; empty if it can be, or need not be.

    Args:
        name: of the data set, or a path.
        cache: of the package ``datasets``.
    """
    from datasets.naming import camelcase_to_snakecase

    owner, slash, own = name.rpartition("/")
    if not is_hub_id(name) or (cache / f"{owner}{slash and '___'}{camelcase_to_snakecase(own)}").exists():
        return ""
    return _why_not(lambda: HfApi().dataset_info(name, timeout=_PATIENCE))


def is_hub_id(source: str) -> bool:
    """Whether a text is the id of something on the hub, and no path: one slash at most, and nothing of that name here.

    Example:
        >>> is_hub_id("openai/gsm8k"), is_hub_id("./gsm8k"), is_hub_id("a/b/c")
        (True, False, False)
    """
    return not (source.startswith((".", "/", "~")) or source.count("/") > 1 or Path(source).exists())


def _why_not(ask: Callable[[], Any]) -> str:
    try:
        ask()
    except (HfHubHTTPError, ValueError):  # it answers, or that is no id: what loads says which
        return ""
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return ""
