"""What a setting takes, in words: said where its type and the value that came are both known."""

import inspect
import re
from collections.abc import Callable, Mapping
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin

import yaml  # type: ignore[import-untyped]
from jsonargparse import Namespace, _typehints
from jsonargparse.typing import PositiveInt

_WORDS = {
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    str: "a text",
    dict: "a mapping, as in '{name: value}'",
    list: "a list, as in '[one, two]'",
    tuple: "a list, as in '[one, two]'",
    type(None): "null",
}
_NUMBERS_LISTED = "a list, as in '[1, 2]'"


def wrong_kind(hint: Any, value: Any) -> str:
    """``got VALUE, want KIND`` of a value that a setting does not take; empty where the parser itself says more.

    It says more of a component that is named, and of what is given inside of one.

    Args:
        hint: type of the setting.
        value: as it was given, a text of the command line or plain data of a file.
    """
    kinds = kinds_of(hint)
    words = [each for each in map(_in_words, kinds) if each]
    if not words or (any(map(_is_component, kinds)) and _may_name_one(value, kinds)):
        return ""
    given = value if isinstance(value, str) else "null" if value is None else repr(value)
    return f"got {given or 'an empty text'}, want {' or '.join(dict.fromkeys(words))}"


def kinds_of(hint: Any) -> tuple[Any, ...]:
    """The types of a union; of another type that alone."""
    return get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)


def _in_words(kind: Any) -> str:
    """A type in words; empty if it has none."""
    if get_origin(kind) is Literal:
        choices = ", ".join(map(str, get_args(kind)))
        return f"one of {choices}" if len(get_args(kind)) > 1 else choices
    if getattr(kind, "__module__", "") == PositiveInt.__module__:  # of a restricted range
        base = int if issubclass(kind, int) else float
        within = kind.__doc__.partition("restricted to be ")[2]
        return "a finite number" if within == "finite" else f"{_WORDS[base]} {within}"
    made = get_args(kind)[1] if get_origin(kind) is Callable else kind
    if is_class(made):
        return f"an object of {made.__name__} (its import path, or my_file.py:Name)"
    plain = get_origin(kind) or kind
    inside = _in_words(get_args(kind)[0]) if plain in (list, tuple) and get_args(kind) else ""
    if inside.startswith(("a number", "a whole number")):
        return f"{_NUMBERS_LISTED}, each {inside}"
    return _WORDS.get(plain, "")


def _is_component(kind: Any) -> bool:
    """Whether an object of a class is wanted, a function, or a mapping of them."""
    if get_origin(kind) is dict:
        return _is_component(get_args(kind)[1])
    return get_origin(kind) is Callable or is_class(kind)


def is_class(kind: Any) -> bool:
    """Whether settings name objects of it: it is no plain type, no number, and no tensor in the place of one."""
    plain = kind in _WORDS or kind is Any or not inspect.isclass(kind)
    return not plain and not issubclass(kind, int | float) and kind.__module__ != "torch"


def _may_name_one(value: Any, kinds: tuple[Any, ...]) -> bool:
    """Whether a value is a component by its name, or parts of one; a word in the place of a number is none."""
    if isinstance(value, str):
        try:
            value = yaml.safe_load(value)
        except yaml.YAMLError:
            return False
    if isinstance(value, str):
        return re.search(r"[^\W\d]", value) is not None and not {int, float} & set(kinds)
    if isinstance(value, Mapping | Namespace):
        return isinstance(value.get("class_path", ""), str) and isinstance(
            value.get("init_args", {}), Mapping | Namespace
        )
    return isinstance(value, _typehints.NestedArg)
