"""What may be written in another way without another verdict, and what may not."""

import datetime
import re
from fractions import Fraction

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from iapo.rewards.answers import readings, same
from iapo.rewards.answers.notation import plain
from iapo.rewards.answers.numerals import find_numbers, words_value
from iapo.rewards.text import normalize

ONES = ["", *"one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen".split()]  # noqa: SIM905
ONES += ["sixteen", "seventeen", "eighteen", "nineteen"]
TENS = ["", "", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
MONTHS = [datetime.date(2000, month, 1).strftime("%B") for month in range(1, 13)]
UNITS = {
    "km": "kilometers",
    "kg": "kilograms",
    "h": "hours",
    "min": "minutes",
    "L": "liters",
    "ft": "feet",
    "lb": "pounds",
}
NUMBERS = st.integers(1, 10**9 - 2)


def equal(reference: str, answer: str) -> bool:
    """The verdict where no formula is compared."""

    def no_formulas(wanted: str, given: str) -> bool:
        raise AssertionError(f"{reference!r} and {answer!r} are compared as formulas {wanted!r} and {given!r}")

    wanted = readings(normalize(reference))[0]
    return any(same(wanted, meaning, no_formulas) for meaning in readings(normalize(answer)))


def in_words(number: int) -> str:
    for size, name in ((10**6, "million"), (10**3, "thousand"), (100, "hundred")):
        if number >= size:
            rest = number % size
            return f"{in_words(number // size)} {name}" + (f" {in_words(rest)}" if rest else "")
    return ONES[number] if number < 20 else "-".join(filter(None, (TENS[number // 10], ONES[number % 10])))


@settings(max_examples=30, deadline=None)
@given(NUMBERS)
def test_a_number_may_be_written_in_many_ways(number):
    spelled = [f"{number:,}", f"{number:_}", f"{number:,}".replace(",", " "), f"{number:,}".replace(",", "{,}")]
    spelled += [f"{number}.0", f"{number}.000", f"+{number}", f"${number}", f"\\${number:,}.00", f"{number}/1"]
    spelled += [f"$ {number} $", f"\\( {number} \\)", f"\\boxed{{{number}}}", f"\\text{{{number}}}", f"**{number}**"]
    spelled += [f"The answer is {number}.", f"She has {number} apples left.", f"x = {number}", f"so it is {number}"]
    spelled += [f"{number - 1} + 1 = {number}", f"a total of {number}", f"approximately {number}", f"{number} of them"]
    spelled += [in_words(number), f"{in_words(number)} apples", f"\\frac{{{2 * number}}}{{2}}", f"{number}e0"]
    assert [text for text in spelled if not equal(str(number), text)] == []
    assert [text for text in spelled if equal(str(number + 1), text) or equal(f"-{number}", text)] == []


@settings(max_examples=30, deadline=None)
@given(NUMBERS)
def test_words_change_a_number(number):
    changed = ["-{}", "minus {}", "negative {}", "- ${}", "{} hundred", "{} million", "{}k", "twice {}", "half of {}"]
    changed += ["more than {}", "at least {}", "{} or less", "less than {}", "not {}", "nearly {}", "{} squared", "{}0"]
    changed += ["a third of {}", "{} and 7", "{} or 7", "{}x", "\\sqrt{{{}}}", "{}+", "> {}", "0.{}", "up to {}"]
    wrong = [
        text
        for text in (form.format(number + 1) for form in changed)
        if readings(text) and text_equal(number + 1, text)
    ]
    assert wrong == []


def text_equal(reference: int | str, text: str) -> bool:
    """The verdict where formulas are compared as texts."""
    wanted = readings(normalize(str(reference)))[0]
    return any(same(wanted, meaning, lambda one, two: one == two) for meaning in readings(normalize(text)))


FORMULAS = [
    "3\\sqrt{13}",
    "\\frac{\\sqrt{3}}{2}",
    "100\\pi",
    "x^{2}+1",
    "(6,31,-1)",
    "[0,\\frac{1}{2})",
    "\\{1,\\sqrt{2}\\}",
]
DRESSES = ["${}$", "\\[{}\\]", "\\boxed{{{}}}", "\\boldsymbol{{{}}}", "\\color{{blue}}{{{}}}"]
AROUND = ["{}", "\\boxed{{{}}}", "**{}**", "so {}.", "The answer is {}", "`{}`"]
UNIT_BEHIND = [
    "{} units",
    "{} \\text{{ square units}}",
    "{} cubic feet",
    "{} \\text{{ cm}}^2",
    "{} radians",
    "{} dollars",
]
ROUNDED_BEHIND = ["{} ≈ 7.25", "${} \\approx 7.25$", "{} (about 7.25)", "{}, or approximately 7.25", "{} (≈ 7.25)"]


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_a_formula_may_be_dressed(data):
    formula, other = data.draw(st.lists(st.sampled_from(FORMULAS), min_size=2, max_size=2, unique=True))
    dresses = DRESSES if "," in formula else DRESSES + UNIT_BEHIND + ROUNDED_BEHIND
    inner, outer = data.draw(st.sampled_from(dresses)), data.draw(st.sampled_from(AROUND))
    dressed = outer.format(inner.format(formula))
    assert text_equal(formula, dressed)
    assert not text_equal(other, dressed)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**9 - 1))
def test_numbers_in_words_are_read_back(number):
    assert words_value(in_words(number) or "zero") == number
    assert words_value(f"{in_words(number)} and a half".strip()) == number + Fraction(1, 2) or number == 0


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 99), st.integers(2, 99), st.integers(1, 99))
def test_fractions_and_mixed_numbers_are_exact(above, below, whole):
    value = Fraction(above, below)
    spelled = [
        f"{above}/{below}",
        f"{above} / {below}",
        f"\\frac{{{above}}}{{{below}}}",
        f"\\dfrac {{{above}}} {{{below}}}",
    ]
    assert [number.value for text in spelled for number in find_numbers(plain(text))] == [value] * 4
    mixed = [f"{whole} {above}/{below}", f"{whole}\\frac{{{above}}}{{{below}}}", f"{whole} and {above}/{below}"]
    assert [number.value for text in mixed for number in find_numbers(plain(text))] == [whole + value] * 3
    assert equal(str(whole + value), f"-{mixed[0]}") is False


@settings(max_examples=30, deadline=None)
@given(st.integers(-20, 20), st.integers(1, 10**6))
def test_powers_of_ten_are_exact(exponent, digits):
    number = Fraction(digits) * Fraction(10) ** exponent
    spelled = [
        f"{digits}e{exponent}",
        f"{digits} \\times 10^{{{exponent}}}",
        f"{digits}·10^{exponent}",
        f"{digits}x10^{exponent}",
    ]
    assert [readings(normalize(text))[0].value for text in spelled] == [number] * 4
    assert not equal(spelled[0], f"{digits}e{exponent + 1}")


@settings(max_examples=30, deadline=None)
@given(NUMBERS, st.sampled_from(sorted(UNITS)), st.sampled_from(sorted(UNITS)))
def test_units_are_kept_when_both_have_them(number, unit, other):
    reference = f"{number} {unit}"
    assert equal(reference, f"{number} {UNITS[unit]}")
    assert equal(reference, f"{number}\\,\\text{{{unit}}}")
    assert equal(reference, f"{number}")
    assert equal(f"{number}", reference)
    assert equal(reference, f"{number} {UNITS[other]}") == (unit == other)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 10**4))
