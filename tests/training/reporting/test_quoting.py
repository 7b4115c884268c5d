"""Which sampled texts a report quotes."""

import dataclasses

from iapo.evaluation import Sample
from iapo.training.reporting.quoting import chosen, quoted


def sample(tokens: int, correct: bool, greedy: bool = False) -> Sample:
    made = Sample(0, "1+1=", f"text of {tokens}", "2", None, {"accuracy": float(correct)}, 1.0, correct, tokens, True)
    return dataclasses.replace(made, greedy=greedy)


def lengths(samples: list[Sample]) -> dict[str, int]:
    return {name: each.tokens for name, each in chosen(samples).items()}


def test_a_short_right_one_a_usual_wrong_one_and_the_longest():
    samples = [
        sample(9, True),
        sample(4, True),
        sample(7, False),
        sample(3, False),
        sample(8, False),
        sample(1, True, True),
    ]
    assert lengths(samples) == {"right, shortest": 4, "wrong, of median length": 7, "longest": 9}


def test_greedy_ones_only_where_there_are_no_others():
    samples = [sample(9, True, True), sample(4, True, True), sample(6, True, True)]
    assert lengths(samples) == {"right, shortest": 4, "longest": 9}


def test_a_fence_in_a_text_does_not_end_the_quotation():
    text = dataclasses.replace(sample(2, True), completion="```\nx\n```")
    lines = quoted([text], "iapo show runs/a")
    assert "````text" in lines
    assert quoted([], "iapo show runs/a") == []
