"""One reader: what a completion's parts are, on any text, for rewards and spans alike."""

import pytest
from every_style import EVERY
from hypothesis import given
from hypothesis import strategies as st

from iapo.rewards import ExactAnswer, MathAnswer, ThinkAnswerFormat, in_style
from iapo.rollout import ScriptedSampler
from iapo.styles import (
    MARKED_STYLE,
    USUAL_STYLE,
    AnswerTags,
    BeforeAnswer,
    Boxed,
    CompletionStyle,
    FirstThatFits,
    Hashes,
    JsonField,
    LastLine,
    LastOf,
    Phrase,
    ReasoningTags,
)
from iapo.tokenization import token_pieces

MARKS = ["<think>", "</think>", "<answer>", "</answer>", "\\boxed{", "\\boxed {", "\\{", "\\", "{", "}", "####", "#"]
MARKS += ["So ", "=> ", "A: ", " because ", " is ", ". ", "：", "= "]
MARKS += ['"answer": ', '"answer": "', '"', "{", "[", "The answer is ", "answer:", "**", "7", "é", " ", "\n", ".", ","]
TEXTS = st.text(max_size=80) | st.lists(st.sampled_from(MARKS), max_size=24).map("".join)


@given(TEXTS, st.sampled_from(EVERY), st.sampled_from([ReasoningTags(), BeforeAnswer(), ReasoningTags("7", "é")]))
def test_any_text_has_parts_in_order(text, answer, reasoning):
    style = CompletionStyle(reasoning, answer)
    reading = style.read(text)
    assert 0 <= reading.reasoning.start <= reading.reasoning.stop <= len(text)
    if reading.marked is None:
        assert style.answer_in(text) is None
        return
    marked = reading.marked
    assert reading.reasoning.stop <= marked.opening <= marked.start <= marked.stop <= marked.closing <= len(text)
    assert style.answer_in(text) == marked.style.plain(text[reading.answer])


@pytest.mark.parametrize("opened", ["<think>\n\n</think>", "</think>"])
def test_behind_an_empty_block_everything_up_to_the_answer_is_reasoning(opened):
    """Qwen3 writes one where it is told not to think, and reasons behind it: else nothing of it was measured."""
    text = opened + "\n3+4=7\n<answer>7</answer>"
    style = CompletionStyle(between="\n")
    reading = style.read(text)
    assert text[reading.reasoning] == "\n3+4=7"
    assert style.asked_in(text, reading).text == text[reading.exit] == "\n<answer>7</answer>"
    assert style.replaced("Now: ", None).asked_in(text, reading).postfix == "Now: "
    nothing = opened + "\n<answer>7</answer>"
    assert not nothing[style.read(nothing).reasoning].strip()
    assert style.asked_in(nothing, style.read(nothing)).postfix == "</think>\n<answer>"


def test_what_stands_before_the_last_closing_tag_of_an_answered_text_is_reasoning():
    text = "<think>3+4=7</think><answer>7</think><answer>7</think><answer>7</answer>"
    style = CompletionStyle()
    assert text[style.read(text).reasoning] == "3+4=7</think><answer>7</think><answer>7"
    assert style.answer_in(text) == "7"
    unanswered = "<think>3+4=7</think><answer>7</think>"
    assert unanswered[style.read(unanswered).reasoning] == "3+4=7"