def test_units_of_one_dimension_are_converted(number):
    pairs = [
        ("{} km", "{}000 m"),
        ("{} kg", "{}000 grams"),
        ("{} m", "{}00 cm"),
        ("${}", "{}00 cents"),
        ("{} L", "{}000 mL"),
    ]
    assert [pair for pair in pairs if not equal(pair[0].format(number), pair[1].format(number))] == []
    assert equal(f"{number} hours", f"{60 * number} minutes")
    assert equal(f"{60 * number + 30} minutes", f"{number} hours and 30 minutes")
    assert not equal(f"{number} hours", f"{number} minutes")


@settings(max_examples=30, deadline=None)
@given(st.dates(datetime.date(1000, 1, 1), datetime.date(2999, 12, 28)), st.integers(1, 60))
def test_a_date_is_one_day_however_it_is_written(date, days):
    name, later = MONTHS[date.month - 1], date + datetime.timedelta(min(days, (datetime.date.max - date).days))
    spelled = [
        f"{name} {date.day}, {date.year}",
        f"{date.day} {name} {date.year}",
        f"{name[:3]}. {date.day}, {date.year}",
    ]
    spelled += [f"{date.month}/{date.day}/{date.year}", f"{date.month:02}/{date.day:02}/{date.year}"]
    assert [text for text in spelled if not equal(date.isoformat(), text)] == []
    assert [text for text in spelled if equal(later.isoformat(), text)] == []
    assert not equal(date.isoformat(), str(date.year - date.month - date.day))


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 12), st.integers(0, 59), st.sampled_from("ap"))
def test_times_of_the_day(hour, minute, half):
    reference = f"{hour}:{minute:02} {half.upper()}M"
    day = f"{hour % 12 + (12 if half == 'p' else 0)}:{minute:02}"
    assert equal(reference, f"{hour}:{minute:02} {half}.m.")
    assert equal(reference, f"{hour}:{minute:02}")
    assert equal(reference, day) or hour == 12
    assert not equal(reference, f"{hour}:{minute:02} {'p' if half == 'a' else 'a'}m")
    assert not equal(reference, f"{hour}:{(minute + 1) % 60:02} {half}m")


