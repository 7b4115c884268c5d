"""Times of the day, dates, ratios and ranges: digits with marks between them that are no arithmetic.

``10:30`` is no quotient and ``10-12`` no difference.
"""

import re
from dataclasses import dataclass
from fractions import Fraction

from iapo.rewards.answers.numerals import words_value

_MONTHS = "january february march april may june july august september october november december"
MONTH = "|".join(f"{month}|{month[:3]}\\.?" for month in _MONTHS.split()) + r"|sept\.?"
_DAY = r"(?P<day>\d{1,2})(?:st|nd|rd|th)?"
_YEAR = r"(?P<year>\d{4})"
_WEEKDAY = r"(?:(?:mon|tues|wednes|thurs|fri|satur|sun)day,?\s+)?"
_DATES = tuple(
    re.compile(_WEEKDAY + pattern, re.IGNORECASE)
    for pattern in (
        r"(?P<year>\d{4})([-/.])(?P<month>\d{1,2})\2(?P<day>\d{1,2})",
        r"(?P<first>\d{1,2})([-/.])(?P<second>\d{1,2})\2(?P<year>\d{4}|\d{2})",
        rf"(?P<name>{MONTH})\s+{_DAY}(?:\s*,?\s+{_YEAR})?",
        rf"(?:the\s+)?{_DAY}\s+(?:of\s+)?(?P<name>{MONTH})(?:\s*,?\s+{_YEAR})?",
        rf"(?P<name>{MONTH})\s*,?\s+{_YEAR}",
    )
)
_CLOCK = re.compile(
    r"(?P<hour>\d{1,2})(?:\s*[:.]\s*(?P<minute>[0-5]\d)(?:\s*:\s*(?P<second>[0-5]\d))?)?\s*(?P<half>[ap])\.?\s?m\.?"
    r"|(?P<hour24>\d{1,2}):(?P<minute24>[0-5]\d)(?::(?P<second24>[0-5]\d))?(?:\s*(?:hours|hrs|h|o'clock))?",
    re.IGNORECASE,
)
_OCLOCK = re.compile(r"(?P<hour>\w+)\s+o'clock(?:\s*(?P<half>[ap])\.?\s?m\.?)?", re.IGNORECASE)
_SPOKEN = re.compile(r"(?:a\s+)?(?P<part>(?:quarter|half)\s+past|quarter\s+to)\s+(?P<hour>\w+)", re.IGNORECASE)
"""``half past three``."""
_MINUTES = {"quarter past": 15, "half past": 30, "quarter to": 45}
_NOON = {"noon": (12, 0, 0, "p"), "midday": (12, 0, 0, "p"), "midnight": (12, 0, 0, "a")}
_AT = re.compile(
    r"(?:(?!.*\b(?:not|never|before|after|until)\b)[A-Za-z' ]+\s)?at\s+"
    r"(?=\d{1,2}\s*(?:[:.]\s*\d\d|[ap]\.?\s?m\b|o'clock)|noon|midnight)",
    re.IGNORECASE,
)
"""A sentence in front of the time that it tells: ``They arrive at 3:30 PM``."""
_RATIO = re.compile(r"(\d+(?:\.\d+)?(?:\s*:\s*\d+(?:\.\d+)?)+)|(\d+(?:\.\d+)?(?:\s+to\s+\d+(?:\.\d+)?)+)")
_RANGE = re.compile(
    r"(?:from\s+)?(?P<low>\$?\d+(?:[,.]\d+)*)(?:-|\s+to\s+)(?P<high>\$?\d+(?:[,.]\d+)*(?:-\d+)*)\s*(?P<unit>%|[A-Za-z]{3,}(?:\s[A-Za-z]+)*)?"
)


@dataclass(frozen=True)
class Clock:
    """A time of the day.

    Args:
        hour: as written.
        minute: 0 to 59.
        second: 0 to 59.
        half: ``a`` or ``p``; empty where it is not said, and the time may be of either half of the day.
    """

    hour: int
    minute: int = 0
    second: int = 0
    half: str = ""

    def equals(self, other: "Clock") -> bool:
        """Whether both may be the same time."""
        if (self.minute, self.second) != (other.minute, other.second):
            return False
        if self.half and other.half:
            return (self.hour, self.half) == (other.hour, other.half)
        hours = [{t.hour} | ({t.hour % 12 + (12 if t.half == "p" else 0)} if t.half else set()) for t in (self, other)]
        return bool(hours[0] & hours[1])


