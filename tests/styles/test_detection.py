"""The style that a few samples and prompts show."""

import pytest

from iapo.styles import (
    AnswerTags,
    BeforeAnswer,
    Boxed,
    Hashes,
    JsonField,
    LastLine,
    Phrase,
    ReasoningTags,
    detect_style,
)

THOUGHT = "<think>3+4=7</think>"


@pytest.mark.parametrize(
    ("samples", "prompts", "postfix", "closing"),
    [
        ([THOUGHT + "<answer>7</answer>"], [], "</think><answer>", "</answer>"),
        ([THOUGHT + "\n\n<answer>7</answer>"], [], "</think>\n\n<answer>", "</answer>"),
        (["3+4</think><answer>7</answer>"], ["q<think>\n"], "</think><answer>", "</answer>"),
        ([r"3+4 is \boxed{7}."], ["q<think>\n\n</think>\n\n"], " \\boxed{", "}"),
        (["<reasoning>3</reasoning>\n<solution>7</solution>"], [], "</reasoning>\n<solution>", "</solution>"),
        (["3+4\n#### 7"], [], "\n#### ", "\n"),
        (["3+4. The final answer is 7."], [], " The final answer is ", "."),
        (["3+4\nFinal answer: 7"], [], "\nFinal answer: ", "\n"),
        (["3+4.\n\n**Answer:** 7"], [], "\n\n**Answer:** ", "\n"),
        (["3+4.\n**Final Answer**: 7"], [], "\n**Final Answer**: ", "\n"),
        (["<think>3+4</think>\n\n***Answer:*** 7"], [], "</think>\n\n***Answer:*** ", "\n"),
        (["3+4.\n\nFinal Answer: **7**"], [], "\n\nFinal Answer: **", "**"),
        (["3+4.\n\n**Answer:**7"], [], "\n\n**Answer:**", "\n"),
        (["So **the answer is 7**"], [], "\nthe answer is ", "\n"),
        (["[THINK]3+4. The answer is 9?[/THINK]The answer is 7."], [], "[/THINK]The answer is ", "."),
        (['{"why": "3+4"}\n{"answer": 7}'], [], '\n{"answer": ', "}"),
        (['{"answer": "7"}'], [], '\n{"answer": "', '"}'),
        (["3+4\nis\n7"], [], "\n", "\n"),
        (["<THINK>3+4</THINK>\n<ANSWER>7</ANSWER>"], [], "</THINK>\n<ANSWER>", "</ANSWER>"),
        (["<think>3+4</think><Final_answer>7</Final_answer>"], [], "</think><Final_answer>", "</Final_answer>"),
        (["<seed:think>\\boxed{9}?</seed:think>The answer is 7."], [], "</seed:think>The answer is ", "."),
        (["◁think▷\\boxed{9}?◁/think▷The answer is 7."], [], "◁/think▷The answer is ", "."),
        (
            ["<|begin_of_thought|>\\boxed{9}?<|end_of_thought|>The answer is 7."],
            [],
            "<|end_of_thought|>The answer is ",
            ".",
        ),
        (
            [
                "<|channel|>analysis<|message|>3+4, \\boxed{9}?<|end|><|start|>assistant<|channel|>final<|message|>"
                "The answer is 7."
            ],
            [],
            "<|end|><|start|>assistant<|channel|>final<|message|>The answer is ",
            ".",
        ),
        ([THOUGHT + "\n\n7"], [], "</think>\n\n", "\n"),
        (["3+4 = 7\n</think>\n\n**7**"], ["q<think>\n"], "</think>\n\n", "\n"),
        ([THOUGHT + "\n\n<|begin_of_box|>7<|end_of_box|>"], [], "</think>\n\n<|begin_of_box|>", "<|end_of_box|>"),
        (
            [THOUGHT + "The answer is <|begin_of_box|>7<|end_of_box|>."],
            [],
            "</think><|begin_of_box|>",
            "<|end_of_box|>",
        ),
        (["<|START_THINKING|>\\boxed{9}?<|END_THINKING|>7"], [], "<|END_THINKING|>", "\n"),
        (
            ["<|START_THINKING|>9<|END_THINKING|><|START_RESPONSE|>7<|END_RESPONSE|>"],
            [],
            "<|END_THINKING|><|START_RESPONSE|>",
            "<|END_RESPONSE|>",
        ),
        (["<|channel>thought\n3+4<channel|>The answer is 7."], [], "<channel|>The answer is ", "."),
        (["3+4<channel|>The answer is 7."], ["q<|channel>thought\n"], "<channel|>The answer is ", "."),
        (
            ["<start_working_out>9<end_working_out><SOLUTION>7</SOLUTION>"],
            [],
            "<end_working_out><SOLUTION>",
            "</SOLUTION>",
        ),
        (["<inner_monologue>\\boxed{9}?</inner_monologue>\n<ans>7</ans>"], [], "</inner_monologue>\n<ans>", "</ans>"),
        (["\\boxed{9}?</work><answer>7</answer>"], ["q <work>\n"], "</work><answer>", "</answer>"),
        (["<think>3+4</think>\n\nSo it is \\boxed{7}."], [], "</think>\n\n\\boxed{", "}"),
        (['<think>3+4</think>{"final_answer": 7}'], [], '</think>{"final_answer": ', "}"),
        (['<think>3+4</think>{"Answer": "7"}'], [], '</think>{"Answer": "', '"}'),
        (['<think>3+4</think>\n{"result": 7}'], [], '</think>\n{"result": ', "}"),
        (["<reason>\\boxed{9}?</reason><answer>7</answer>"], [], "</reason><answer>", "</answer>"),
    ],
)
def test_styles_are_found_as_they_are_written(samples, prompts, postfix, closing):
    found = detect_style(samples * 3 + ["I do not know what to say about all of this"], prompts)
    assert (found.style.postfix, found.style.closing) == (postfix, closing)
    assert (found.fitting, found.samples) == (3, 4)
    assert all(found.style.answer_in(text) == "7" for text in samples)


