"""Texts of completions and references: plain string work, linear in the length, never raising on any text."""

import math
import re
import unicodedata
from collections.abc import Mapping, Sequence
from datetime import datetime, time
from decimal import Decimal
from itertools import groupby
from typing import Any

from iapo.interfaces import FINISHED
from iapo.ops.arguments import arguments_named
from iapo.ops.plain_values import plain_value
from iapo.ops.written_values import written_value
from iapo.styles import Boxed, Hashes

_MARKS = {"<super>": "^{{{}}}", "<sub>": "_{{{}}}", "<fraction>": " {}"}
_NAMES = ("ground_truth", "answer", "value")
_EXPONENT = re.compile(r"-?[0-9](?:\.[0-9]+)?e[-+][0-9]{2,3}")
"""A number as Python prints it; others (``2e3``) may be names."""
_FRACTION = re.compile(r"-?[0-9]+\.[0-9]+")
_DIGITS = 15
"""Decimal digits that a float keeps; those behind them are of its binary fraction: ``0.30000000000000004``."""
_SETS = str.maketrans({letter: rf"\mathbb{{{plain}}}" for letter, plain in zip("ℝℤℚℕℂ", "RZQNC", strict=True)})
"""Of which NFKC makes plain letters."""
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


def judged_texts(completions: Sequence[Any], columns: Mapping[str, Any], lenient: bool) -> list[str]:
    """The texts that an answer is looked for in: those of completions, but none of one that was cut before its end.

    Args:
        completions: texts or chats.
        columns: what the reward was given beside them; without ``completion_finished`` none is known to be cut.
        lenient: whether one that was cut may answer too.
    """
    finished = columns.get(FINISHED)
    texts = [completion_text(completion) for completion in completions]
    if lenient or finished is None:
        return texts
    return [text if done else "" for text, done in zip(texts, finished, strict=True)]


def normalize(answer: str) -> str:
    """One spelling for what looks the same: NFKC, ASCII digits and minus, single spaces, nothing unprintable.

    NFKC alone would read ``5²`` as 52 and ``1½`` as 11/2: raised, lowered and fraction characters keep their meaning.

    Example:
        >>> normalize(" ٣٥\\x00 "), normalize("x²"), normalize("−½")
        ('35', 'x^{2}', '- 1/2')
    """
    sound = answer.encode("utf-8", "ignore").decode("utf-8").translate(_SETS)
    runs = ((kind, "".join(run)) for kind, run in groupby(sound, _kind))
    plain = "".join(_MARKS.get(kind, "{}").format(unicodedata.normalize("NFKC", run)) for kind, run in runs)
    plain = unicodedata.normalize("NFKC", plain).translate(_SIGNS)
    digits = "".join(str(unicodedata.decimal(c)) if c.isdecimal() else c for c in plain)
    kept = "".join(c if c.isprintable() else " " for c in digits)
    return " ".join(kept.split())


@arguments_named
def reference_answer(reference: str) -> str:
    r"""The answer in a reference solution: in the last ``\boxed{}`` or behind the last ``####``, else all of it.

    Behind ``####`` (GSM8K) it is the rest of the line, unless that is a heading (``#### Step 2``) or begins a formula
    of several lines: then it is all that follows. A box that follows counts.

    Example:
        >>> reference_answer("48/2 = 24, 48+24 = 72 #### 1,072\nThe answer is: 1072")
        '1072'
    """
    boxed, hashes = Boxed().find(reference), reference.rfind("####")
    if boxed is not None and boxed.opening > hashes:
        return boxed.style.plain(reference[boxed.start : boxed.stop])
    marked = Hashes().find(reference)
    if marked is None:
        return reference if hashes < 0 else ""
    answer = reference[marked.start : marked.stop]
    if answer[:1].isalpha() or r"\begin" in answer:
        answer = reference[marked.start :].strip()
    return re.sub(r"(?<=\d),(?=\d{3})", "", answer)