@pytest.mark.parametrize(
    ("answer", "text", "wanted"),
    [
        (AnswerTags(), "<answer>5</answer></answer>", "5"),
        (AnswerTags(), "<answer>1<answer>2</answer>", "2"),
        (AnswerTags(), "<answer>1</answer><answer>2", "1"),
        (AnswerTags(), "</answer>1<answer>", None),
        (AnswerTags("<a>", "</a>"), "<answer>1</answer><a>2</a>", "2"),
        (Boxed(), r"\boxed{5}. Check: \frac{10}{2}", "5"),
        (Boxed(), r"\boxed{\frac{1}{2}}", r"\frac{1}{2}"),
        (Boxed(), r"\boxed{5} and \boxed{6", "5"),
        (Boxed(), r"\boxed{\boxed{5}}", "5"),
        (Boxed(), r"\boxed{\{1, 2\}}", r"\{1, 2\}"),
        (Boxed(), r"\boxed{\left\{ 1 \right.}", r"\left\{ 1 \right."),
        (Boxed(), r"\boxed{a \\ {b}}", r"a \\ {b}"),
        (Boxed(), r"} { \boxed {5}", "5"),
        (AnswerTags("\\boxed{", "}"), r"\boxed{\frac{10}{2}} and {", r"\frac{10}{2}"),
        (AnswerTags("\\boxed{", "}"), r"\boxed{5}. Check: \frac{10}{2}", "5"),
        (AnswerTags("answer{", "}"), "answer{72\\}", "72\\"),
        (AnswerTags("ANSWER(", ")."), " ANSWER([0, 1)).", "[0, 1)"),
        (AnswerTags(r"\boxed{\text{", "}}"), r"\boxed{\text{\frac{1}{2}}}", r"\frac{1}{2}"),
        (AnswerTags(r"$\boxed{", "}$"), r"$\boxed{\frac{1}{2}}$ and $\frac{1}{2}$", r"\frac{1}{2}"),
        (AnswerTags(r"\boxed{", "}."), r"\boxed{4}. \boxed{5} is {3}.", "4"),
        (Hashes(), "#### 4\n#### 72\nbye", "72"),
        (Hashes(), "72 ####", None),
        (Phrase(), "Final answer: 72", "72"),
        (Phrase(), "The answer is 3. No, the answer is 72.", "72"),
        (Phrase(), "the final answer is:\n72", "72"),
        (Phrase(), "**Final Answer:** **72**", "72"),
        (Phrase(), "The answer is 3.5.", "3.5"),
        (Phrase(), "The answer is 5 p.m.", "5 p.m."),
        (Phrase(), "The answer is A.", "A"),
        (Phrase(), "I answer the question", None),
        (Phrase("Result: "), "answer: 3, result: 72", "72"),
        (Phrase(), "The answer is 72 because 60 + 12 = 72.", "72"),
        (Phrase(), "The answer is 72, since there are 6 dozen.", "72"),
        (Phrase(), "The answer is 1,072. I hope it is correct.", "1,072"),
        (Phrase(), "The answer is Dr. Smith.", "Dr. Smith"),
        (Phrase(), "The answer is **72**.", "72"),
        (Phrase(), "The answer is **72** apples.", "**72** apples"),
        (Phrase(), "The answer is **72** or **73**.", "**72** or **73**"),
        (Phrase(), "The answer is 72 **apples**.", "72 **apples**"),
        (Phrase(), "The answer is **2**10**.", "2**10"),
        (Phrase(), "**Answer: 72** clips", "72** clips"),
        (Phrase(), "Answer:\n* **72**", "72"),
        (Phrase(), "The correct option is (B).", "(B)"),
        (Phrase(), "so\nA: 72", "72"),
        (Phrase(), "so\n=> 72\nbye", "72"),
        (Phrase(), "so\n→ **72**", "72"),
        (Phrase(), "60 + 12 = 72\nSo the total is 72.", "72"),
        (Phrase(), "60 + 12 = 72. So, the total cost is $72.", "$72"),
        (Phrase(), "Therefore, he has 72 apples.", "72 apples"),
        (Phrase(), "Thus the ratio is 3:2.", "3:2"),
        (Phrase(), "Hence x = 72.", "72"),
        (Phrase(), "So there are 60 red and 12 blue ones", "60 red and 12 blue ones"),
        (Phrase(), "So he has 60 red and 12 blue ones", None),
        (Phrase(), "So 60 + 12 = 72.\nThen we go on", None),
        (Phrase(), "Respuesta: 72.", "72"),
        (Phrase(), "答案：72。", "72"),
        (Phrase(), "Total: 72\nand more", None),
        (Phrase(concludes=False), "=> 72\nSo the total is 72.", None),
        (Phrase(), "A: 3\nThe answer is 72", "72"),
        (USUAL_STYLE.answer, "#### 72\nNote: thanks", "72"),
        (USUAL_STYLE.answer, "The answer is 72\nSo we are done: bye", "72"),
        (USUAL_STYLE.answer, "Ответ: 72", "72"),
        (USUAL_STYLE.answer, "60 + 12\n#### 72\nThat is all.", "72"),
        (JsonField(), '{"answer": "72"}', "72"),
        (JsonField(), 'so {"why": "x", "answer" : 72 }', "72"),
        (JsonField(), '{"answer": [1, 2]}', "[1, 2]"),
        (JsonField(), '{"answer": "\\\\frac{1}{2}"}', "\\frac{1}{2}"),
        (JsonField(), '{"answer": "\\frac{1}{2}"}', "\\frac{1}{2}"),
        (JsonField(), '{"answer": "72"} {"answer": "7', "72"),
        (JsonField(), r'{"answer": "72\n"}', "72\n"),
        (JsonField(), r'{"answer": "1\/2 \neq 45\u00b0"}', r"1/2 \neq 45°"),
        (JsonField(), r'{"answer": "\ud83d"}', r"\ud83d"),
        (JsonField("result"), '{"answer": 3, "result": 72}', "72"),
        (JsonField(), '{"answer": null}', None),
        (JsonField(), '{"answer": 3} {"answer": null}', "3"),
        (JsonField(), "{'answer': '5 cm', 'steps': 3}", "5 cm"),
        (JsonField(), r"{'answer': 'Bob\'s'}", "Bob's"),
        (JsonField(), """{'answer': "Bob's"}""", "Bob's"),
        (LastLine(), "a\n\n 72 \n", "72"),
        (LastLine(), "It is\n\n72\n\nHope that helps!", "72"),
        (LastLine(), "```\n72\n```\n", "72"),
        (LastLine(), "It makes:\n\n- 250 ml", "250 ml"),
        (LastLine(), "-250 ml", "-250 ml"),
        (LastLine(), "Thanks!", "Thanks!"),
        (FirstThatFits((Boxed(), Phrase())), r"\boxed{5}, so the answer is 6", "5"),
        (AnswerTags(), "<answer>72</answer>, in <answer> </answer> tags", "72"),
        (Boxed(), r"\boxed{72}, in a \boxed{}", "72"),
        (Boxed(), r"\fbox{72}", "72"),
        (Boxed(), r"$\boxed 7.2$.", "7.2"),
        (Boxed(), r"so \boxed-72.", "-72"),
        (Boxed(), r"\boxed{5} and $\boxed7$", "5"),
        (Boxed(), r"in a \boxed form", None),
        (USUAL_STYLE.answer, "It goes into \\boxed{}.\nThe answer is 72.", "72"),
        (Hashes(), "#### Final Answer: 72", "72"),
        (Hashes(), "#### **The answer is 72**", "72"),
        (Hashes(), "#### Final answer\n72", "72"),
        (Phrase(), "The answer is:\n$$\n72\n$$", "72"),
        (Phrase(), "The answer is:\n\\[\n72\n\\]", "72"),
        (Phrase(), "The answer is:\n```python\n72\n```", "72"),
        (Phrase(), "Answer:\n - 72", "72"),
        (Phrase(), "Answer: -72", "-72"),
        (Phrase(), "Answer: - 72", "- 72"),
        (Phrase(), "**Final Answer**\n\n72\n\nHope it helps!", "72"),
        (Phrase(), "## Answer\n72 clips.", "72 clips"),
        (Phrase(), "#### Answer\nIt takes many words to say how many clips were sold in all, and why.", None),
        (Phrase(), "The answer to the question is 72.", "72"),
        (Phrase(), "The final answer (in clips) is 72.", "72"),
        (Phrase(), "The answer would be 72.", "72"),
        (Phrase(), "Final answer: 150\n\nNote: If both were reduced, the answer would be 200.", "150"),
        (Phrase(), "**Answer: 96**<|return|>", "96"),
        (
            Phrase(),
            "Answer: Tom sold 48 in April and half as many in May, which makes 72.",
            "Tom sold 48 in April and half as many in May, which makes 72",
        ),
        (Hashes(), "#### 72<|im_end|>\n", "72"),
        (MARKED_STYLE.answer, '7/2 = 3.5 {"final_answer": 3.5}', "3.5"),
        (Phrase(), "The answer must be $72.", "$72"),
        (Phrase(), "The answer is 72, and the answer should be in dollars.", "72, and the answer should be in dollars"),
        (Phrase(), "The answer should be rounded to 2 digits.", None),
        (Phrase(), "The final answer comes to 72", "72"),
        (Phrase(), "The answer equals 72.", "72"),
        (Phrase(), "<b>Answer:</b> 72", "72"),
        (Phrase(), r"\textbf{Answer: } 72", "72"),
        (MARKED_STYLE.answer, 'The answer is 71, no: {"answer": 72}', "72"),
        (MARKED_STYLE.answer, 'In the form {"answer": 71}: <answer>72</answer>', "72"),
        (Phrase(), "Answer — 72", "72"),
        (Phrase(), "Final answer → 72", "72"),
        (Phrase(), "Answer => **72**", "72"),
        (Phrase(), "so\nAns. 72", "72"),
        (Phrase(), "The result is therefore $x = 72$.", "$x = 72$"),
        (Phrase(), "3 * 4\n$x = 72$", "$x = 72$"),
        (Phrase(), "3 * 4\n\\( x = 72 \\).", "\\( x = 72 \\)"),
        (Phrase(), "3 * 4\n\\(a\\) or \\(b\\)", None),
        (Phrase(), "Die Antwort lautet 72.", "72"),
        (Phrase(), "La réponse est 72.", "72"),
        (Phrase(), "La respuesta es 72.", "72"),
        (Phrase(), "**Respuesta final:** 72", "72"),
        (Phrase(), "Die Antwort ist 72.", "72"),
        (Phrase(), "A resposta é 72.", "72"),
        (Phrase(), "Правильный ответ — 72.", "72"),
        (Phrase(), "所以答案是 72。", "72"),
        (Phrase(), "答案为72。", "72"),
        (Phrase(), "答えは72です。", "72"),
        (Phrase(), "정답은 72입니다.", "72"),
        (Phrase(), "الإجابة هي 72.", "72"),
        (Phrase(), "उत्तर है 72।", "72"),
        (Phrase(), "Speed times time = **150 miles**.", "150 miles"),
        (Phrase(), "It will be **Monday**.", "Monday"),
        (Phrase(), "So there are **6** multiples of 5 up to 30.", "6"),
        (Phrase(), "We use the **quadratic formula** here.", None),
        (Phrase(), "**Tom** went home.", None),
        (Phrase(), "20 + 80 = 100\n**Result: 9**", "9"),
        (Phrase(), "Three of them lie.\n\n**Charlotte**", "Charlotte"),
        (Phrase(), "42", "42"),
        (Phrase(), "3 * 4\n$\\frac{1}{2}$.", "$\\frac{1}{2}$"),
        (Phrase(), "40 + 2 = 42", None),
        (Phrase(), "So, 225 tiles are needed.", "225 tiles are needed"),
        (Phrase(), "Therefore, the number is 350.\n\nWould you like me to explain any of the 2 steps?", "350"),
        (Phrase(), "**36**\n\nLet me know if 3 more are wanted!", "36"),
        (Phrase(), "The probability is\n\\[\n\\frac{6}{36} = \\frac{1}{6}.\n\\]", "\\frac{6}{36} = \\frac{1}{6}"),
        (Phrase(), "Step 4: So there are 11 balls.", "11 balls"),
        (Phrase(), "First add 5. The product is 72.", "72"),
        (Phrase(), "The product is 3 more than 5.", None),
        (Phrase(), "The figure has 27 points.", None),
        (Phrase(), "Por lo tanto, la respuesta es **84 cajas**. ¡Espero que te sirva!", "84 cajas"),
        (MARKED_STYLE.answer, "There are <|begin_of_box|>23<|end_of_box|> left of 29.", "23"),
        (LastOf((Hashes(), Phrase())), "#### 5\nThe answer is 6", "6"),
        (Boxed(), r"$x = \boxed{3}$ and $\boxed{\frac{5}{2}}$.", r"3, \frac{5}{2}"),
        (Boxed(), r"\boxed{71}? No: \\boxed{72}", "72"),
        (Boxed(), r"\boxed{1} \text{, or } \boxed{2};\quad \boxed{3}", "1, 2, 3"),
        (Boxed(), r"\boxed{7}, \boxed{7}", "7"),
        (Boxed(), r"(a) \boxed{3}. (b) \boxed{5}", "5"),
        (Boxed(), r"\boxed{3}, so that \boxed{5}", "5"),
        (AnswerTags(), r"<answer>2+3=5, so \boxed{5}.</answer>", "5"),
        (AnswerTags(), "<answer>\nTwo and three.\n\n**Answer: 5**\n</answer>", "5"),
        (AnswerTags(), "<answer>Two and three.\n#### 5\n</answer>", "5"),
        (AnswerTags(), "<answer>x = 5\ny = 6</answer>", "x = 5\ny = 6"),
        (Phrase(), r"\textbf{Final Answer: 72}", "72"),
        (Phrase(), r"$\text{The answer is 72}$", "72"),
        (Phrase(), "<p><b>Answer: 72</b></p>", "72"),
        (Phrase(), "[The answer is 72]", "72"),
        (Phrase(), "_The answer is 72._", "72"),
        (Phrase(), "| Final answer: 72 |", "72"),
        (Phrase(), "The answer is (1, 2]", "(1, 2]"),
        (Phrase(), "(Since |a| < 1) the answer is |x|", "|x|"),
        (Phrase(), "The answer is f(x)", "f(x)"),
        (Phrase(), "The answer is 72 ∎", "72"),
        (Phrase(), r"The answer is 72. $\blacksquare$", "72"),
        (Hashes(), "#### 72 ✅", "72"),
        (Hashes(), "#### C#", "C#"),
        (LastLine(), "2+3\n=> 5", "5"),
        (LastLine(), "2+3\n### 5", "5"),
        (Phrase(), "התשובה היא 72.", "72"),
        (Phrase(), "The answer to this problem is 72 apples.", "72 apples"),
        (Phrase(), "The answer for his sister would be 72.", "72"),
        (Phrase(), "The answer remains 72.", "72"),
        (Phrase(), "The answer is 72. Check: 72-24 = 48, so the answer is correct.", "72"),
        (Phrase(), "The answer is 72.\n\nThe answer is already simplified.", "72"),
        (Phrase(), "The answer is 72.\nThe answer is in simplest form.", "72"),
        (Phrase(), "The answer is quadrant I? No, the answer is in quadrant II.", "in quadrant II"),
        (Phrase(), "Say the answer is x > 0. In fact the answer is given by x < 0.", "given by x < 0"),
        (Phrase(), "The answer is no triangle. No: the answer is right triangle.", "right triangle"),
        (Phrase(), "So the answer is 5. Wait, the answer is not 5.", "not 5"),
        (Phrase(), "For x = 2 the answer is 72. In all, the answer is not defined.", "not defined"),
        (Phrase(), "Is it right? The answer is right.", "right"),
        (Phrase(), "The answer is as follows:\n\n72", "72"),
        (Phrase(), "The answer is given below:\n**72**", "72"),
        (Phrase(), "The answer is 72, i.e. six dozen.", "72"),
        (Phrase(), "The answer is 72 — that is six dozen.", "72"),
        (Phrase(), "الجواب النهائي هو 72", "72"),
        (Phrase(), "Svaret är 72.", "72"),
        (MARKED_STYLE.answer, "5 + 6 = 11. উত্তর হল 11।", "11"),
        (MARKED_STYLE.answer, "উত্তর হলো 11।", "11"),
        (MARKED_STYLE.answer, "5 + 6 = 11. Jibu ni 11.", "11"),
        (MARKED_STYLE.answer, "5 + 6 = 11. సమాధానం 11.", "11"),
        (MARKED_STYLE.answer, "సమాధానం: **11**", "11"),
        (MARKED_STYLE.answer, "பதில்: 11", "11"),
        (MARKED_STYLE.answer, "अतः उत्तर 11 है", "11 है"),
        (MARKED_STYLE.answer, "پاسخ 11 است", "11 است"),
        (MARKED_STYLE.answer, "उत्तर दिशा में 11 घर", None),
        (MARKED_STYLE.answer, "Het uiteindelijke antwoord is 11.", "11"),
        (MARKED_STYLE.answer, "Ang sagot ay 11.", "11"),
        (MARKED_STYLE.answer, "Jawapannya ialah 11.", "11"),
        (MARKED_STYLE.answer, "Отговор: 11", "11"),
        (MARKED_STYLE.answer, "Odgovor je 11.", "11"),
        (MARKED_STYLE.answer, "Odpoveď: 11", "11"),
        (MARKED_STYLE.answer, "答案等于 11。", "11"),
        (MARKED_STYLE.answer, "答えは、11個です。", "11個"),
    ],
)
def test_answers_by_hand(answer, text, wanted):
    assert CompletionStyle(BeforeAnswer(), answer).answer_in(text) == wanted


