"""The comparison that runs in the worker process. Imports nothing of the package; see `iapo.rewards.serve`."""

from typing import Any

from math_verify import parse
from math_verify import verify as equal


def verify(item: list[Any]) -> bool | None:
    """Whether two answers are equal as mathematics.

    Args:
        item: reference answer, given answer, and whether the given one was marked as the answer (else it is a text to
            find the answer in).

    Returns:
        ``None`` if the reference cannot be read.
    """
    wanted, given, marked = item
    # No limits inside: math-verify's own rely on signals, which long C calls ignore. This process is killed instead.
    gold = parse(f"${wanted}$", parsing_timeout=None) or parse(wanted, parsing_timeout=None)
    if not gold:
        return None
    texts = [f"${given}$", given] if marked else [given]
    answers = (parse(text, parsing_timeout=None) for text in texts)
    return any(equal(gold, answer, timeout_seconds=None) for answer in answers if answer)
