"""The embedded task: its problems, the rule that labels tokens, and the shortest length."""

from typing import Any

import pytest

from iapo.embedded import classify, split_of
from iapo.tasks import EmbeddedTask, Split, load_rows


def test_problems_follow_from_split_and_seed() -> None:
    rows = load_rows(EmbeddedTask(), limit=7, seed=3)
    assert len(rows) == 7
    assert set(rows[0]) == {"prompt", "answer", "difficulty"}
    assert rows == load_rows(EmbeddedTask(), limit=7, seed=3)
    assert rows != load_rows(EmbeddedTask(), limit=7, seed=4)
    assert len(EmbeddedTask().rows()) == 4096


@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_splits_are_those_of_the_generator(split: Split) -> None:
    assert {split_of(row["prompt"]) for row in EmbeddedTask().rows(split, limit=20)} == {split}


def test_rule_is_for_prompts_and_tokens_of_the_task(embedded_tokenizer: Any) -> None:
    prompts = [row["prompt"] for row in EmbeddedTask().rows(limit=3)]
    assert EmbeddedTask().classifier(embedded_tokenizer, prompts) is classify
    assert EmbeddedTask().classifier(embedded_tokenizer, [*prompts, "Work out 1+1="]) is None

    class OtherTokens:
        def get_vocab(self) -> dict[str, int]:
            return {**embedded_tokenizer.get_vocab(), "one more": 99}

    assert EmbeddedTask().classifier(OtherTokens(), prompts) is None


def test_shortest_length_of_own_prompts(embedded_tokenizer: Any) -> None:
    assert EmbeddedTask().shortest_length("3+8-2=", embedded_tokenizer) == 4 * 2 + 7
    assert EmbeddedTask().shortest_length("Work out 3+8-2=", embedded_tokenizer) is None
