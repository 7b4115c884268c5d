"""A number of an assigner or a length reward that is none is named where it is given, not where it is first used."""

import dataclasses

import pytest
from advantages.test_all_assigners import OTHERS, SHAPINGS, WRAPPING

PARTS = {type(part).__name__: part for part in [*WRAPPING, *OTHERS, *SHAPINGS]}
NUMBERS = [
    pytest.param(part, field.name, id=f"{kind}.{field.name}")
    for kind, part in PARTS.items()
    for field in dataclasses.fields(part)
    if field.type in (int, float)
]


@pytest.mark.parametrize(("part", "field"), NUMBERS)
def test_what_is_no_number_is_named(part, field):
    for wrong in (None, "0.5"):
        with pytest.raises(ValueError, match=rf"{field}.*: got .*{wrong!r}.*, want"):
            dataclasses.replace(part, **{field: wrong})
