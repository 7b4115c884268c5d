"""The worker process: `serve.py FILE FUNCTION SECONDS COMPUTING TIED BY_NAME` answers a JSON item a line in JSON.

This file and the file it loads import nothing of the package, so that a process that was killed is replaced quickly.
"""

import asyncio
import contextlib
import functools
import importlib.util
import inspect
import json
import os
import signal
import sys
from collections.abc import Iterator
from decimal import Decimal
from fractions import Fraction
from typing import Any

_MEMORY_LIMIT = 4 << 30
"""Bytes that the process may map: `10^{10^{10}}` must fail here, before the system's out-of-memory killer acts."""

_ORPHAN_MARGIN = 2.0
"""Seconds that a busy process may live beyond the time limit, at which its parent, if alive, kills it."""


def main(path: str, name: str, seconds: float, computing: float, tied: bool, by_name: bool) -> None:
    """Answer each line of standard input with ``[ok, value]`` until it closes.

    Args:
        path: source file of the function.
        name: its name.
        seconds: that may pass in an item.
        computing: seconds that the process may compute in an item, beyond which SIGPROF ends it; 0: all that pass.
        tied: whether the thread that started this process lives as long as its process does.
        by_name: whether items are mappings of arguments by name.
    """
    if sys.platform == "linux":
        import ctypes
        import resource

        if tied:
            ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG means the death of the starting thread
        _, hard = resource.getrlimit(resource.RLIMIT_AS)
        limit = _MEMORY_LIMIT if hard == resource.RLIM_INFINITY else min(hard, _MEMORY_LIMIT)
        resource.setrlimit(resource.RLIMIT_AS, (limit, hard))
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what the function prints must not be read as an answer
    spec = importlib.util.spec_from_file_location("served", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    function = getattr(module, name)
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 1)
        os.dup2(nowhere.fileno(), 2)
    print("ready", file=answers, flush=True)
    for line in sys.stdin:
        # The kernel's default action ends the process whatever it runs; a Python handler would wait for the lock.
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.setitimer(signal.ITIMER_REAL, seconds + _ORPHAN_MARGIN)
        signal.signal(signal.SIGPROF, signal.SIG_DFL)
        signal.setitimer(signal.ITIMER_PROF, computing)
        try:
            item = json.loads(line)
            answer = json.dumps([True, plain(call(function, item) if by_name else function(item))])
        except Exception as error:
            answer = json.dumps([False, f"{name} raised {type(error).__name__}: {error}"[:500]])
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.setitimer(signal.ITIMER_PROF, 0)
        print(answer, file=answers, flush=True)


def call(function: Any, item: dict[str, Any]) -> Any:
    """The function called with what its signature names, all if it has ``**kwargs``; TRL's logging keeps nothing.

    What a partial function was given stays.
    """
    try:
        parameters = inspect.signature(function).parameters
    except ValueError:  # a builtin that does not tell
        return function(**item)
    if isinstance(function, functools.partial):
        bound = inspect.signature(function.func).parameters.keys() - parameters.keys() | function.keywords.keys()
        item = {name: value for name, value in item.items() if name not in bound}
    takes_all = any(each.kind is each.VAR_KEYWORD for each in parameters.values())
    given = {name: value for name, value in item.items() if takes_all or name in parameters}
    given |= {name: _keep_nothing for name in ("log_extra", "log_metric") if name in parameters}
    by_place = [each for each in parameters.values() if each.kind is each.POSITIONAL_ONLY]
    by_place = [each for each in by_place if each.name in given or each.default is not each.empty]
    return function(*[given.pop(each.name, each.default) for each in by_place], **given)


def _keep_nothing(*args: Any, **kwargs: Any) -> None:
    """Stands for a function of TRL that writes to its table of completions."""


def plain(result: Any) -> Any:
    """What an ``async`` function returns in the end, or a generator yields; arrays and tensors, also in a list, as
    lists and numbers, decimals and fractions as floats."""
    if inspect.iscoroutine(result):
        result = asyncio.run(result)
    if isinstance(result, list | tuple | Iterator):
        return [plain(each) for each in result]
    if isinstance(result, Decimal | Fraction):
        return float(result)
    return result.tolist() if hasattr(result, "tolist") else result


if __name__ == "__main__":
    with contextlib.suppress(BrokenPipeError):
        path, name, seconds, computing, tied, by_name = sys.argv[1:]
        main(path, name, float(seconds), float(computing), tied == "tied", bool(by_name))