@pytest.mark.parametrize("said", ["So it is 72", "A: 72", "Total: 72"])
def test_reasoning_that_was_cut_concludes_nothing(said):
    style, by_prompt = USUAL_STYLE, CompletionStyle(ReasoningTags(opened_by_prompt=True), USUAL_STYLE.answer)
    assert style.answer_in(f"<think>60 + 12\n{said}") is None
    assert by_prompt.answer_in(f"60 + 12\n{said}") is None
    assert style.answer_in(f"60 + 12\n{said}") == "72"
    assert by_prompt.answer_in(f"60 + 12</think>\n{said}") == "72"
    assert style.answer_in("<think>60 + 12\nThe answer is 72") == "72"


@pytest.mark.parametrize(
    "text",
    [
        "<think>1+2</think><answer>3</answer></answer>",
        "<think>is it <answer>4</answer>? no</think><answer>3</answer>",
        "<think>is it <answer>3</answer>?</think>",
        "1+2=3 <answer>3</answer>",
        "<think>1+2 <answer>3</answer>",
        "<think>1+2</think>\\boxed{3}. Check: {10}",
        "1+2 is 3\n#### 3",
        "So 1+2=3. Final answer: 3",
        "It is 1+2.\nSo the sum is 3, as it should be.",
        "It is 1+2.\nA: 3",
        "It is 1+2. Thus he has 3.",
        "<think>1+2</think>",
    ],
)
def test_what_is_paid_for_has_a_span(text, embedded_tokenizer):
    """Rewards and spans read the same answer, so that a rewarded completion has something to probe."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    letters = Tokenizer(models.BPE({c: i for i, c in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}, []))
    letters.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    letters.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=letters)
    rollout = ScriptedSampler({"q": [text]}, tokenizer)(["q"], 1)
    tagged = MathAnswer(style=USUAL_STYLE)
    paid = tagged(["q"], [text], [[]], answer=["3"])[0]
    assert paid == float(bool(rollout.answer_mask.any()))
    if paid:
        assert rollout.reasoning_mask.any()
        assert "".join(token_pieces(tokenizer, rollout.answer_ids[0][rollout.answer_mask[0]].tolist())) == "3"


def test_rewards_read_in_the_style_of_a_run():
    boxed = CompletionStyle(ReasoningTags("<r>", "</r>"), Boxed())
    own = ExactAnswer(style=CompletionStyle())
    rewards = in_style({"math": MathAnswer(), "own": own, "form": ThinkAnswerFormat(), "bare": len}, boxed)
    assert rewards["own"] is own
    assert rewards["bare"] is len
    text = r"<r>1+1</r> so \boxed{2}"
    assert rewards["math"](["q"], [text, "<answer>2</answer>"], [[], []], answer=["2", "2"]) == [1.0, 0.0]
    assert rewards["form"](["q"] * 3, [text, text + "</r>", r"\boxed{2}"], [[]] * 3) == [1.0, 0.0, 0.0]
    assert MathAnswer()(["q"], [r"\boxed{2}"], [[]], answer=["2"]) == [1.0], "alone, it reads the usual styles"
    opened = ThinkAnswerFormat(style=CompletionStyle(ReasoningTags(opened_by_prompt=True), AnswerTags("<a>", "</a>")))
    assert opened(["q"] * 2, ["1</think><a>2</a>", "<think>1</think><a>2</a>"], [[]] * 2) == [1.0, 0.0]
    plain = ThinkAnswerFormat(style=CompletionStyle(BeforeAnswer()))
    assert plain(["q"] * 2, ["1+1 <answer>2</answer>", "<answer>2</answer><answer>2</answer>"], [[]] * 2) == [1.0, 0.0]


@pytest.mark.parametrize("kind", [AnswerTags, ReasoningTags])
def test_empty_tags_are_refused(kind):
    with pytest.raises(ValueError, match="opening: got an empty text"):
        kind(opening="")
    with pytest.raises(ValueError, match="styles: got none"):
        FirstThatFits(())


def test_reading_is_linear():
    """Texts made to be slow: each kind of mark, twenty thousand times."""
    marks = [
        "<answer>",
        "\\boxed{",
        "{",
        '"answer":[',
        '"answer":"',
        "####",
        "#### ",
        "answer is",
        "answer ",
        "*",
        "\n",
        "\n- ",
        "$$\n",
        "```",
        "Answer\n",
        "answer to ",
        "\\boxed1",
        "<answer> </answer>",
        "<answer>a</answer>",
        "\\boxed{1}, ",
    ]
    texts = [mark * 20_000 for mark in marks]
    texts += [f"The answer is a{sign * 20_000}b" for sign in (" ", "=", "✅", "}")]
    for text in texts:
        for answer in EVERY:
            CompletionStyle(BeforeAnswer(), answer).read(text)


@pytest.mark.parametrize("brackets", ["()", "[]", "{}", "「」", "『』", "【】", "“”", "«»"])
def test_brackets_around_a_sentence_are_no_part_of_its_answer(brackets):
    text = f"so {brackets[0]}the answer is 72{brackets[1]}"
    found = Phrase().find(text)
    assert text[found.start : found.stop] == "72"
