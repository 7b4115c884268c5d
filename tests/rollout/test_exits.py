"""What forces an answer, in tokens: the whole text as the tokenizer writes it, on tokenizers of every kind."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from rollout_tokenizers import TRAINED, tokenizer

from iapo import Rollout
from iapo.rollout import ScriptedSampler, ask_about, with_answers
from iapo.styles import AnswerTags, BeforeAnswer, Boxed, CompletionStyle, Hashes, JsonField, Phrase, ReasoningTags
from iapo.tokenization import continuation_ids, token_pieces

STYLES = [
    CompletionStyle(),
    CompletionStyle(between="\n\n"),
    CompletionStyle(answer=Boxed()),
    CompletionStyle(BeforeAnswer(), Boxed()),
    CompletionStyle(BeforeAnswer(), Hashes()),
    CompletionStyle(BeforeAnswer(" "), Phrase()),
    CompletionStyle(BeforeAnswer(), JsonField()),
    CompletionStyle(ReasoningTags("[r]", "[/r]"), AnswerTags("[a]", "[/a]")),
]
REASONING = ["3+4=7", "so it is 7.", "let us add (3 and 4)", "é日", "3 ", "a\n", "x = -", "", "7<"]
ANSWERS = ["7", "-7", "12", "(7)", "1/2", "\\frac{1}{2}", "é", "日🙂", ".5", "x - 1"]


def sampled(kind: str, text: str, style: CompletionStyle) -> Rollout:
    return ScriptedSampler({"q": [text]}, tokenizer(kind), append_eos=True, style=style)(["q"], 1)


def behind_reasoning(kind: str, rollout: Rollout) -> tuple[str, str]:
    """The text that the exit adds to the reasoning, and the part of it that scored tokens hold."""
    ids = rollout.completion_ids[0, : int(rollout.reasoning_mask[0].nonzero()[-1]) + 1].tolist()
    exits = rollout.exit_ids[0, : int(rollout.exit_scored[0].nonzero()[-1]) + 1].tolist()
    pieces = token_pieces(tokenizer(kind), ids + exits)[len(ids) :]
    first = int(rollout.exit_scored[0].nonzero()[0])
    return "".join(pieces), "".join(pieces[first:])


@settings(max_examples=150)
@given(
    st.sampled_from(TRAINED), st.sampled_from(STYLES), st.sampled_from(REASONING), st.sampled_from(ANSWERS), st.data()
)
def test_what_is_forced_is_the_text_wanted(kind, style, reasoning, answer, data):
    tok = tokenizer(kind)
    asked = style.asked(answer)
    rollout = sampled(kind, reasoning + asked.text, style)
    if not rollout.reasoning_mask.any() or not rollout.answer_mask.any():
        return
    if data.draw(st.booleans()):
        answer = data.draw(st.sampled_from(ANSWERS))
        asked = style.asked(answer)
        rollout = ask_about(rollout, [answer], tok, style)
    whole, scored = behind_reasoning(kind, rollout)
    if kind == "word-piece":
        # White space is lost: the same signs, in the same order.
        whole, scored, wanted = ("".join(each.split()) for each in (whole, scored, asked.text))
    else:
        wanted = tok.decode(tok(f"a{asked.text}", add_special_tokens=False)["input_ids"]).removeprefix("a")
        assert wanted == asked.text or "<unk>" in wanted
    assert whole == wanted
    if "<unk>" not in wanted:
        tail = asked.answer + asked.closing
        tail = "".join(tail.split()) if kind == "word-piece" else tail
        assert scored.endswith(tail), "every token with a character of answer or closing is scored"
        more = scored.removesuffix(tail)
        assert len(more) == 0 or not rollout.exit_scored[0, 0], "and no whole token of the postfix"
        first = int(rollout.exit_scored[0].nonzero()[0])
        own = token_pieces(tok, rollout.exit_ids[0].tolist())[first]
        assert len(own) > len(more) or own == "" or kind in ("word-piece", "dummy-prefix", "unigram")
    assert not set(rollout.exit_ids[0].tolist()) & {tok.bos_token_id, tok.eos_token_id}


@settings(max_examples=100)
@given(st.sampled_from(TRAINED), st.sampled_from(STYLES), st.sampled_from(REASONING), st.sampled_from(ANSWERS))
def test_tokens_are_those_of_the_whole_text(kind, style, reasoning, answer):
    """Where a token begins with the postfix, the exit is what the tokenizer makes of the whole from there on."""
    tok = tokenizer(kind)
    text = reasoning + style.asked(answer).text
    rollout = sampled(kind, text, style)
    reading = style.read(text)
    whole = tok(text, add_special_tokens=False)["input_ids"]
    before = tok(text[: reading.reasoning.stop], add_special_tokens=False)["input_ids"]
    if not rollout.answer_mask.any() or whole[: len(before)] != before or not before:
        return
    if len(token_pieces(tok, whole)[len(before)]) > len(style.postfix):
        return  # one token asks and answers: what asks is then encoded apart
    length = int(rollout.exit_scored[0].nonzero()[-1]) + 1
    assert rollout.exit_ids[0, :length].tolist() == whole[len(before) :]


def test_tokens_that_a_completion_wrote_itself_are_kept():
    tok = tokenizer("bytes-regex")
    wrote = [
        tok(part, add_special_tokens=False)["input_ids"]
        for part in ("<think>7", "</think><answer>", "1", "2", "</answer>")
    ]
    natural = tok("</think><answer>12</answer>", add_special_tokens=False)["input_ids"]
    own = [token for part in wrote[1:] for token in part]
    assert own != natural, "the tokenizer writes 12 as one token"
    rollout = ScriptedSampler({"q": [[token for part in wrote for token in part]]}, tok)(["q"], 1)
    assert rollout.exit_ids[0].tolist() == own
    assert rollout.answer_ids[0].tolist() == wrote[2] + wrote[3]
    assert rollout.exit_scored[0].tolist() == [False] * len(wrote[1]) + [True] * (2 + len(wrote[4]))


@pytest.mark.parametrize("kind", [kind for kind in TRAINED if kind != "word-piece"])
def test_an_answer_alone_has_no_neighbor_in_its_tokens(kind):
    rollout = sampled(kind, "<think>3+4=7.</think><answer>-7</answer>", CompletionStyle())
    tok = tokenizer(kind)
    answer = token_pieces(tok, [*tok("a")["input_ids"], *rollout.answer_ids[0][rollout.answer_mask[0]].tolist()])
    assert "".join("".join(answer).removeprefix("<bos>").split()) == "a-7"


@pytest.mark.parametrize("kind", TRAINED)
def test_a_text_continues_without_a_space_or_a_beginning(kind):
    tok = tokenizer(kind)
    ids = list(continuation_ids(tok, "</think><answer>"))
    assert tok.bos_token_id not in ids
    pieces = token_pieces(tok, [*tok("a", add_special_tokens=False)["input_ids"], *ids])
    assert "".join(pieces).replace(" ", "") == "a</think><answer>"
    assert kind == "word-piece" or " " not in "".join(pieces)


def test_phrases_are_found_behind_a_dummy_prefix():
    rollout = sampled("dummy-prefix", "let us add. Final answer: 7", CompletionStyle(BeforeAnswer(" "), Phrase()))
    tok = tokenizer("dummy-prefix")
    assert tok.decode(rollout.answer_ids[0][rollout.answer_mask[0]]) == "7"
    assert tok.decode(rollout.completion_ids[0][rollout.reasoning_mask[0]]).strip() in "let us add."


def test_no_answer_no_exit():
    rollout = ScriptedSampler(
        {"q": ["<think>1</think>", "<think>1</think><answer> </answer>", "<think>1</think><answer>2</answer>"]},
        tokenizer("qwen"),
    )(["q"], 3)
    assert rollout.exit_scored.any(1).tolist() == [False, False, True]
    assert rollout.answer_mask.any(1).tolist() == [False, False, True]
    with pytest.raises(ValueError, match="answers: got 1 texts, want one for each of 3 rows"):
        ask_about(rollout, ["7"], tokenizer("qwen"))
    assert with_answers(rollout, [[4], [4], [4]]).exit_ids is None


def test_exits_go_with_their_rows():
    texts = ["<think>1</think><answer>2</answer>", "<think>1</think>", "<think>1</think><answer>345</answer>"]
    rollout = ScriptedSampler({"q": texts}, tokenizer("words"))(["q"], 3)
    one, last = rollout.select(slice(0, 1)), rollout.select(torch.tensor([2, 0]))
    assert one.exit_ids.shape == one.exit_scored.shape == (1, 4)
    assert torch.equal(last.exit_ids[0], rollout.exit_ids[2])
    joined = Rollout.cat([one, last])
    assert joined.exit_ids.shape == (3, 6)
    assert joined.exit_scored.tolist()[0] == [False, False, True, True, False, False]
    assert rollout.pad(exit=2).exit_scored[:, 6:].any().item() is False
    assert rollout.select(slice(0, 0)).exit_ids.shape == (0, 1)
    with pytest.raises(ValueError, match="exit: got 0, 0, 0, -1"):
        rollout.pad(exit=-1)
