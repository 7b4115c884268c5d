"""Prompts as token ids: what the model's own tokenizer does for a text, unless a chat template did it."""

from rollout_tokenizers import tokenizer
from tokenizers import processors
from transformers import PreTrainedTokenizerFast

from iapo.rollout.prompts import encode_prompts


def test_texts_begin_as_the_tokenizer_begins_them():
    tok = tokenizer("dummy-prefix")
    plain, rendered = encode_prompts(["3+4=", "<bos>3+4="], tok)
    assert plain == tok("3+4=")["input_ids"]
    assert plain[0] == tok.bos_token_id
    assert rendered.count(tok.bos_token_id) == 1, "a chat template wrote it"
    assert encode_prompts(["<eos>3"], tok)[0][0] == tok.eos_token_id, "a text that begins with a special token is whole"
    assert encode_prompts([[5, 6]], tok) == [[5, 6]]


def test_nothing_is_added_behind_a_prompt():
    backend = tokenizer("qwen").backend_tokenizer.from_str(tokenizer("qwen").backend_tokenizer.to_str())
    ends = [(name, backend.token_to_id(name)) for name in ("<bos>", "<eos>")]
    backend.post_processor = processors.TemplateProcessing(single="<bos> $A <eos>", special_tokens=ends)
    tok = PreTrainedTokenizerFast(tokenizer_object=backend, bos_token="<bos>", eos_token="<eos>")
    assert encode_prompts(["3+4"], tok) == [tok("3+4")["input_ids"][:-1]]


def test_tokenizers_that_add_nothing_add_nothing(embedded_tokenizer):
    assert encode_prompts(["3+4="], embedded_tokenizer) == [embedded_tokenizer.encode("3+4=", add_special_tokens=False)]
    assert encode_prompts(["3+4"], tokenizer("words")) == [tokenizer("words")("3+4")["input_ids"]]
