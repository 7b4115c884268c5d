"""Units of measure, and nouns that count things: read, converted, compared.

A known unit is a factor and a power of each dimension (``km/h``: 5/18, length 1, time -1). Any other word behind a
number is a noun (``72 clips``), known by its letters alone.
"""

import re
from dataclasses import dataclass
from fractions import Fraction

_TABLE: dict[str, dict[str, str]] = {
    "length": {
        "1": "m meter metre",
        "1000": "km kilometer kilometre",
        "1/10": "dm decimeter decimetre",
        "1/100": "cm centimeter centimetre",
        "1/1000": "mm millimeter millimetre",
        "1/1000000": "μm micrometer micron",
        "1/1000000000": "nm nanometer",
        "1/10000000000": "Å angstrom",
        "127/5000": "in inch inches",
        "381/1250": "ft foot feet",
        "1143/1250": "yd yard",
        "201168/125": "mi mile",
    },
    "mass": {
        "1": "g gram gm",
        "1000": "kg kilogram kilo",
        "1/1000": "mg milligram",
        "1/1000000": "μg microgram",
        "1000000": "t ton tonne",
        "45359237/100000": "lb pound",
        "45359237/1600000": "oz ounce",
    },
    "time": {
        "1": "s sec second",
        "1/1000": "ms millisecond",
        "1/1000000": "μs microsecond",
        "1/1000000000": "ns nanosecond",
        "60": "min minute",
        "3600": "h hr hour",
        "86400": "day d",
        "604800": "week wk",
    },
    "month": {"1": "month", "12": "year yr", "120": "decade", "1200": "century centuries"},
    "volume": {
        "1": "l L liter litre",
        "1/1000": "ml mL milliliter millilitre cc",
        "1/10": "dl deciliter",
        "473176473/125000000": "gal gallon",
        "473176473/500000000": "qt quart",
        "473176473/1000000000": "pt pint",
        "473176473/2000000000": "cup",
        "473176473/32000000000": "tbsp tablespoon",
        "473176473/96000000000": "tsp teaspoon",
    },
    "dollar": {"1": "$ dollar buck usd US$", "1/100": "cent ¢"},
    "euro": {"1": "€ euro eur"},
    "pound sterling": {"1": "£ gbp quid", "1/100": "pence penny pennies"},
    "yen": {"1": "¥ yen jpy"},
    "rupee": {"1": "₹ rs rupee inr"},
    "yuan": {"1": "yuan rmb cny"},
    "degree": {"1": "° degree deg", "1/60": "arcmin arcminute", "1/3600": "arcsec arcsecond"},
    "radian": {"1": "rad radian"},
    "degree Celsius": {"1": "celsius °C"},
    "degree Fahrenheit": {"1": "fahrenheit °F"},
    "temperature": {"1": "kelvin K"},
    "energy": {
        "1": "J joule",
        "1000": "kJ kilojoule",
        "1000000": "MJ megajoule",
        "3600000": "kWh",
        "1602176634/10000000000000000000000000000": "eV electronvolt",
    },
    "heat": {"1": "cal calorie", "1000": "kcal kilocalorie"},
    "power": {"1": "W watt", "1000": "kW kilowatt", "1000000": "MW megawatt"},
    "force": {"1": "N newton", "1000": "kN kilonewton"},
    "pressure": {"1": "Pa pascal", "1000": "kPa kilopascal", "101325": "atm atmosphere", "100000": "bar"},
    "voltage": {"1": "V volt", "1000": "kV kilovolt", "1/1000": "mV millivolt"},
    "current": {"1": "A ampere amp", "1/1000": "mA milliampere milliamp"},
    "resistance": {"1": "Ω ohm", "1000": "kΩ kilohm", "1000000": "MΩ megohm"},
    "capacitance": {"1": "farad", "1/1000000": "μF microfarad", "1/1000000000": "nF", "1/1000000000000": "pF"},
    "inductance": {"1": "henry", "1/1000": "mH millihenry"},
    "magnetic field": {"1": "tesla", "1/1000": "mT millitesla"},
    "frequency": {
        "1": "Hz hertz",
        "1000": "kHz kilohertz",
        "1000000": "MHz megahertz",
        "1000000000": "GHz gigahertz",
        "60": "bpm",
    },
    "data": {"1": "byte B", "1000": "KB kB kilobyte", "1000000": "MB megabyte", "1000000000": "GB gigabyte"},
    "charge": {"1": "coulomb", "1/1000": "mC", "1/1000000": "μC", "1/1000000000": "nC"},
    "concentration": {"1": "molar", "1/1000": "mM millimolar"},
    "amount": {"1": "mol mole", "1/1000": "mmol millimole"},
    "area": {"10000": "ha hectare", "316160658/78125": "acre"},
}
_DERIVED: dict[str, tuple[Fraction, dict[str, int]]] = {
    "volume": (Fraction(1, 1000), {"length": 3}),
    "area": (Fraction(1), {"length": 2}),
    "force": (Fraction(1000), {"mass": 1, "length": 1, "time": -2}),
    "energy": (Fraction(1000), {"mass": 1, "length": 2, "time": -2}),
    "power": (Fraction(1000), {"mass": 1, "length": 2, "time": -3}),
    "pressure": (Fraction(1000), {"mass": 1, "length": -1, "time": -2}),
    "charge": (Fraction(1), {"current": 1, "time": 1}),
    "concentration": (Fraction(1000), {"amount": 1, "length": -3}),
}
"""Dimensions that others make up, with the size of a unit in the units of those: grams, meters, seconds."""
_COMPOUND = {"mph": "mile/hour", "kph": "km/hour", "kmh": "km/hour", "kmph": "km/hour", "fps": "foot/second"}
_EXACT = {
    name: (kind, Fraction(size))
    for kind, row in _TABLE.items()
    for size, names in row.items()
    for name in names.split()
}
_LONG = {name.lower(): unit for name, unit in _EXACT.items() if len(name) > 1 and name not in ("MW", "mA", "MJ", "mV")}
_TERM = re.compile(
    r"(?:(?P<power>sq(?:uare)?\.?|cubic|cu\.)\s*)?(?P<name>°\s?[CF](?![A-Za-z])|US\$|[$€£¥₹¢°]|[A-Za-zμΩÅ]+)"
    r"\.?(?:\s*\^\{\s*(?P<raised>-?\d)\s*\}|\s*(?P<said>squared|cubed))?"
)
_SCALE = re.compile(r"\s*([cf])(?:elsius|entigrade|ahrenheit)?\b", re.IGNORECASE)
_SYMBOL_GOES_ON = re.compile(r"[A-Za-z\d_]|\s*[\^=]")
"""Behind a letter that is then a variable and no unit."""
_PER = re.compile(r"\s*(?:/|\bper\b|\beach\b(?=\s+\w)|\ban?\b)\s*")
_TIMES = re.compile(r"\s*\*\s*(?=[A-Za-zμΩ])|\s*(?=[A-Za-zμΩ]+\s*\^\{\s*-\d\s*\})|\s+(?=m\s*[/^])")
"""Before a unit that another is multiplied with: ``N*m``, ``m s^{-2}``, ``kg m/s^{2}``."""
_POWERS = {"sq": 2, "square": 2, "cubic": 3, "cu": 3, "squared": 2, "cubed": 3}
_NO_NOUN = re.compile(
    r"(?:a|about|after|ago|ahead|all|also|altogether|an|and|apart|approximately|are|as|at|away|back|be|because|been|before|"
    r"behind|both|but|by|can|combined|cubic|deep|did|do|each|every|exactly|extra|far|for|from|had|has|have|he|her|here|high|"
    r"his|i|if|in|into|is|it|items?|its|just|left|long|longer|makes|many|more|much|my|of|old|older|on|only|out|over|overall|"
    r"per|points?|remaining|she|since|so|some|sq|square|tall|taller|than|that|the|their|them|then|there|they|think|this|to|"
    r"together|too|total|units?|until|was|we|were|what|when|which|who|wide|will|with|would|you|younger|your)",
    re.IGNORECASE,
)
"""Words that end the nouns behind a number, or say nothing about what it counts."""


