"""Reading answers out of completions: plain string work, bounded, never raising on any text."""

import re
import unicodedata
from typing import Any

_ANSWER = re.compile(r"<answer>(.*?)</answer>", re.DOTALL)


def completion_text(completion: Any) -> str:
    """The text of a completion: itself, or the content of the last message of a chat."""
    if isinstance(completion, str):
        return completion
    return str(completion[-1].get("content") or "") if completion else ""


def last_answer(text: str) -> str | None:
    """What stands between the last pair of answer tags; ``None`` without a pair.

    Example:
        >>> last_answer("<think>2+2</think><answer> 4 </answer>")
        ' 4 '
    """
    found = _ANSWER.findall(text)
    return found[-1] if found else None


def last_boxed(text: str) -> str | None:
    r"""What stands in the last ``\boxed{...}`` with balanced braces; ``None`` without one.

    Example:
        >>> last_boxed(r"so \boxed{\frac{1}{2}}.")
        '\\frac{1}{2}'
    """
    start = text.rfind("\\boxed{")
    if start < 0:
        return None
    begin, depth = start + len("\\boxed{"), 1
    for end in range(begin, len(text)):
        depth += {"{": 1, "}": -1}.get(text[end], 0)
        if depth == 0:
            return text[begin:end]
    return None


def normalise(answer: str) -> str:
    """One spelling for what looks the same: NFKC, ASCII digits, single spaces, nothing unprintable.

    Example:
        >>> normalise(" ٣٥\\x00 ")
        '35'
    """
    plain = unicodedata.normalize("NFKC", answer.encode("utf-8", "ignore").decode("utf-8"))
    digits = "".join(str(unicodedata.decimal(c)) if c.isdecimal() else c for c in plain)
    kept = "".join(c if c.isprintable() else " " for c in digits)
    return " ".join(kept.split())


def reference_answer(reference: str) -> str:
    """The answer in a reference solution: what follows ``####`` (GSM8K) if that is there, else all of it.

    Example:
        >>> reference_answer("48/2 = 24, 48+24 = 72 #### 1,072")
        '1072'
    """
    _, mark, tail = reference.rpartition("####")
    return re.sub(r"(?<=\d),(?=\d{3})", "", tail).strip() if mark else reference