def accepted_answers(reference: Any) -> tuple[str, ...]:
    r"""The texts of the answers that an entry of a data set's column accepts: one, unless it lists several.

    A mapping gives its ``ground_truth``, ``answer`` or ``value``, or the one value that it has. A text gives those that
    it names too (`named_answers`). A list or a set with a text or a mapping in it names alternatives. A list or a set
    of numbers alone is the answer itself; if it holds one number, that number is accepted too. Numbers are written
    without an exponent and without a fraction of zeros, as a column that lacks some values makes 4 to 4.0, and a float
    of more digits than it keeps (0.1 + 0.2) also to those that it keeps. Bytes are UTF-8. A tensor without dimensions
    is its number. ``None``, NaN (the text ``nan`` too, which pandas writes), infinity, other tensors and objects
    without a text of their own are no answer.

    Example:
        >>> accepted_answers("2+2=4 #### 4"), accepted_answers({"ground_truth": "4"}), accepted_answers(["2", "two"])
        (('4',), ('4',), ('2', 'two'))
        >>> accepted_answers(1e-05), accepted_answers(4.0), accepted_answers([4.0]), accepted_answers(float("nan"))
        (('0.00001',), ('4',), ('4', '[4]'), ())
        >>> accepted_answers(0.1 + 0.2)
        ('0.3', '0.30000000000000004')
    """
    reference = plain_value(reference)
    if isinstance(reference, bytes):
        try:
            reference = reference.decode("utf-8")
        except UnicodeDecodeError:
            return ()
    if isinstance(reference, str):
        named = named_answers(reference)
        names_none = not named and (_names_answers(reference) is not None or reference.strip().lower() == "nan")
        return () if names_none else (*named, reference_answer(reference))
    if isinstance(reference, Mapping):
        given = {key: value for key, value in reference.items() if value is not None}
        answers = [given[key] for key in _NAMES if key in given]
        values = answers or list(given.values())
        return accepted_answers(values[0]) if answers or len(values) == 1 else ()
    if isinstance(reference, set | frozenset):
        texts = sorted(reference, key=str)
        has_text = any(isinstance(each, str | bytes) for each in texts)
        return accepted_answers(texts if has_text or not texts else f"{{{str(texts)[1:-1]}}}")
    if isinstance(reference, list | tuple):
        each = [accepted_answers(value)[: 1 if isinstance(value, float) else None] for value in reference]
        if any(isinstance(value, str | bytes | Mapping) for value in reference):
            return tuple(dict.fromkeys(text for texts in each for text in texts))
        if not reference or not all(len(texts) == 1 for texts in each):
            return ()
        whole = f"[{', '.join(texts[0] for texts in each)}]"
        return (*each[0], whole) if len(each) == 1 else (whole,)
    if isinstance(reference, float | Decimal):
        return _spellings(reference) if math.isfinite(reference) else ()
    if isinstance(reference, datetime) and reference.time() == time():
        reference = reference.date()
    if reference is None or not _has_text(reference) or reference != reference:
        return ()
    return (reference_answer(str(reference)),)


def named_answers(reference: str) -> tuple[str, ...]:
    """The answers that a reference names which is the text of something else; none for any other text.

    Of a mapping, a list of texts or a set of them, in JSON or as Python or NumPy prints it, as a CSV file has them; of
    a number with an exponent, as Python prints it, its digits; and of a float of more digits than it keeps those that
    it keeps.

    Example:
        >>> named_answers("{'ground_truth': 4}"), named_answers('["2", "two"]'), named_answers("1e-05")
        (('4',), ('2', 'two'), ('0.00001',))
    """
    text = reference.strip()
    if _EXPONENT.fullmatch(text):
        return (_digits(Decimal(text)),)
    if len(text) > _DIGITS and _FRACTION.fullmatch(text) and repr(float(text)) == text:
        return _spellings(float(text))[:-1]
    return accepted_answers(_names_answers(reference))


def _names_answers(reference: str) -> Any:
    """The mapping with an answer, or the list or set of texts, that a reference is the text of; else ``None``."""
    held = written_value(reference) if reference.lstrip().startswith(("{", "[", "array(")) else None
    is_named = isinstance(held, Mapping) and any(key in held for key in _NAMES)
    is_list = isinstance(held, list | set) and bool(held) and all(isinstance(each, str) for each in held)
    return held if is_named or is_list else None


def _has_text(value: Any) -> bool:
    """Whether the text of a value says what it is: a tensor's leaves values out, a bare object's is its place."""
    is_bare = type(value).__str__ is object.__str__ and type(value).__repr__ is object.__repr__
    return not is_bare and not hasattr(value, "shape")


def _spellings(number: float | Decimal) -> tuple[str, ...]:
    """A number's digits, and before them of a float with a binary fraction those that it keeps."""
    exact = _digits(number)
    is_binary = isinstance(number, float) and len(exact.strip("-0.").replace(".", "")) > _DIGITS
    return (_digits(float(f"{number:.{_DIGITS}g}")), exact) if is_binary and "." in exact else (exact,)


def _digits(number: float | Decimal) -> str:
    """A number's digits without an exponent: 1e-05 is 0.00001, and 4.0 is 4."""
    text = format(Decimal(repr(number)) if isinstance(number, float) else number, "f")
    return (text.rstrip("0").rstrip(".") if "." in text else text) or "0"


def _kind(character: str) -> str:
    return "" if character.isascii() else unicodedata.decomposition(character).partition(" ")[0]