@dataclass(frozen=True)
class Date:
    """A day, or a month of a year.

    Args:
        year: ``None`` if it is not said.
        month: 1 to 12.
        day: ``None`` if it is not said.
    """

    year: int | None
    month: int
    day: int | None

    def equals(self, other: "Date") -> bool:
        """Whether both are the same date. A year may be left unsaid."""
        years = {self.year, other.year} - {None}
        return (self.month, self.day) == (other.month, other.day) and len(years) < 2


@dataclass(frozen=True)
class Ratio:
    """Numbers in proportion: ``16:9``.

    Args:
        terms: two or more.
    """

    terms: tuple[Fraction, ...]

    def equals(self, other: "Ratio") -> bool:
        """Whether both are the same proportion, as ``2:3`` and ``4:6`` are."""
        if len(self.terms) != len(other.terms):
            return False
        pairs = list(zip(self.terms, other.terms, strict=True))
        return all(one * pairs[0][1] == two * pairs[0][0] for one, two in pairs)


@dataclass(frozen=True)
class Range:
    """Two or more numbers with a dash between them: a range, a score, a telephone number, but no difference."""

    text: str


Moment = Clock | Date | Ratio | Range


def read_moments(text: str) -> list[Moment]:
    """The time, date, ratio or range that the whole text is; nothing if it is none. ``2 to 1`` may be one of two.

    Example:
        >>> read_moments("10:30 AM"), read_moments("5th of March")
        ([Clock(hour=10, minute=30, second=0, half='a')], [Date(year=None, month=3, day=5)])
        >>> read_moments("16:9")[0].equals(read_moments("32 : 18")[0]), read_moments("10-12")
        (True, [Range(text='10-12')])
    """
    text = text.strip(" .")
    for pattern in _DATES:
        if (found := pattern.fullmatch(text)) is not None and (date := _date(found.groupdict())) is not None:
            return [date]
    moments: list[Moment] = []
    if (at := _AT.match(text)) is not None:
        text = text[at.end() :]
    if (clock := _clock(text)) is not None:
        moments.append(clock)
    if _RATIO.fullmatch(text) is not None:
        moments.append(Ratio(tuple(Fraction(term) for term in re.findall(r"[\d.]+", text))))
    if (found := _RANGE.fullmatch(text)) is not None:
        unit = f" {found['unit'].lower()}" if found["unit"] else ""
        moments.append(Range(f"{found['low']}-{found['high']}{unit}"))
    return moments


def _hour(word: str) -> int | None:
    value = int(word) if word.isdigit() else words_value(word)
    return None if value is None else int(value)


def _clock(text: str) -> Clock | None:
    if text.lower() in _NOON:
        return Clock(*_NOON[text.lower()])
    if (found := _OCLOCK.fullmatch(text)) is not None:
        hour = _hour(found["hour"])
        return None if hour is None or not 0 <= hour <= 24 else Clock(hour, half=(found["half"] or "").lower())
    if (found := _SPOKEN.fullmatch(text)) is not None:
        hour = _hour(found["hour"])
        minute = _MINUTES[" ".join(found["part"].lower().split())]
        return None if hour is None or not 1 <= hour <= 12 else Clock((hour - minute // 45 - 1) % 12 + 1, minute)
    if (found := _CLOCK.fullmatch(text)) is None:
        return None
    names = ("hour", "minute", "second") if found["hour"] else ("hour24", "minute24", "second24")
    hour, minute, second = (int(found[name] or 0) for name in names)
    half = (found["half"] or "").lower()
    return None if hour > 24 or (half and not 0 < hour <= 12) else Clock(hour, minute, second, half)


def _date(parts: dict[str, str | None]) -> Date | None:
    numbers = {name: int(text) for name, text in parts.items() if text is not None and text.isdigit()}
    year, day = numbers.get("year"), numbers.get("day")
    month = numbers.get("month", 0)
    if (name := parts.get("name")) is not None:
        month = 1 + [month[:3] for month in _MONTHS.split()].index(name.lower()[:3])
    elif "first" in numbers:
        month, day = numbers["first"], numbers["second"]
        month, day = (day, month) if month > 12 else (month, day)
    if year is not None and year < 100:
        year += 2000
    return Date(year, month, day) if 1 <= month <= 12 and (day is None or 1 <= day <= 31) else None
