"""Numbers as other countries write them: ``12,34,567`` (India), ``1.234.567,5`` and ``2,50`` (most of Europe)."""

import re

_ALONE = r"(?P<before>[^\d(\[{]*)(?P<number>%s)(?P<behind>[^\d)\]}]*)"
_INDIAN = re.compile(_ALONE % r"\d{1,2}(?:,\d{2})+,\d{3}(?:\.\d+)?")
_EUROPEAN = re.compile(_ALONE % r"\d{1,3}(?:\.\d{3}){2,}|\d{1,3}(?:[. ]\d{3})+,\d+|\d+,\d{1,2}")


def as_in_english(text: str) -> str:
    """The text with its one number as it is written in English; empty if it has no other one.

    Example:
        >>> as_in_english("12,34,567"), as_in_english("1.234,50 €"), as_in_english("1,234"), as_in_english("(3,14)")
        ('1234567', '1234.50 €', '', '')
    """
    if (found := _INDIAN.fullmatch(text)) is not None:
        number = found["number"].replace(",", "")
    elif (found := _EUROPEAN.fullmatch(text)) is not None:
        number = re.sub(r"[. ]", "", found["number"]).replace(",", ".")
    else:
        return ""
    return found["before"] + number + found["behind"]
