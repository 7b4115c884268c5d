"""Keys of YAML that stand in a mapping twice, of which YAML takes the last without a word."""

from typing import Any

import yaml  # type: ignore[import-untyped]


def check_unique_keys(text: str) -> None:
    """Raise ``yaml.YAMLError`` for a mapping that has a key twice; the key and its line are named.

    Args:
        text: YAML.

    Example:
        >>> check_unique_keys("{steps: 60, loss: {clip: 0.2}}")
    """
    seen: set[int] = set()
    pending: list[Any] = [yaml.compose(text, yaml.SafeLoader)]
    while pending:
        node = pending.pop()
        if id(node) in seen:  # an alias
            continue
        seen.add(id(node))
        if isinstance(node, yaml.SequenceNode):
            pending += node.value
        elif isinstance(node, yaml.MappingNode):
            keys: set[str] = set()
            for key, value in node.value:
                name = key.value if isinstance(key, yaml.ScalarNode) else ""
                if name in keys:
                    raise yaml.MarkedYAMLError(
                        problem=f"the key {name!r} is there twice, want it once", problem_mark=key.start_mark
                    )
                keys |= {name} - {"", "<<"}
                pending.append(value)
