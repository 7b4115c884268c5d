"""Texts of completions and references: plain string work, linear in the length, never raising on any text."""

import re
import unicodedata
from collections.abc import Mapping
from itertools import groupby
from typing import Any

from iapo.styles import Boxed

_MARKS = {"<super>": "^{{{}}}", "<sub>": "_{{{}}}", "<fraction>": " {}"}
_SIGNS = str.maketrans({**dict.fromkeys("−‐‑‒–—―", "-"), "⁄": "/", "٫": ".", "٬": ","})


def completion_text(completion: Any) -> str:
    """The text of a completion: itself, or the last assistant message of a chat (the last message if there is none)."""
    if isinstance(completion, str):
        return completion
    messages = [message for message in completion if message.get("role") == "assistant"] or list(completion)
    content = messages[-1].get("content") if messages else None
    if isinstance(content, list):
        return "".join(str(part.get("text") or "") for part in content)
    return str(content or "")


def normalize(answer: str) -> str:
    """One spelling for what looks the same: NFKC, ASCII digits and minus, single spaces, nothing unprintable.

    NFKC alone would read ``5²`` as 52 and ``1½`` as 11/2: raised, lowered and fraction characters keep their meaning.

    Example:
        >>> normalize(" ٣٥\\x00 "), normalize("x²"), normalize("−½")
        ('35', 'x^{2}', '- 1/2')
    """
    sound = answer.encode("utf-8", "ignore").decode("utf-8")
    runs = ((kind, "".join(run)) for kind, run in groupby(sound, _kind))
    plain = "".join(_MARKS.get(kind, "{}").format(unicodedata.normalize("NFKC", run)) for kind, run in runs)
    plain = unicodedata.normalize("NFKC", plain).translate(_SIGNS)
    digits = "".join(str(unicodedata.decimal(c)) if c.isdecimal() else c for c in plain)
    kept = "".join(c if c.isprintable() else " " for c in digits)
    return " ".join(kept.split())


def reference_answer(reference: str) -> str:
    r"""The answer in a reference solution: behind ``####`` (GSM8K), else in the last ``\boxed{}``, else all of it.

    Example:
        >>> reference_answer("48/2 = 24, 48+24 = 72 #### 1,072")
        '1072'
    """
    _, mark, tail = reference.rpartition("####")
    if mark:
        return re.sub(r"(?<=\d),(?=\d{3})", "", tail).strip()
    boxed = Boxed().find(reference)
    return reference if boxed is None else reference[boxed.start : boxed.stop]


def accepted_answers(reference: Any) -> tuple[str, ...]:
    r"""The texts of the answers that an entry of a data set's column accepts: one, unless it lists several.

    A mapping gives its ``ground_truth``, ``answer`` or ``value``, or the one value that it has. A list or tuple of
    texts names alternatives; of numbers, it is the answer itself. Bytes are UTF-8. ``None`` and NaN are no answer.

    Example:
        >>> accepted_answers("2+2=4 #### 4"), accepted_answers({"ground_truth": "4"}), accepted_answers(["2", "two"])
        (('4',), ('4',), ('2', 'two'))
    """
    if isinstance(reference, Mapping):
        named = [reference[key] for key in ("ground_truth", "answer", "value") if key in reference]
        values = named or list(reference.values())
        return accepted_answers(values[0]) if named or len(values) == 1 else ()
    if isinstance(reference, bytes):
        return accepted_answers(reference.decode("utf-8", "replace"))
    if isinstance(reference, list | tuple) and reference and all(isinstance(text, str) for text in reference):
        return tuple(reference_answer(text) for text in reference)
    if reference is None or reference != reference:
        return ()
    return (reference_answer(str(reference)),)


def _kind(character: str) -> str:
    return "" if character.isascii() else unicodedata.decomposition(character).partition(" ")[0]
