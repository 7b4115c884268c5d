"""Errors about the value of one setting, which may be a parameter of a component inside another."""

import inspect
import re
from collections.abc import Sequence
from pydoc import locate
from typing import Any, NamedTuple, get_type_hints

import yaml  # type: ignore[import-untyped]

from iapo.interfaces import AdvantageAssigner, MIEstimator, PolicyLoss, Sampler
from iapo.ops.near_names import did_you_mean
from iapo.styles import AnswerStyle, ReasoningStyle
from iapo.tasks import Task
from iapo.training.configuration.plain_files import import_path
from iapo.training.configuration.unique_keys import check_unique_keys
from iapo.training.configuration.wanted import is_class, kinds_of

_KINDS: dict[str, tuple[str, type]] = {
    "assigner": ("iapo.advantages", AdvantageAssigner),
    "outcome": ("iapo.advantages", AdvantageAssigner),
    "estimator": ("iapo.estimators", MIEstimator),
    "loss": ("iapo.losses", PolicyLoss),
    "sampler": ("iapo.rollout", Sampler),
    "rewards": ("iapo.rewards", object),
    "task": ("iapo.tasks", Task),
    "answer_style": ("iapo.styles", AnswerStyle),
    "reasoning_style": ("iapo.styles", ReasoningStyle),
    "optimizer": ("torch.optim", object),
}
"""Where the classes of a setting are, and what they have in common."""

_OPTION = re.compile(r"(?:Option|option) '([\w.]+)'")
_CLASS = re.compile(r"class_path[= ]+'([^']+)'")
_INWARD = re.compile(r"Problem with given class_path '(?P<owner>[^']+)':|Parser key \"(?P<name>\w+)\":")
"""One step from a component to what it takes."""
_REQUIRED = re.compile(r"are required: (\w+(?:, \w+)*)")
_NOT_FOUND = re.compile(
    r"Expected a dot import path string: (?P<path>[^\s.]\S*)|"
    r"Import path (?P<wrong>\S+) does not correspond to a subclass of|"
    r"module '(?P<module>[\w.]+)' has no attribute '(?P<name>\w+)'|"
    r"Expected a <class 'dict'>\. Got value: (?P<reward>[A-Za-z]\w*)$"
)
_NO_MODULE = re.compile(r"No module named '([\w.]+)'")
_CHOICES = re.compile(r"typing\.Literal\[(.*?)\]")
_WRONG = re.compile(
    r"got (?P<given>.*?), want (?P<wanted>.*?)(?= - (?:Expected|Not|Problem) | Given value|\. Got value: |$)"
)
"""`iapo.training.configuration.wanted.wrong_kind`, and what the parser puts behind it."""
_WANTED = {
    "models": "a list, as in --models '[embedded, runs/mine/checkpoint-60]'",
    "rewards": "functions by name, as in '{accuracy: {class_path: iapo.rewards.MathAnswer}}', "
    "or one as my_file.py:name",
}
"""What is wanted, where an example says more than a type."""


def setting_error(key: str, text: str) -> str:
    """The error in one short line; empty for one of an unknown kind.

    Args:
        key: the setting.
        text: what the parser says of it, in one line.
    """
    if match := re.match(r"Unable to load config '(.*?)'", text):
        return f"{key}: got {match[1] or 'an empty text'}, want its parameters one by one, as --{key}.NAME VALUE"
    if key == "config":
        return f"config: {text[0].lower()}{text[1:]}; want a YAML file of settings, or one of iapo://NAME"
    if reason := untyped(text) or _of_callable(key, text):
        return f"{key}: {reason}"
    place = _place(key, text)
    if module := _NO_MODULE.search(text):
        return (
            f"{place.key}: there is no module {module[1]!r}; want one that is installed or lies in a folder of "
            "PYTHONPATH, or a file, as my_file.py:Name"
        )
    if wrong := _WRONG.match(place.said):
        return _of_kind(place.key, wrong["given"], wrong["wanted"])
    if place.class_path and (required := _REQUIRED.search(place.said)):
        lacking = required[1].split(", ")
        flags = " ".join(f"--{place.key}.{name} VALUE{_choices(place, name)}" for name in lacking)
        if place.key == "rewards":  # there are several, so that their parameters are no flags
            flags = f"'init_args: {{{', '.join(f'{name}: VALUE' for name in lacking)}}}' behind its class_path"
        which = f"{place.key}: {place.class_path} has no default for {', '.join(lacking)}"
        return f"{which}, want {flags}, or defaults in the class"
    if place.class_path and (option := _OPTION.search(place.said)) and "not accepted" in place.said:
        known = _parameters(place.class_path)
        near = did_you_mean(option[1], known) or f"; it takes {', '.join(known) or 'none'}"
        return f"{place.key}: {place.class_path} has no parameter {option[1]!r}{near}"
    return _of_component(place, text) or (_of_kind(key, _given(text), "") if key in _WANTED else "")