@dataclass(frozen=True)
class Unit:
    """What a number counts.

    Args:
        factor: how many of the basic unit of the dimensions one is.
        dimensions: pairs of dimension and power; empty if nothing is known.
        nouns: further words, singular; empty unless no dimension is known.
    """

    factor: Fraction = Fraction(1)
    dimensions: frozenset[tuple[str, int]] = frozenset()
    nouns: frozenset[str] = frozenset()

    def __bool__(self) -> bool:
        return bool(self.dimensions or self.nouns)

    def agrees(self, other: "Unit") -> bool:
        """Whether both may count the same. A unit may be left unsaid, as may what an amount of money is paid for."""
        if not self or not other:
            return True
        if bool(self.nouns) != bool(other.nouns):
            return False
        if self.nouns:
            return bool(self.nouns & other.nouns)
        if self.dimensions == other.dimensions or {self, other} == {_POUND, _POUND_STERLING}:
            return True
        smaller, larger = sorted((self.dimensions, other.dimensions), key=len)
        return len(smaller) == 1 and smaller < larger and smaller <= _MONEY


NO_UNIT = Unit()
_POUND = Unit(_EXACT["pound"][1], frozenset({("mass", 1)}))
_POUND_STERLING = Unit(dimensions=frozenset({("pound sterling", 1)}))
_STERLING = re.compile(r"\s*pounds?\s+sterling\b", re.IGNORECASE)
_MONEY = frozenset((kind, 1) for kind in ("dollar", "euro", "pound sterling", "yen", "rupee", "yuan"))


