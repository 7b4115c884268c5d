"""What a user sees of an error: one line that says what, where and what to do; the traceback only if it is wanted."""

import contextlib
import errno
import os
import re
import sys
import sysconfig
import traceback
import warnings
from argparse import ArgumentError
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import iapo
from iapo.commands.standard_streams import lost_output, output_is_read
from iapo.ops.memory import is_out_of_memory
from iapo.training.configuration.parser import without_link
from iapo.training.interruption import Interrupted

TRACEBACK = "traceback.txt"
"""The file in a run folder that gets the traceback of an error that was not expected."""

_LONGEST = 1500
_LONGEST_VALUE = 120
_HERE = os.path.join(Path(iapo.__file__).parent, "")
_PYTHON = tuple(os.path.join(sysconfig.get_path(name), "") for name in ("stdlib", "platstdlib"))
_INSTALLED = {"site-packages", "dist-packages"}
"""Folders of what is installed, wherever they are: of an environment, of the system, or of a user."""

_TYPES = re.compile(
    r"Type-check error whil\w+ checking the parameters of (?P<called>[\w.]+)\. The problem arose whil\w+ typechecking "
    r"parameter '(?P<argument>\w+)'\. Actual value: (?P<got>.*?) Expected type: (?P<wanted>.*?)\. -{9,}"
)
_EXPECTED = (ValueError, OSError, ImportError, ArithmeticError, RuntimeError, TypeError, LookupError)
_MEMORY = (
    "out of memory ({}); lower --micro_batch or --prompts_per_step (of iapo eval --samples), sample fewer completions "
    "at once with --sampler.max_batch, or shorter ones with --sampler.max_new_tokens; a run goes on with --resume"
)

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


def report(command: str, error: BaseException, debug: bool, folder: Path | None) -> int:
    """Print an error to standard error and say with which code to exit.

    Args:
        command: begins the line.
        error: what ended the command.
        debug: print the traceback too.
        folder: gets the traceback of an error that was not expected, if it is there.

    Returns:
        1; 2 if the command line cannot be parsed; 128 and the signal's number if a signal ended the command; 0 if
        nobody reads its output any more.
    """
    if debug:
        traceback.print_exception(error)
    lost = lost_output() is not None
    if isinstance(error, BrokenPipeError) and (lost or not output_is_read()):
        return 0
    if isinstance(error, KeyboardInterrupt):
        known = " ".join(getattr(error, "__notes__", ())) or "what was saved before is as it was"
        print(f"{command}: interrupted; {known}", file=sys.stderr)
        return 130
    if isinstance(error, Interrupted):
        print(f"{command}: {error} before there was anything to save; run the same command again", file=sys.stderr)
        return 128 + error.signal
    line = describe(error) + _place_of(error)
    if isinstance(error, ArgumentError):
        print(f"{command}: {line}; {command} --help lists what there is", file=sys.stderr)
        return 2
    if not is_expected(error) and not debug:
        where = ""
        if folder is not None and folder.is_dir():
            with contextlib.suppress(OSError):
                (folder / TRACEBACK).write_text("".join(traceback.format_exception(error)), encoding="utf-8")
                where = f" (also in {folder / TRACEBACK})"
        line += f"; run it again with --debug for the traceback{where}"
    print(f"{command}: {line}".encode("utf-8", "backslashreplace").decode(), file=sys.stderr)
    return 1


def describe(error: BaseException) -> str:
    """An error in one line.

    Example:
        >>> describe(ValueError("steps: got 0,\\n  want 1")), describe(KeyError("hint"))
        ('steps: got 0, want 1', "KeyError: 'hint'")
    """
    text = " ".join([str(error), *getattr(error, "__notes__", ())])
    text = _of_types(" ".join("".join(c if c.isprintable() else " " for c in text).split()))
    text = _cut(text, _LONGEST)
    if isinstance(error, OSError) and error.errno in _FULL:
        return f"{text}; make room, then run it again (a training with --resume: its checkpoints are as they were)"
    if is_out_of_memory(error):
        return _MEMORY.format(text or "no more to be had")
    if isinstance(error, ArgumentError):
        return without_link(text).rstrip(".")
    if isinstance(error, LookupError) or not (text and (is_expected(error) or isinstance(error, OSError | ValueError))):
        return f"{type(error).__name__}: {text}" if text else type(error).__name__
    return text


def _of_types(text: str) -> str:
    """An error of jaxtyping about one argument, by what was called, the argument, what came and what was wanted."""
    match = _TYPES.match(text)
    if match is None:
        return text
    sizes = re.search(r"axis annotation are as follows\. ((?:\w+=\d+ ?)+)", text)
    called = match["called"].removesuffix(".__init__").rpartition("iapo.")[2]
    wanted = match["wanted"].removeprefix("<class '").removesuffix("'>")
    among = f" ({', '.join(sizes[1].split())})" if sizes else ""
    notes = text[text.rindex(sizes[0]) + len(sizes[0]) :] if sizes else ""
    got = _cut(match["got"], _LONGEST_VALUE)
    return f"{called}: {match['argument']}: got {got}, want {wanted}{among} {notes}".rstrip()


def _cut(text: str, longest: int) -> str:
    return text if len(text) <= longest else f"{text[: longest - 4]} ..."


def _place_of(error: BaseException) -> str:
    """The last line of a file of the user's that an error came through; empty if it came through none."""
    frames = traceback.extract_tb(error.__traceback__)
    outside = [each for each in frames if not each.filename.startswith((_HERE, "<", *_PYTHON))]
    own = [each for each in outside if _INSTALLED.isdisjoint(Path(each.filename).parts)]
    return f" ({Path(own[-1].filename).name}, line {own[-1].lineno}, in {own[-1].name})" if own else ""


def is_expected(error: BaseException) -> bool:
    """Whether the error was raised on purpose, or by the system about a file or memory: its message says it all."""
    if is_out_of_memory(error) or isinstance(error, OSError):
        return True
    frames = traceback.extract_tb(error.__traceback__)
    here = not frames or frames[-1].filename.startswith(_HERE)
    raised = not frames or (frames[-1].line or "").startswith("raise")
    return here and raised and isinstance(error, _EXPECTED)


@contextmanager
def short_warnings(command: str) -> Iterator[None]:
    """Warnings of this library are printed in one line, without the place in the source."""
    with warnings.catch_warnings():
        usual = warnings.showwarning

        def show(message, category, filename, lineno, file=None, line=None):  # type: ignore[no-untyped-def]
            if filename.startswith(_HERE) and issubclass(category, UserWarning):
                print(f"{command}: warning: {' '.join(str(message).split())}", file=sys.stderr)
            else:
                usual(message, category, filename, lineno, file, line)

        warnings.showwarning = show
        yield