def unknown_component(key: str, given: str) -> str:
    """What to name in place of a component that there is not; empty for a setting that takes none.

    Args:
        key: the setting.
        given: the name.
    """
    return _no_class(given, key, *_KINDS[key]) if key in _KINDS else ""


class _Place(NamedTuple):
    """Where an error is, a component may be inside another, and what is said there."""

    key: str
    """The setting, from the outermost on."""
    owner: str
    """Import path of the class that takes it as a parameter; empty: a command does."""
    class_path: str
    """Import path of the class that is given there; empty: it is not known."""
    said: str


def _place(key: str, text: str) -> _Place:
    owner = class_path = ""
    for step in _INWARD.finditer(text):
        if step["name"] is None:
            class_path = step["owner"]
        else:
            key, owner, class_path = f"{key}.{step['name']}", class_path, ""
    said = _INWARD.split(text)[-1].strip()
    if not class_path and (given := _CLASS.search(said)):
        class_path = given[1]
    return _Place(key, owner, class_path, said)


def _choices(place: _Place, name: str) -> str:
    """The classes that may be a parameter of the component at a place, in brackets; empty: none, or any of a family."""
    base, named = _class_of(place.class_path, name), _named(place.key)
    if base is None or named is None or base is _KINDS[named][1]:  # a whole family would be a long list
        return ""
    names = _classes(_KINDS[named][0], base)
    return f" ({', '.join(names)})" if names else ""


def _named(key: str) -> str | None:
    """The innermost part of a setting of which it is known where its classes are."""
    return next((part for part in reversed(key.split(".")) if part in _KINDS), None)


def _of_component(place: _Place, text: str) -> str:
    """The error about a component that there is not, or of the wrong kind; empty for another error."""
    key, word = place.key, place.key.rpartition(".")[2]
    named = _named(key)
    if named is None:
        return ""
    module, base = _KINDS[named]
    if inside := _class_of(place.owner, word):
        base, word = inside, inside.__name__
    hooks = getattr(base, "__abstractmethods__", ())
    if hooks and re.search(r"class, but (\S+ )?is abstract", text):
        named_so = re.search(r"class, but (\S+) is abstract", text) or re.search(r"Given value: (\S+)$", text)
        found: Any = locate(import_path(named_so[1])) if named_so else None
        if inspect.isclass(found) and not issubclass(found, base):
            return f"{key}: {found.__name__} is no {word}, want a subclass of {base.__name__}"
        return f"{key}: {named_so[1] if named_so else 'it'} is abstract, want one that has {', '.join(sorted(hooks))}"
    if missing := _NOT_FOUND.search(text):
        given = next(
            value for value in (missing["path"], missing["wrong"], missing["name"], missing["reward"]) if value
        )
        is_own, given = ".py:" in given, given.rpartition(":")[2].rpartition(".")[2]
        if is_own and base is not object:
            return f"{key}: {given} is no {word}, want a subclass of {base.__name__}"
        literal = [choice.strip(" '\"") for found in _CHOICES.findall(text)[:1] for choice in found.split(",")]
        return f"{key}: {_no_class(given, word, module, base, literal, missing['module'], bool(missing['wrong']))}"
    if match := re.match(r"- Expected a path but (\S+) either not accessible or invalid", place.said):
        return f"{key}: got {match[1]}, want a class by its import path, or as my_file.py:Name"
    return ""


