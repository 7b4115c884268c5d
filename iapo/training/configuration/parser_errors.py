"""Errors of the parser in one short line, with what was probably meant."""

import re
from argparse import ArgumentError
from collections.abc import Iterable, Sequence

from jsonargparse import ArgumentParser

from iapo.ops.near_names import did_you_mean
from iapo.training.configuration.setting_errors import setting_error, unknown_component

_KEY = re.compile(r'Parser key "([\w.]+)":\s*(.*)', re.S)
_OR_NONE = re.compile(
    r"Does not validate against any of the Union subtypes Subtypes: \[<class 'iapo\.[\w.]+'>, <class 'NoneType'>\] "
    r"Errors: - (.*) - Expected a <class 'NoneType'>"
)
"""A component that may be left out: what stands in the group is the error about the one that is given."""
_PLACES = {
    "comparison": "iapo compare iapo://compare/embedded is a small one",
    "run": "the --output of iapo train",
    "output": "as in --output my_model",
}
"""What stands in the place of an argument that is missing."""
_UNKNOWN = re.compile(r"[Uu]nrecognized arguments: (.*)", re.S)
_COMMAND = re.compile(r"invalid choice: '(.*?)'")


def readable_error(error: ArgumentError, commands: Sequence[str], parser: ArgumentParser | None) -> ArgumentError:
    """The error with a shorter message where it is of a known kind, else as it is.

    Args:
        error: of a parser.
        commands: all there are.
        parser: of the command that was given, if it is one.
    """
    message = " ".join(str(error.message).split())
    return ArgumentError(None, _readable_message(message, commands, parser) or message)


def _readable_message(message: str, commands: Sequence[str], parser: ArgumentParser | None) -> str:
    if match := _COMMAND.search(message):
        near = did_you_mean(match[1], commands) or f"; want one of {_listed(commands)}"
        return f"invalid choice: {match[1]!r} is no command{near}"
    if match := _UNKNOWN.search(message):
        return _unknown_flag(match[1], parser)
    if message.startswith('expected "subcommand"'):
        return f"no subcommand is given, want one of {_listed(commands)}"
    if match := _KEY.match(_OR_NONE.sub(lambda found: found[1] + "\n", message).partition("\n")[0]):
        return setting_error(match[1], match[2])
    if match := re.search(r"arguments are required: (?:\w+\.)?(\w+)", message):
        what = "a flag" if parser is not None and f"--{match[1]}" in parser._option_string_actions else "a word"
        return f"{match[1]}: is missing, want {what} that names it; {_PLACES.get(match[1], '')}".rstrip("; ")
    if match := re.search(r"ambiguous option: (\S+) could match (\S+?),", message):
        return f"{match[1]} is no flag; did you mean {match[2]}?"
    if (match := re.search(r"Subcommand '\w+' does not accept option '([\w.]+)'", message)) and parser is not None:
        return f"config: {match[1]} is no setting{did_you_mean(match[1], _settings(parser))}"
    if message.startswith("Unexpected config"):
        return "config: want a mapping of settings, as in 'steps: 60', one a line; " + message[:80]
    if message.startswith("Problems parsing config"):
        return f"config: the file is no YAML: {message.removeprefix('Problems parsing config: ')}"
    if match := re.match(r"--(\w+)\.help: Expected a dot import path string: ?(.*)", message):
        return f"{match[1]}.help: {reason}" if (reason := unknown_component(match[1], match[2])) else ""
    return ""


def _unknown_flag(rest: str, parser: ArgumentParser | None) -> str:
    words = rest.split()
    flag = next((word for word in words if word.startswith("-")), words[0] if words else "")
    name = flag.partition("=")[0].lstrip("-")
    if not flag.startswith("-"):
        quoted = "in quotes if it has spaces or is a pattern of files"
        return f"{flag!r} is one word too many; a value follows its flag, {quoted}"
    near = "" if parser is None else did_you_mean(name, _settings(parser), "--")
    return f"{flag.partition('=')[0]} is no flag{near}"


def _settings(parser: ArgumentParser) -> list[str]:
    return [action.dest for action in parser._actions if action.option_strings and action.dest != "help"]


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names)
