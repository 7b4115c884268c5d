"""Prompts that a tokenizer cannot spell are told."""

import copy
import logging

import pytest

from iapo.training.configuration.problem_source import ProblemSource
from iapo.training.setup.problems import Problems

ROWS = [{"prompt": "1+1="}, {"prompt": "1+1=?"}, {"prompt": "Жук"}]


def told(tokenizer, caplog, rows=ROWS):
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        Problems(ProblemSource(), rows, [f"{4 + index} of mine" for index in range(len(rows))]).rendered(tokenizer)
    return caplog.text


def test_prompts_with_unknown_characters_are_counted_and_the_first_is_shown(embedded_tokenizer, caplog):
    text = told(embedded_tokenizer, caplog)
    assert "no tokens for characters of 2 of 3 prompts, first of that of row 5 of mine, which" in text
    assert "the model reads as '1+1=<unk>'" in text


def test_known_prompts_and_a_prompt_that_has_the_token_itself_are_not(embedded_tokenizer, caplog):
    assert told(embedded_tokenizer, caplog, ROWS[:1]) == ""
    assert told(embedded_tokenizer, caplog, [{"prompt": "1+<unk>="}]) == ""


@pytest.mark.parametrize("name", ["bos_token", "eos_token", "pad_token"])
def test_nor_a_tokenizer_whose_unknown_token_has_another_use(embedded_tokenizer, caplog, name):
    tokenizer = copy.deepcopy(embedded_tokenizer)
    setattr(tokenizer, name, tokenizer.unk_token)
    assert told(tokenizer, caplog) == ""


def test_nor_one_without_an_unknown_token(embedded_tokenizer, caplog):
    tokenizer = copy.deepcopy(embedded_tokenizer)
    tokenizer.unk_token = None
    assert told(tokenizer, caplog) == ""
