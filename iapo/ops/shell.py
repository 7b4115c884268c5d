"""What a reader may paste into a shell."""

import shlex


def quoted_path(path: object) -> str:
    """A path as a shell takes it.

    Example:
        >>> quoted_path("runs/first"), quoted_path("my runs/first")
        ('runs/first', "'my runs/first'")
    """
    return shlex.quote(str(path))
