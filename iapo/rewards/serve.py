"""What runs in the worker process: `python serve.py FILE FUNCTION`, a JSON item a line in, a JSON answer a line out.

This file and the file it loads import nothing of the package, so that a process that was killed is replaced quickly.
"""

import ctypes
import importlib.util
import json
import os
import signal
import sys


def main(path: str, name: str) -> None:
    """Answer each line of standard input with ``[ok, value]`` until it closes."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG: do not outlive the parent, whatever runs here
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what the function prints must not be read as an answer
    spec = importlib.util.spec_from_file_location("served", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    function = getattr(module, name)
    print("ready", file=answers, flush=True)
    for line in sys.stdin:
        try:
            answer = json.dumps([True, function(json.loads(line))])
        except Exception as error:
            answer = json.dumps([False, f"{type(error).__name__}: {error}"[:500]])
        print(answer, file=answers, flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
