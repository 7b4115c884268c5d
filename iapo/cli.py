"""`iapo train | eval | inspect | compare | show | export`: from the command line to calls."""

import json
import os
import shlex
import signal
import sys
from argparse import ArgumentError
from collections.abc import Mapping, Sequence
from dataclasses import fields
from itertools import islice
from pathlib import Path
from typing import Any

from iapo.commands.standard_streams import flush_output, lost_output, open_missing_streams, tolerant_standard_error

COMMANDS = ("train", "eval", "inspect", "compare", "show", "export")

_MAY_CHANGE = (
    *("config", "output", "resume", "override", "device", "checkpoint_every", "keep_checkpoints", "diagnose"),
    *("reward_time_limit", "gradient_checkpointing", "tracker", "log_samples"),
    *("steps", "max_tokens"),
)
"""Settings of a run that may differ when it is taken up again: they do not change what an update computes (the limits
do, where a weight has a schedule)."""

_PLACES = {"output", "html", "comparison", "run"}
"""Settings that are a file or folder of a command's own."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line; the entry point of ``iapo``.

    Args:
        arguments: ``None``: those of the process, which ends with the command. Ctrl-C then ends it at once and in
            silence as soon as there is nothing left to interrupt.

    Returns:
        The exit code: 0, 1 for an error that is reported in one line, 75 for a training run or a comparison that a
        signal ended after it saved, 128 and the signal's number where there was nothing to save. A command line that
        cannot be parsed exits with 2.
    """
    open_missing_streams()
    with tolerant_standard_error():
        code = _main(arguments)
        _nothing_left_to_interrupt(arguments)
    return code


def _nothing_left_to_interrupt(arguments: Sequence[str] | None) -> None:
    """Let Ctrl-C end a process that only has its last words to say, where it would print a traceback."""
    if arguments is None and signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.SIG_DFL)


def _main(arguments: Sequence[str] | None) -> int:
    given = list(sys.argv[1:] if arguments is None else arguments)
    command = f"iapo {given[0]}" if given and given[0] in COMMANDS else "iapo"
    if sys.flags.optimize > 1:
        print(
            f"{command}: Python runs without docstrings (-OO, PYTHONOPTIMIZE=2), which transformers reads when it is "
            "imported; want one O at most",
            file=sys.stderr,
        )
        return 1
    try:
        from iapo.commands.failures import report, short_warnings
        from iapo.commands.flags import parser_of
    except ModuleNotFoundError as error:
        print(f"{command}: {error.name} is missing: install the extra, pip install 'iapo[train]'", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        _nothing_left_to_interrupt(arguments)
        print(f"{command}: interrupted before it began; run the same command again", file=sys.stderr)
        return 130
    debug = "--debug" in given
    folder = None
    try:
        _quiet_libraries()
        if "--version" in given:
            from iapo.commands.version import versions

            print(versions())
            flush_output()
            return 0
        parsers = {name: parser_of(name) for name in COMMANDS}
        name, settings = _parsed(_files_first([each for each in given if each != "--debug"]), parsers, command)
        with short_warnings(command):
            plain = json.loads(parsers[name].dump(settings, format="json", skip_unset=False))
            parts = parsers[name].instantiate(settings).as_dict()
            parts.pop("config", None)
            for place in _PLACES & parts.keys():
                parts[place] = parts[place] and os.path.expanduser(
                    parts[place]
                )  # of ~, a shell leaves some as they are
            folder = Path(parts["output"]) if name in ("train", "compare") else None
            code = _run(name, parts, plain, shlex.join(["iapo", *given]))
        flush_output()
        return code
    except SystemExit:
        if (lost := lost_output()) is not None:
            return report(command, lost, debug, folder)
        raise
    except BaseException as error:
        _nothing_left_to_interrupt(arguments)
        return report(command, error, debug, folder)


def _files_first(given: Sequence[str]) -> list[str]:
    """A command line whose files of settings come before its flags, so that flags hold wherever they stand."""
    files: list[str] = []
    others: list[str] = []
    arguments = iter(given[1:])
    for argument in arguments:
        if argument == "--config":
            files += [argument, *islice(arguments, 1)]
        else:
            (files if argument.startswith("--config=") else others).append(argument)
    return [*given[:1], *files, *others]


def _parsed(given: Sequence[str], parsers: Mapping[str, Any], command: str) -> tuple[str, Any]:
    """The name of the command that is given, and its settings; defaults that follow from the model's size are told.

    Args:
        given: the command line.
        parsers: of the commands by their names.
        command: begins the line that tells the defaults.

    Raises:
        ArgumentError: the command line cannot be parsed; the message says what is wrong and what is wanted.
    """
    from iapo.commands.flags import FileParser
    from iapo.training.configuration.parser_errors import readable_error
    from iapo.training.configuration.plain_files import to_files
    from iapo.training.configuration.setting_errors import untyped
    from iapo.training.configuration.sizing import is_first_process, set_defaults

    parser = FileParser(prog="iapo", description="Information-aware policy optimization of language models.")
    parser.add_argument("--version", action="store_true", help="print the versions of iapo, torch and others")
    commands = parser.add_subcommands()
    for name, each in parsers.items():
        each.epilog = "--debug, anywhere: show the traceback of an error."
        commands.add_subcommand(name, each, help=each.description)
    for each in (parser, *parsers.values()):
        each.exit_on_error = False
    try:
        settings = parser.parse_args(given)
        name = settings.subcommand
        if name in ("train", "eval", "inspect") and (sized := set_defaults(name, parsers[name], settings[name])):
            settings = parser.parse_args(given)
            if is_first_process() and (told := sized.told(settings[name])):
                print(f"{command}: {told}", file=sys.stderr)
    except (UnicodeDecodeError, RecursionError) as error:
        raise ArgumentError(None, f"config: a file is no YAML in UTF-8 ({error})") from error
    except ValueError as error:
        if not (reason := untyped(str(error))):
            raise
        raise ArgumentError(None, to_files(reason)) from error
    except ArgumentError as error:
        raise readable_error(error, COMMANDS, parsers.get(given[0]) if given else None) from error
    return name, settings[name]


def _quiet_libraries() -> None:
    """What is loaded and tried again is told of by the commands themselves."""
    import logging

    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)