def test_the_prompt_says_what_is_opened():
    assert detect_style(["a</think>\\boxed{1}"], ["x<think>\n"]).style.reasoning == ReasoningTags(opened_by_prompt=True)
    assert isinstance(detect_style(["\\boxed{1}"], ["x</think>\n"]).style.reasoning, BeforeAnswer)


def test_tags_of_any_name_are_known_by_what_the_prompts_end_with():
    found = detect_style(["\\boxed{9}?</work><answer>7</answer>"], ["q <work>\n"]).style
    assert found.reasoning == ReasoningTags("<work>", "</work>", opened_by_prompt=True)
    assert isinstance(detect_style(["so <answer>7</answer>"], ["q <assistant>\n"]).style.reasoning, BeforeAnswer)
    assert isinstance(detect_style(["<answer>7</answer>"]).style.reasoning, BeforeAnswer)


@pytest.mark.parametrize(
    ("text", "prompt"),
    [
        ("<b>Solution</b> 3+4 is 7. The answer is 7.", "q"),
        ("<p>It is 3+4, which is 7 in all.</p><p>The answer is 7.</p>", "q"),
        ("3+4 is 7. The answer is 7.</assistant>", "q <assistant>\n"),
        ('The tool says {"result": 5}. The answer is 7.', "q"),
    ],
)
def test_other_tags_and_fields_are_no_reasoning_and_no_answer(text, prompt):
    style = detect_style([text] * 4, [prompt] * 4).style
    assert isinstance(style.reasoning, BeforeAnswer)
    assert style.answer_in(text) == "7"


def test_a_summary_holds_the_answer_where_nothing_else_marks_one():
    assert (
        detect_style(["<summary>I added both.</summary>\nThe answer is 7."] * 4).style.answer_in("The answer is 7.")
        == "7"
    )
    summed = "<think>3+4</think><summary>7</summary>"
    assert detect_style([summed] * 4).style.answer_in(summed) == "7"


def test_specific_before_general():
    both = r"3+4=7. The answer is \boxed{7}."
    assert isinstance(detect_style([both, both, "The answer is 7."]).style.answer, Boxed)
    assert isinstance(detect_style([both, "The answer is 7.", "The answer is 8."]).style.answer, Phrase)
    assert isinstance(detect_style(["a\n#### 7"] + ["a\nb"] * 3).style.answer, Hashes), "a quarter is enough"
    assert isinstance(detect_style(["a\n#### 7"] + ["a\nb"] * 4).style.answer, LastLine)
    rare = detect_style(["a\n#### 7"] + ["a long line " * 20] * 20)
    assert (rare.style.postfix, rare.fitting) == ("\n#### ", 1), "a weak policy rarely answers"
    read = ["a\n#### 7", "So \\boxed{8}", "The answer is 9."]
    assert [rare.style.answer_in(text) for text in read] == ["7", "8", "9"], "one sample is too few to be sure"


def test_what_is_known_is_kept():
    found = detect_style(["3 <answer>7</answer>"], answer=JsonField(), reasoning=ReasoningTags())
    assert (found.style.answer, found.style.reasoning, found.fitting) == (JsonField(), ReasoningTags(), 0)


def test_a_line_is_alone_only_behind_reasoning_that_has_ended():
    with pytest.raises(ValueError, match="auto finds no answers"):
        detect_style(["7"] * 4)
    style = detect_style([THOUGHT + "\n7"] * 4).style
    assert style.answer_in(THOUGHT + "\nC") == "C"
    assert style.answer_in("<think>3+4 is") is None, "what was cut in its reasoning ends with no answer"


def test_nothing_fits():
    with pytest.raises(
        ValueError, match=r"answer_style: auto finds no answers in 2 samples .*'no'.*--answer_style tags"
    ):
        detect_style(["no", "a long line " * 20])
    with pytest.raises(ValueError, match="samples: got none"):
        detect_style([])


@pytest.mark.parametrize("end", ["</final>", "$$", "\\]", "\\end{align*}"])
def test_what_closes_something_is_no_last_line(end):
    with pytest.raises(ValueError, match="auto finds no answers"):
        detect_style([f"it is\n7\n{end}"] * 4)


def test_an_answer_behind_hashes_may_be_followed_by_courtesies():
    assert detect_style(["48\n#### 72\n\nHope this helps!"] * 4).style.answer == Hashes()


def test_of_two_kinds_of_reasoning_the_one_of_most_samples_is_taken():
    often, seldom = "<thought>1+1=2</thought><answer>2</answer>", "<think>1+1=2</think><answer>2</answer>"
    for samples in ([often] * 3 + [seldom] * 2, [seldom] * 2 + [often] * 3):
        assert detect_style(samples).style.reasoning == ReasoningTags("<thought>", "</thought>")


def test_a_quarter_is_enough_and_of_last_lines_a_half():
    rambles = "and then I add one more and one more " * 9
    tagged, hashed, line = "<think>1+1=2</think> <answer>2</answer>", "1+1=2\n#### 2", "1+1 is\n2"
    found = detect_style([tagged, *[rambles] * 3])
    assert (found.style.reasoning, found.style.answer, found.fitting) == (ReasoningTags(), AnswerTags(), 1)
    assert detect_style([hashed, line, line, line, *[rambles] * 4]).style.answer == LastLine()
    assert detect_style([hashed, line, line, *[rambles] * 5]).style.answer != LastLine()
    assert detect_style([hashed, line, line, line]).style.answer == Hashes()