def _class_of(owner: str, name: str) -> type | None:
    """The class whose objects a parameter of another takes; ``None``: it takes none."""
    found: Any = locate(import_path(owner)) if owner else None
    try:
        hints = get_type_hints(found.__init__) if inspect.isclass(found) else {}
    except NameError:  # a class of one's own that imports its types for type checkers alone
        hints = {}
    return next((kind for kind in kinds_of(hints.get(name)) if is_class(kind)), None)


def _of_kind(key: str, given: str, wanted: str) -> str:
    """The error about a value of another kind than a setting takes."""
    choices = wanted.removeprefix("one of ").split(", ") if wanted.startswith("one of ") else ()
    return f"{key}: got {given}{_misread(given)}, want {_WANTED.get(key, wanted)}{did_you_mean(given, choices)}"


def _misread(given: str) -> str:
    """What is wrong with a list or a mapping that is no YAML, in brackets; empty for one that is, and other values."""
    try:
        if given.startswith(("{", "[")):
            check_unique_keys(given)
    except yaml.YAMLError as error:
        return f" ({getattr(error, 'problem', None) or 'no YAML'})"
    return ""


def untyped(text: str) -> str:
    """What to do about a parameter of one's own component that says no type; empty for another error."""
    match = re.search(r"Parameter '(\w+)' from '(\S+)' does not specify a type", text)
    if match is None:
        return ""
    kind = {"model": "nn.Module", "tokenizer": "Any", "params": "Any"}.get(match[1], "float")
    return f"the parameter {match[1]!r} of {match[2]} has no type, want one, as in {match[1]}: {kind}"


def _of_callable(key: str, text: str) -> str:
    """The error about what is called to make a component; empty for another error."""
    if match := re.search(r"got NestedArg\(key='([\w.]+)'", text):
        return (
            f"a function takes no parameters from flags, got --{key}.{match[1]}; leave it out, or name a class, whose "
            "parameters are flags"
        )
    if match := re.search(r"Unexpected import object .*Got value: (\S+)$", text):
        return f"{match[1]} is no function and no class, want one of these"
    if match := re.search(r"Expected '(\S+)' to be a class that instantiates into callable", text):
        return f"{match[1]} is a class without __call__, want a function, or a class whose objects can be called"
    if match := re.search(r"Expected '(\S+)' to be a subclass of <class 'Optimizer'>", text):
        return (
            f"{match[1]} is no optimizer of torch, want a subclass of torch.optim.Optimizer; an iapo.PolicyOptimizer "
            "of your own is a component of a loop in Python (iapo.Components)"
        )
    return ""


def _given(text: str) -> str:
    """The value that an error ends with; of a class its path."""
    given = re.split(r"Got value: ?|import path string: ?", text)[-1]
    match = re.search(r"class_path='(.*?)'", given)
    return match[1] if match else given or "an empty text"


def _no_class(
    given: str,
    word: str,
    module: str,
    base: type,
    literal: Sequence[str] = (),
    sought_in: str | None = None,
    other_kind: bool = False,
) -> str:
    """What there is in place of a class that is not there, or is of another kind.

    Args:
        given: its name.
        word: what it should be.
        module: where those are that may be given.
        base: what they have in common.
        literal: words that may be given in their place.
        sought_in: the module that it was sought in, if one was named.
        other_kind: whether it was found.
    """
    names = [*literal, *_classes(module, base)]
    path = f"{sought_in}.{given}" if sought_in and given in names else given  # the name alone would be right
    other_kind |= given not in names and given in getattr(locate(module), "__all__", ())
    what = f"{given} is no {word}" if other_kind else f"no {word} is called {path!r}"
    near = did_you_mean(given, names) or (f"; there are {', '.join(names)}" if names else "")
    return f"{what}{near} (one of your own by its import path, or as my_file.py:Name)"


def _classes(module: str, base: type) -> list[str]:
    found: Any = locate(module)
    names = getattr(found, "__all__", dir(found))
    values = {name: getattr(found, name) for name in names if name[:1].isupper()}
    return sorted(
        n for n, v in values.items() if inspect.isclass(v) and issubclass(v, base) and not inspect.isabstract(v)
    )


def _parameters(class_path: str) -> list[str]:
    found: Any = locate(import_path(class_path))
    return [] if found is None else [name for name in inspect.signature(found).parameters if name != "self"]