def read_unit(text: str) -> tuple[Unit, str]:
    """The unit that a text begins with, and the rest of the text. Pounds alone may also be money (`Unit.agrees`).

    Example:
        >>> read_unit("km/h on average")[1], read_unit("clips altogether")[0].nouns
        (' on average', frozenset({'clip'}))
        >>> read_unit("hours")[0].agrees(read_unit("min")[0]), read_unit("kg")[0].agrees(read_unit("cm")[0])
        (True, False)
    """
    if (sterling := _STERLING.match(text)) is not None:
        return _POUND_STERLING, text[sterling.end() :]
    first = _known(text.lstrip())
    if first is None:
        return _nouns(text)
    unit, rest = first
    while (joint := _PER.match(rest) or _TIMES.match(rest)) and (next_ := _known(rest[joint.end() :])) is not None:
        below, rest = next_
        if joint.re is _TIMES:
            below = Unit(1 / below.factor, frozenset((kind, -power) for kind, power in below.dimensions))
        raised = {kind: -power for kind, power in below.dimensions}
        if joint.re is _PER and {kind for kind, _ in unit.dimensions} == set(
            raised
        ):  # "hours a day" is no plain number
            raised = {f"per {kind}": power for kind, power in raised.items()}
        for kind, power in unit.dimensions:
            raised[kind] = raised.get(kind, 0) + power
        unit = Unit(unit.factor / below.factor, frozenset((k, p) for k, p in raised.items() if p))
    return unit, rest


def _known(text: str) -> tuple[Unit, str] | None:
    term = _TERM.match(text)
    if term is None:
        return None
    rest, name = text[term.end() :], term["name"].replace(" ", "")
    if name.lower() in _COMPOUND:
        return read_unit(_COMPOUND[name.lower()])[0], rest
    if name == "in" and re.match(r"\s*[A-Za-z]", rest):
        return None
    scale = _SCALE.match(rest) if name in ("°", "degree", "degrees") else None
    if scale is not None:
        name, rest = {"c": "celsius", "f": "fahrenheit"}[scale[1].lower()], rest[scale.end() :]
    found = _EXACT.get(name) or next((_LONG[n] for n in (name.lower(), _singular(name)) if n in _LONG), None)
    behind = text[term.end("name") :]
    if found is None or (not term["raised"] and re.fullmatch("[A-Za-z]", name) and _SYMBOL_GOES_ON.match(behind)):
        return None
    kind, size = found
    power = int(term["raised"] or _POWERS.get((term["said"] or term["power"] or "").rstrip("."), 1))
    scale_of, parts = _DERIVED.get(kind, (Fraction(1), {kind: 1}))
    return Unit((size * scale_of) ** power, frozenset((part, power * own) for part, own in parts.items())), rest


def _nouns(text: str) -> tuple[Unit, str]:
    nouns = set()
    rest = text
    while (word := re.match(r"\s*([A-Za-z][A-Za-z'-]*)", rest)) is not None and not _NO_NOUN.fullmatch(word[1]):
        nouns.add(_singular(word[1]))
        rest = rest[word.end() :]
    return Unit(nouns=frozenset(nouns)), rest


def _singular(word: str) -> str:
    word = word.lower().removesuffix("'s")
    if word.endswith("ies") and len(word) > 4:
        return word[:-3] + "y"
    if word.endswith(("ches", "shes", "sses", "xes")):
        return word[:-2]
    return word[:-1] if word.endswith("s") and not word.endswith("ss") and len(word) > 2 else word
