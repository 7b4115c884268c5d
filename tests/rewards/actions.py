"""Functions for the worker process to run, one of them after the other's death."""

import ctypes
import math
import os
import signal
import sys
import time


def act(order: str):
    if order == "hang":
        signal.signal(signal.SIGALRM, signal.SIG_IGN)
        while True:
            pass
    if order == "spin":
        while True:
            pass
    if order == "freeze":
        return 9 ** (9**9)  # one C call that holds the interpreter's lock
    if order == "factorial":
        return math.factorial(100_000_000)
    if order == "fill":
        return len(bytearray(1 << 40))
    if order == "limit":
        import resource

        return resource.getrlimit(resource.RLIMIT_AS)[0]
    if order == "die":
        os._exit(7)
    if order == "exit":
        sys.exit(3)
    if order == "abort":
        os.abort()
    if order == "segfault":
        ctypes.string_at(0)
    if order == "raise":
        raise ValueError("bad item")
    if order == "unsendable":
        return lambda: None
    if order == "talk":
        print('[true, "not an answer"]', flush=True)
        print("noise" * 100_000, file=sys.stderr, flush=True)
    if order == "wait":
        time.sleep(60)
    if order == "slow":
        time.sleep(0.3)
    if order == "pid":
        return os.getpid()
    return order.upper()
