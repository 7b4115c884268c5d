"""Prompts as token ids: what the model's own tokenizer does for a text, unless a chat template did it."""

import copy
import logging

import pytest
from rollout_tokenizers import tokenizer
from tokenizers import processors
from transformers import PreTrainedTokenizerFast

from iapo.rollout.prompts import encode_prompts
from iapo.tasks import render_prompts


def test_texts_begin_as_the_tokenizer_begins_them():
    tok = tokenizer("dummy-prefix")
    plain, rendered = encode_prompts(["3+4=", "<bos>3+4="], tok)
    assert plain == tok("3+4=")["input_ids"]
    assert plain[0] == tok.bos_token_id
    assert rendered.count(tok.bos_token_id) == 1, "a chat template wrote it"
    assert encode_prompts(["<eos>3"], tok) == [
        [tok.bos_token_id, *tok("<eos>3", add_special_tokens=False)["input_ids"]]
    ]
    assert encode_prompts([[5, 6]], tok) == [[5, 6]]


@pytest.mark.parametrize("begin", ["", "<bos>"])
@pytest.mark.parametrize("role", ["<eos>{}:", "{}: "])
def test_a_chat_template_says_what_its_texts_begin_with(begin, role):
    tok = copy.copy(tokenizer("dummy-prefix"))
    tok.chat_template = begin + "{% for m in messages %}" + role.format("{{ m.role }}") + "{{ m.content }}{% endfor %}"
    rows = [{"prompt": [{"role": "user", "content": "3+4"}]}, {"prompt": "3+4"}]
    for system in (None, "7"):
        texts = [row["prompt"] for row in render_prompts(rows[: 1 if system is None else 2], tok, system)]
        wanted = [tok(text, add_special_tokens=False)["input_ids"] for text in texts]
        assert encode_prompts(texts, tok) == wanted
        assert [ids.count(tok.bos_token_id) for ids in wanted] == [begin.count("<bos>")] * len(texts)
    assert encode_prompts(["<eos>3", "3"], tok) == [tok("<eos>3")["input_ids"], tok("3")["input_ids"]]


def test_of_many_texts_one_is_encoded_twice():
    """What stands before texts is looked for in the first, and in the next as long as none shows it."""
    tok, calls = tokenizer("dummy-prefix"), []

    class Counting:
        def __getattr__(self, name):
            return getattr(tok, name)

        def __call__(self, text, **options):
            calls.append(text)
            found = tok(text, **options)
            if text == "7" and options.get("add_special_tokens", True):
                found["input_ids"] = [0, 1, 2]
            return found

    texts = ["7", "3+4", "9", "8"]
    assert encode_prompts(texts, Counting())[1:] == [tok(text)["input_ids"] for text in texts[1:]]
    assert [calls.count(text) for text in texts] == [2, 2, 1, 1]


def test_nothing_is_added_behind_a_prompt():
    backend = tokenizer("qwen").backend_tokenizer.from_str(tokenizer("qwen").backend_tokenizer.to_str())
    ends = [(name, backend.token_to_id(name)) for name in ("<bos>", "<eos>")]
    backend.post_processor = processors.TemplateProcessing(single="<bos> $A <eos>", special_tokens=ends)
    tok = PreTrainedTokenizerFast(tokenizer_object=backend, bos_token="<bos>", eos_token="<eos>")
    assert encode_prompts(["3+4"], tok) == [tok("3+4")["input_ids"][:-1]]


def test_tokenizers_that_add_nothing_add_nothing(embedded_tokenizer):
    assert encode_prompts(["3+4="], embedded_tokenizer) == [embedded_tokenizer.encode("3+4=", add_special_tokens=False)]
    assert encode_prompts(["3+4"], tokenizer("words")) == [tokenizer("words")("3+4")["input_ids"]]


def test_a_text_longer_than_the_tokenizer_says_is_told_by_nobody_here(caplog):
    tok = copy.deepcopy(tokenizer("dummy-prefix"))
    tok.model_max_length = 3
    logger = logging.getLogger("transformers.tokenization_utils_base")
    logger.addHandler(caplog.handler)
    try:
        assert len(encode_prompts(["3+4=3+4="], tok)[0]) > 3
        assert not caplog.records
        tok("3+4=3+4=")
        assert "Token indices sequence length" in caplog.text
    finally:
        logger.removeHandler(caplog.handler)