@settings(max_examples=30, deadline=None)
@given(st.integers(-99, 99), st.integers(1, 99))
def test_intervals_and_inequalities(low, width):
    high = low + width
    same_set = [
        f"({low}, {high}]",
        f"{low} < x \\leq {high}",
        f"{low} < x <= {high}",
        f"{high} ≥ x > {low}",
        f"x \\in ({low},{high}]",
    ]
    assert [text for text in same_set if not equal(f"({low},{high}]", text)] == []
    others = [
        f"({low}, {high})",
        f"[{low}, {high}]",
        f"{low} < x < {high}",
        f"({low}, {high + 1}]",
        f"{low} > x \\geq {high}",
    ]
    assert [text for text in others if equal(f"({low},{high}]", text)] == []
    assert equal(f"x > {low}", f"({low}, \\infty)")
    assert equal(f"x > {low}", f"{low} < x")
    assert equal(f"at least {high}", f"x \\ge {high}")
    assert not equal(f"x > {low}", f"x < {low}")
    assert not equal(f"x > {low}", f"x \\ge {low}")


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(-99, 99), min_size=2, max_size=5, unique=True), st.randoms())
def test_sets_have_no_order_and_tuples_have(numbers, random):
    shuffled = random.sample(numbers, len(numbers))
    listed = ", ".join(map(str, shuffled))
    reference = ", ".join(map(str, numbers))
    for form in ("{}", "\\{{{}\\}}", "x = {}"):
        assert equal(reference, form.format(listed))
        assert not equal(reference, form.format(listed.rpartition(", ")[0]))
    assert equal(f"({reference})", f"({listed})") == (numbers == shuffled)


@example("<|AAAAA|>")
@example("\\rightarrow")
@given(st.text(max_size=60) | st.text(alphabet="0123456789{}()[]\\frac+-*/^ ,.;:%$=|<>and of", max_size=40))
@settings(max_examples=200, deadline=None)
def test_any_text_is_read_and_equals_itself(text):
    found = readings(normalize(text))
    beside_markup = re.sub("<+[^<>]*>+", "", text)  # <|im_end|>, <br> and <<1+2=3>> are no part of an answer
    assert found or not any(character.isalnum() for character in beside_markup)
    assert all(same(meaning, meaning, lambda one, two: one == two) for meaning in found)


@pytest.mark.parametrize(
    "hostile",
    [
        "(",
        "{",
        "\\frac{",
        "1,",
        "x^{",
        "the ",
        "so ",
        "the answer is ",
        "1 ",
        "((1,2),",
        "1<x<",
        "one hundred and ",
        "1/2/",
    ],
)
def test_long_nests_of_anything_are_read(hostile):
    assert readings((hostile * 2000)[:2000])


REPEATED = [
    "1",
    "0.1",
    "1, ",
    "1 or ",
    "1, about ",
    "= a ",
    "=a\\quad ",
    "1 - ",
    "1 ≈ ",
    "\\pi, ",
    "1(",
    "\\boldsymbol{",
    "0.11...",
]


@pytest.mark.parametrize("repeated", REPEATED)
def test_the_longest_answers_are_read_in_a_time_that_nobody_notices(repeated):
    # Nothing is measured: what grows with the cube of the length takes minutes here, and hours for a batch.
    longest = (repeated * 2000)[:2000]
    readings(normalize(longest))
    readings(normalize(f"{longest} x"))
