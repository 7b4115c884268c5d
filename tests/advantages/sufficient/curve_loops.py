"""The curve of prefix values read one prefix at a time, in Python's float64: what the rules must agree with."""

import itertools
import math

from hypothesis import strategies as st

from iapo import AdvantageInputs
from iapo.testing import reward_batches


def rows_of(batch):
    """Of each completion: values of all prefixes, and which tokens were measured."""
    mask = batch.signals.information_mask
    mask = batch.completion_mask if mask is None else mask
    return [
        (values, measured if any(value != 0 for value in values) else [False] * len(measured))
        for values, measured in zip(batch.signals.prefix_values.double().tolist(), mask.tolist(), strict=True)
    ]


def measured_prefixes(mask):
    """Lengths of the prefixes beside a measured token."""
    return [t for t in range(len(mask) + 1) if mask[t : t + 1] == [True] or (t and mask[t - 1])]


def there_at(values, mask, threshold, relative_to="certainty"):
    """Of each measured prefix, whether the answer is there."""
    prefixes = measured_prefixes(mask)
    end = values[prefixes[-1]] if prefixes and relative_to == "end" else 0.0
    return {t: values[t] >= end + math.log(threshold) for t in prefixes}


def first_there(there):
    """The shortest prefix after which the answer is there; ``None`` if there is none."""
    return next((t for t in sorted(there) if there[t]), None)


def stays_from(there):
    """The shortest prefix from which on the answer is always there; ``None`` if there is none."""
    return next((t for t in sorted(there) if all(there[u] for u in there if u >= t)), None)


def steps_of(mask, size, ids=(), after=()):
    """Begin and end of each step."""
    steps = []
    for t, counted in enumerate(mask):
        if not counted:
            continue
        goes_on = steps and steps[-1][1] == t and (size is None or t - steps[-1][0] < size)
        goes_on = goes_on and not (after and ids[t - 1] in after)
        if goes_on:
            steps[-1] = (steps[-1][0], t + 1)
        else:
            steps.append((t, t + 1))
    return steps


def gains_of(values, steps):
    """The growth of ``values`` from the end of the step before, of the first from its own beginning."""
    ends = [steps[0][0], *(end for _, end in steps)] if steps else []
    return [values[b] - values[a] for a, b in itertools.pairwise(ends)]


@st.composite
def curves(draw, ties=True) -> AdvantageInputs:
    """Batches with a curve; some completions were not measured at all, of some the answer is certain and stays so."""
    batch = draw(reward_batches(ties=ties))
    if draw(st.booleans()):
        row = draw(st.integers(0, len(batch) - 1))
        batch.signals.prefix_values[row] = 0
        batch.signals.information[row] = 0
    return batch
