"""What a reader may paste into a shell."""

import json
import shlex

import yaml  # type: ignore[import-untyped]


def quoted_path(path: object) -> str:
    """A path as a shell takes it.

    Example:
        >>> quoted_path("runs/first"), quoted_path("my runs/first")
        ('runs/first', "'my runs/first'")
    """
    return shlex.quote(str(path))


def quoted_list(path: object) -> str:
    """A list with one path, as a shell and then YAML take it.

    Example:
        >>> print(quoted_list("my_model"), quoted_list("one, two"))
        '[my_model]' '["one, two"]'
    """
    try:
        plain = yaml.safe_load(f"[{path}]") == [str(path)]
    except yaml.YAMLError:
        plain = False
    return shlex.quote(f"[{path if plain else json.dumps(str(path), ensure_ascii=False)}]")
