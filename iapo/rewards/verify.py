"""The comparison that runs in the worker process. Imports nothing of the package; see `iapo.rewards.serve`."""

import re
from typing import Any

from math_verify import parse
from math_verify import verify as equal

_WORDS = r"(?:\b(?!(?:sin|cos|tan|log|exp|sqrt|mod|not)\b)[A-Za-z]{3,}\b[:,.]?\s*)*"
_QUANTITY = re.compile(rf"{_WORDS}((?:[$€£]\s*)?-?\d+(?:,\d{{3}})*(?:\.\d+)?(?:/\d+)?%?)\s*{_WORDS}\.?", re.ASCII)
_MIXED = re.compile(r"(-?)\s*(\d+)\s+(\d+/\d+)", re.ASCII)
_GAP = re.compile(r"\d\s+\d", re.ASCII)


def verify(item: list[Any]) -> bool | None:
    """Whether two answers are equal as mathematics.

    A marked answer is read as one formula, as a mixed number (``1 1/2``), or as one number among words
    (``72 dollars``). It is not searched for a number as a text is, or ``3 or 5`` and ``\\sqrt{5}`` would count as 5.

    Args:
        item: reference answer, given answer, and whether the given one was marked as the answer (else it is a text to
            find the answer in).

    Returns:
        ``None`` if the reference cannot be read.
    """
    wanted, given, marked = item
    gold = _formula(wanted)
    if not gold:
        return None
    # No limits inside: math-verify's own rely on signals, which long C calls ignore. This process is killed instead.
    answer = _formula(given) if marked else parse(given, parsing_timeout=None)
    return bool(answer) and equal(gold, answer, timeout_seconds=None)


def _formula(text: str) -> list[Any]:
    quantity, mixed = _QUANTITY.fullmatch(text), _MIXED.fullmatch(text)
    if quantity:
        text = quantity[1].lstrip("$€£")
    elif mixed:
        text = f"{mixed[1]}({mixed[2]}+{mixed[3]})"
    elif _GAP.search(text):
        return []  # math-verify adds numbers that stand side by side
    return parse(f"${text}$", parsing_timeout=None)


# Loads what the first comparison would load, and stops the worker's start if math-verify is not as it was.
if verify(["1/2", "0.5", True]) is not True or verify(["1/2", "so it is 3", False]) is not False:
    raise RuntimeError("math-verify does not compare 1/2 with 0.5 and 3 as expected; versions 0.9 and up do")
