"""Completions as texts: markers stay, padding and the final end of sequence do not."""

from transformers import AutoTokenizer

from iapo.embedded import model_path
from iapo.rollout.collation import collate
from iapo.rollout.text import decode_completions


def test_final_end_and_padding_go_everything_else_stays() -> None:
    tokenizer = AutoTokenizer.from_pretrained(model_path())
    encode = lambda text: tokenizer(text, add_special_tokens=False)["input_ids"]  # noqa: E731
    eos, pad = tokenizer.eos_token_id, tokenizer.pad_token_id
    whole = "<think>3+8=1</think><answer>1</answer>"
    rows = [[*encode(whole), eos], encode("<think>3+8"), [], [eos], [pad, *encode("7"), pad], [eos, eos]]
    rollout = collate([encode("3+8=")] * len(rows), rows, list(range(len(rows))), pad, tokenizer)

    texts = decode_completions(tokenizer, rollout)

    assert texts == [whole, "<think>3+8", "", "", f"{tokenizer.pad_token}7{tokenizer.pad_token}", tokenizer.eos_token]
    assert decode_completions(tokenizer, rollout, eos_ids=encode("8"))[1] == "<think>3+"
