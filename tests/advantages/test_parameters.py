"""A number of an assigner or a length reward that is none is named where it is given, not where it is first used."""

import dataclasses
import math
from typing import get_args

import pytest
from advantages.test_all_assigners import OTHERS, SHAPINGS, WRAPPING

PARTS = {type(part).__name__: part for part in [*WRAPPING, *OTHERS, *SHAPINGS]}
NUMBERS = [
    pytest.param(part, field.name, id=f"{kind}.{field.name}")
    for kind, part in PARTS.items()
    for field in dataclasses.fields(part)
    if {int, float} & {field.type, *get_args(field.type)}
]


@pytest.mark.parametrize(("part", "field"), NUMBERS)
def test_what_is_no_number_is_named(part, field):
    kind = {each.name: each.type for each in dataclasses.fields(part)}[field]
    for wrong in ("0.5", math.inf, math.nan, *(() if type(None) in get_args(kind) else (None,))):
        with pytest.raises(ValueError, match=rf"{field}.*: got .*{wrong!r}.*, want"):
            dataclasses.replace(part, **{field: wrong})