def _run(name: str, parts: dict[str, Any], plain: dict[str, Any], line: str) -> int:
    """Call a command with its parts as records."""
    from iapo.training.configuration.plain_files import digests
    from iapo.training.configuration.policy_source import PolicySource
    from iapo.training.configuration.problem_source import ProblemSource
    from iapo.training.configuration.settings import RunSettings
    from iapo.training.configuration.styles import StyleSource
    from iapo.training.distributed.launch import launched_processes

    def record(kind: type) -> Any:
        return kind(**{field.name: parts.pop(field.name) for field in fields(kind) if field.name in parts})

    if name != "train" and launched_processes() > 1:
        raise ValueError(f"{name}: got {launched_processes()} processes, want one; only iapo train runs on several")
    if name == "compare":
        from iapo.commands.compare import compare

        return compare(**parts)
    if name == "show":
        from iapo.commands.show import ShowSettings, show

        show(parts["run"], record(ShowSettings))
        return 0
    if name == "export":
        from iapo.commands.export import export

        return export(**parts)
    policy, problems, styles = record(PolicySource), record(ProblemSource), record(StyleSource)
    if name == "train":
        from iapo.training.configuration.run_config import ComponentChoices, RunConfig
        from iapo.training.run import train

        resolved = {key: value for key, value in plain.items() if key not in _MAY_CHANGE}
        resolved["files"] = digests(resolved)
        settings = record(RunSettings)
        return train(RunConfig(policy, problems, settings, ComponentChoices(**parts), resolved, styles, line))
    if name == "eval":
        from iapo.commands.evaluate import evaluate_models
        from iapo.commands.evaluation_settings import EvaluationConfig, EvaluationSettings

        return evaluate_models(EvaluationConfig(policy, problems, record(EvaluationSettings), styles=styles, **parts))
    from iapo.commands.inspect import InspectionConfig, InspectionSettings, inspect_and_show

    html = parts.pop("html")
    return inspect_and_show(
        InspectionConfig(policy, problems, record(InspectionSettings), styles=styles, **parts), html
    )


if __name__ == "__main__":
    sys.exit(main())
