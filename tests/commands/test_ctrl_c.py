"""Ctrl-C at a command that has not begun yet, or has only its last words to say: no traceback, by real signals."""

import signal
import subprocess
import sys

import pytest

PROGRAM = """
import atexit, os, signal, sys

def interrupt(*_):
    os.kill(os.getpid(), signal.SIGINT)

class Interrupting:
    def write(self, text):
        interrupt()
        return len(text)

def hook(event, values):
    if event == "import" and values[0] == "{module}":
        interrupt()

signal.signal(signal.SIGINT, signal.default_int_handler)
{before}
from iapo.cli import main

sys.exit(main())
"""


def interrupted(before: str, *arguments: str, module: str = "") -> tuple[int, str]:
    """Exit code and standard error of a command in a process of its own that signals itself."""
    program = PROGRAM.format(before=before, module=module)
    command = [sys.executable, "-c", program, *arguments]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    return ended.returncode, ended.stderr


@pytest.mark.parametrize("module", ["torch", "iapo.training.configuration.parser"])
def test_while_libraries_are_imported_one_line_says_so(module: str) -> None:
    code, printed = interrupted("sys.addaudithook(hook)", "train", module=module)
    assert (code, printed) == (130, "iapo train: interrupted before it began; run the same command again\n")


def test_when_the_command_has_ended_it_ends_the_process_in_silence() -> None:
    assert interrupted("atexit.register(interrupt)", "--version") == (-signal.SIGINT, "")


def test_while_an_error_is_told_it_ends_the_process_in_silence() -> None:
    assert interrupted("sys.stderr = Interrupting()", "no-command") == (-signal.SIGINT, "")
