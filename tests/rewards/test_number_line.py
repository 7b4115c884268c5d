"""A part of the number line, written as intervals, by inequalities, or as what it leaves out."""

from dataclasses import dataclass, replace
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st
from test_answer_properties import equal

INFINITE = 99


@dataclass(frozen=True)
class Part:
    """The numbers between two, each of which belongs to them or not."""

    low: int
    has_low: bool
    high: int
    has_high: bool

    def interval(self) -> str:
        brackets = "[" if self.has_low else "(", "]" if self.has_high else ")"
        return f"{brackets[0]}{written(self.low)}, {written(self.high)}{brackets[1]}"

    def inequality(self) -> str:
        low, high = ("\\le" if closed else "<" for closed in (self.has_low, self.has_high))
        if self.low == -INFINITE:
            return f"x {high} {self.high}"
        return f"{self.low} {low} x" + ("" if self.high == INFINITE else f" {high} {self.high}")


def written(number: int) -> str:
    return {INFINITE: "\\infty", -INFINITE: "-\\infty"}.get(number, str(number))


@st.composite
def parts(draw: st.DrawFn) -> list[Part]:
    """One to three parts, with a gap of some numbers or of one between them; not all numbers."""
    ends = sorted(draw(st.lists(st.integers(-9, 9), min_size=2, max_size=6, unique=True)))
    ends = ends[: len(ends) // 2 * 2]
    found = [
        Part(low, draw(st.booleans()), high, draw(st.booleans()))
        for low, high in zip(ends[::2], ends[1::2], strict=True)
    ]
    for index in range(len(found) - 1):
        if draw(st.booleans()):
            found[index] = replace(found[index], has_high=False)
            found[index + 1] = replace(found[index + 1], low=found[index].high, has_low=False)
    if draw(st.booleans()):
        found[0] = replace(found[0], low=-INFINITE, has_low=False)
    if draw(st.booleans()) and (len(found) > 1 or found[0].low != -INFINITE):
        found[-1] = replace(found[-1], high=INFINITE, has_high=False)
    return found


def forms(found: list[Part]) -> list[str]:
    intervals = [part.interval() for part in found]
    all_forms = ["\\cup".join(intervals), " U ".join(intervals), " or ".join(part.inequality() for part in found)]
    gaps = list(pairwise(found))
    if all(one.high == two.low for one, two in gaps):
        holes = [str(one.high) for one, _ in gaps]
        whole = Part(found[0].low, found[0].has_low, found[-1].high, found[-1].has_high)
        is_line = whole.low == -INFINITE and whole.high == INFINITE
        if holes:
            all_forms.append(f"{whole.interval()} \\setminus \\{{{', '.join(holes)}\\}}")
        if holes and is_line:
            all_forms += [f"x \\ne {', '.join(holes)}", f"\\mathbb{{R}} - \\{{{', '.join(holes)}\\}}"]
        elif holes:
            all_forms.append(", ".join([whole.inequality(), *(f"x \\ne {hole}" for hole in holes)]))
    if len(found) == 1:
        all_forms.append(f"\\{{x \\in \\mathbb{{R}} : {found[0].inequality()}\\}}")
    if len(found) == 2 and found[0].low == -INFINITE and found[1].high == INFINITE:
        one, two = found
        gap = Part(one.high, not one.has_high, two.low, not two.has_low)
        if gap.low < gap.high:
            all_forms.append(f"\\mathbb{{R}} \\setminus {gap.interval()}")
    return all_forms


@given(parts(), st.data())
@settings(max_examples=60, deadline=None)
def test_all_writings_of_a_part_say_it_and_none_says_another(found, data):
    reference = data.draw(st.sampled_from(forms(found)))
    assert [form for form in forms(found) if not equal(reference, form)] == []
    index = data.draw(st.integers(0, len(found) - 1))
    changed = found[index]
    if changed.low != -INFINITE:
        changed = replace(changed, has_low=not changed.has_low)
    else:
        changed = replace(changed, has_high=not changed.has_high)
    others = [*found[:index], changed, *found[index + 1 :]]
    touches = any(one.high == two.low and (one.has_high or two.has_low) for one, two in pairwise(others))
    assert touches or [form for form in forms(others) if equal(reference, form)] == []
