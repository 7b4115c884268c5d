"""Ports of this machine for the processes that a test starts."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def held_port() -> Iterator[int]:
    """A port on which nothing listens and which, until the block ends, nobody is given who asks for any free one.

    A port that is found free and let go may be another process's before the one that it is for has started. Here a
    socket that does not listen holds it; who binds the port by its number, with ``SO_REUSEADDR`` as servers do, may
    listen on it beside that socket.
    """
    with socket.socket() as holding:
        holding.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holding.bind(("127.0.0.1", 0))
        yield int(holding.getsockname()[1])
