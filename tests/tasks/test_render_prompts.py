"""Prompts through templates and chat templates."""

import json
from typing import Any

import numpy as np
import pytest
from transformers import AutoTokenizer

from iapo.embedded import model_path
from iapo.policy.chat import chat_openings
from iapo.tasks import render_prompts
from iapo.tasks.messages import plain_prompt

TEMPLATE = (
    "{% if messages[0].role == 'system' and refuse %}{{ raise_exception('System role not supported') }}{% endif %}"
    "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}"
    "{% if add_generation_prompt %}<a>{% if think is defined and not think %}<off>{% endif %}{% endif %}"
)
IGNORES_SYSTEM = "{% for m in messages if m.role != 'system' %}{{ m.content }}{% endfor %}"
HI = [{"role": "user", "content": "hi"}]
TALK = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "a"},
    {"role": "assistant", "content": "b"},
    {"role": "user", "content": "c"},
]
SOLVED = [*HI, {"role": "assistant", "content": "It is 4."}]


@pytest.fixture
def plain() -> Any:
    """A tokenizer without a chat template."""
    return AutoTokenizer.from_pretrained(model_path())


@pytest.fixture
def chat(plain: Any) -> Any:
    """A tokenizer with one."""
    plain.chat_template = TEMPLATE
    return plain


def rendered(prompt: Any, tokenizer: Any, *arguments: Any, **options: Any) -> str:
    rows = render_prompts([{"prompt": prompt, "answer": "x"}], tokenizer, *arguments, **options)
    return str(rows[0]["prompt"])


def test_texts_without_a_chat_template(plain: Any) -> None:
    assert rendered("2+2", plain) == "2+2"
    assert rendered("2+2", plain, "Think.") == "Think.\n\n2+2"
    assert rendered("2+2", plain, "") == "2+2"
    assert rendered("2+2", plain, None, r"{prompt}={0}{prompt.__class__} \boxed{}") == (
        r"2+2={0}{prompt.__class__} \boxed{}"
    )
    with pytest.raises(ValueError, match="prompt of row 0 is messages, but the tokenizer has no chat template"):
        rendered(HI, plain)
    with pytest.raises(ValueError, match="prompt_template: got 'x'"):
        rendered("2+2", plain, None, "x")


def test_texts_and_messages_through_a_chat_template(chat: Any) -> None:
    assert rendered("2+2", chat) == "<user>2+2<a>"
    assert rendered("2+2", chat, chat_template="none") == "2+2"
    assert rendered("2+2", chat, "Think.", chat_template="none") == "Think.\n\n2+2"
    assert rendered("2+2", chat, "Think.") == "<system>Think.<user>2+2<a>"
    assert rendered("2+2", chat, "") == "<user>2+2<a>"
    assert rendered(HI, chat) == "<user>hi<a>"
    assert rendered(HI, chat, "Think.") == "<system>Think.<user>hi<a>"
    assert rendered(TALK, chat) == "<system>Be brief.<user>a<assistant>b<user>c<a>"


def test_a_system_prompt_takes_the_place_of_that_of_the_data(chat: Any) -> None:
    assert rendered(TALK, chat, "Think.") == "<system>Think.<user>a<assistant>b<user>c<a>"
    assert rendered(TALK, chat, "") == "<user>a<assistant>b<user>c<a>"


def test_a_template_is_around_the_last_message_of_the_user(chat: Any) -> None:
    assert rendered(HI, chat, None, "Q: {prompt}!") == "<user>Q: hi!<a>"
    assert rendered(TALK, chat, None, "Q: {prompt}!") == "<system>Be brief.<user>a<assistant>b<user>Q: c!<a>"


def test_content_parts_are_text(chat: Any) -> None:
    parts = [{"type": "text", "text": "h", "image": None}, {"type": "text", "text": "i", "image": None}]
    assert rendered([{"role": "user", "content": parts, "name": None}], chat) == "<user>hi<a>"
    image = [{"role": "user", "content": [{"type": "image", "image": "x.png"}, {"type": "text", "text": "?"}]}]
    with pytest.raises(ValueError, match="row 0 has a part of type image in message 0, want texts only"):
        rendered(image, chat)


def test_an_assistants_message_at_the_end_is_refused_dropped_or_continued(chat: Any) -> None:
    with pytest.raises(ValueError, match=r"row 0 ends with a message of the assistant.*--last_assistant drop"):
        rendered(SOLVED, chat)
    assert rendered(SOLVED, chat, last_assistant="drop") == "<user>hi<a>"
    assert rendered(SOLVED, chat, last_assistant="continue") == "<user>hi<assistant>It is 4."
    assert rendered([*HI, {**SOLVED[-1], "role": "model"}], chat, last_assistant="continue") == (
        "<user>hi<model>It is 4."
    )


def test_arguments_of_the_chat_template_from_the_call_and_from_the_row(chat: Any) -> None:
    rows = [{"prompt": HI}, {"prompt": HI, "chat_template_kwargs": {"think": True}}]
    texts = [row["prompt"] for row in render_prompts(rows, chat, chat_template_kwargs={"think": False})]
    assert texts == ["<user>hi<a><off>", "<user>hi<a>"]


@pytest.mark.parametrize(
    ("template", "options", "message"),
    [
        (
            TEMPLATE,
            {"refuse": True},
            r"row 7 is refused by .* \(TemplateError: System role not supported\).*prompt_templ",
        ),
        (IGNORES_SYSTEM, {}, "row 7 is rendered without the system prompt.*prompt_template"),
    ],
)
def test_a_template_that_refuses_or_ignores_a_system_message(
    plain: Any, template: str, options: dict[str, Any], message: str
) -> None:
    plain.chat_template = template
    with pytest.raises(ValueError, match=message) as caught:
        render_prompts([{"prompt": HI}], plain, "Think.", None, options, numbers=[7])
    assert "\n" not in str(caught.value)


def test_a_refusal_of_other_messages_speaks_of_no_system_prompt(plain: Any) -> None:
    plain.chat_template = "{{ raise_exception('roles must alternate') }}"
    with pytest.raises(ValueError, match=r"roles \['user', 'user'\]; give messages that it renders, or a tokenizer"):
        rendered([*HI, *HI], plain)
    with pytest.raises(
        ValueError, match=r"roles \['developer', 'user'\]; a system prompt can stand in prompt_template"
    ):
        rendered([{"role": "developer", "content": "x"}, *HI], plain)


IN_PARTS = [
    "{% for m in messages %}<{{ m.role }}>{{ m.content[0].text }}{% endfor %}",
    "{% for m in messages %}<{{ m.role }}>{% for part in m.content %}{{ part.text }}{% endfor %}{% endfor %}",
    "{% for m in messages %}<{{ m.role }}>{{ m.content[0]['text'] + '' }}{% endfor %}",
]


@pytest.mark.parametrize("template", IN_PARTS)
def test_a_template_that_reads_parts_alone_gets_them(plain: Any, template: str) -> None:
    plain.chat_template = template
    assert rendered(HI, plain, "Think.") == "<system>Think.<user>hi"
    assert rendered("hi", plain) == "<user>hi"
    assert chat_openings(plain) == ("<user>", "<system>")
    plain.chat_template = "{{ messages[0].content is string or messages[0].content }}"
    with pytest.raises(ValueError, match=r"rendered without the message 'hi' of the user.*--chat_template none"):
        rendered(HI, plain)


def test_of_several_chat_templates_without_a_default_one_is_named(plain: Any) -> None:
    plain.chat_template = {"chat": TEMPLATE, "tool_use": "x"}
    with pytest.raises(ValueError, match=r"--chat_template_kwargs '{chat_template: chat}'"):
        rendered(HI, plain)
    assert rendered(HI, plain, None, None, {"chat_template": "chat"}) == "<user>hi<a>"
    plain.chat_template = {"default": TEMPLATE, "tool_use": "x"}
    assert rendered(HI, plain) == "<user>hi<a>"


LAST_ONLY = "{{ messages[-1].content }}"
TRIMS = "{% for m in messages %}<{{ m.role }}>{{ m.content | trim | replace('\\n', ' ') }}{% endfor %}"


def test_a_message_of_the_data_that_the_template_drops_is_an_error(plain: Any) -> None:
    plain.chat_template = IGNORES_SYSTEM
    with pytest.raises(ValueError, match=r"row 0 is rendered without the system message 'Be brief\.'.*--system_prompt"):
        rendered(TALK, plain)
    assert rendered(TALK, plain, "") == "abc"
    plain.chat_template = LAST_ONLY
    with pytest.raises(ValueError, match="row 0 is rendered without the message 'first' of the user"):
        rendered([{"role": "user", "content": "first"}, *TALK[2:]], plain)
    plain.chat_template = TRIMS
    assert rendered([{"role": "system", "content": " Be\nbrief. "}, *HI], plain) == "<system>Be brief.<user>hi"


@pytest.mark.parametrize("given", ['{"think": true}', '{"think": true, "other": null}', {"think": True}])
def test_arguments_of_the_chat_template_may_be_json_of_a_table(chat: Any, given: Any) -> None:
    rows = [{"prompt": HI, "chat_template_kwargs": given}, {"prompt": HI, "chat_template_kwargs": ""}]
    texts = [row["prompt"] for row in render_prompts(rows, chat, chat_template_kwargs={"think": False})]
    assert texts == ["<user>hi<a>", "<user>hi<a><off>"]


@pytest.mark.parametrize("given", ["{think: true}", "[1]", "true", 3, ["x"]])
def test_arguments_of_the_chat_template_that_are_no_mapping_are_named(chat: Any, given: Any) -> None:
    with pytest.raises(ValueError, match=r"the prompt of row 0 has chat_template_kwargs .*want a mapping, or"):
        render_prompts([{"prompt": HI, "chat_template_kwargs": given}], chat)


@pytest.mark.parametrize(
    ("prompt", "message"),
    [
        ("", "is empty"),
        (4, "is of type int, want a text or a list of messages"),
        (["hi"], "has a message 0 of str, want a mapping with role and content"),
        ([{"from": "observation", "value": "3"}], "has a message 0 from 'observation', want one from system, .*, gpt"),
        ([{"from": "human", "text": "hi"}], r"has a message 0 of \['from', 'text'\]"),
        ([{"from": "system", "value": "x"}], r"has no message of the user: .*got the roles \['system'\]"),
        ([{"from": "human", "value": "1+1?"}, {"from": "gpt", "value": "2"}], "ends with a message of the assistant"),
        ([{"role": "system", "content": "x"}], r"has no message of the user: .*got the roles \['system'\]"),
        ([{"role": "User", "content": "x"}], r"has no message of the user: want .* 'user', got the roles \['User'\]"),
        ([{"role": "user", "content": None}], "asks nothing: all messages of the user are empty"),
        ([{"role": "system", "content": "x"}, {"role": "user", "content": [{"text": " "}]}], "asks nothing"),
    ],
)
def test_what_is_no_prompt_is_named(chat: Any, prompt: Any, message: str) -> None:
    with pytest.raises(ValueError, match=f"data: the prompt of row 0 {message}"):
        rendered(prompt, chat)


SAID = [
    {"role": "system", "content": 'Be \n} \n{ "brief".'},
    {"role": "user", "content": [{"type": "text", "text": "it's"}]},
]


@pytest.mark.parametrize(
    "write",
    [
        json.dumps,
        repr,
        lambda messages: "\n " + json.dumps(messages, indent=1),
        lambda messages: str(np.array(messages, dtype=object)),
        lambda messages: repr(np.array(messages, dtype=object)),
        lambda messages: np.array(messages, dtype=object),
        lambda messages: [{**each, "content": np.array(each["content"], dtype=object)} for each in messages],
    ],
)
def test_messages_may_be_the_text_of_a_table_or_arrays(write: Any) -> None:
    assert plain_prompt(write(SAID)) == [SAID[0], {"role": "user", "content": "it's"}]


@pytest.mark.parametrize(
    "text",
    [
        "[1, 2] has what sum?",
        "[1, 2]",
        "[INST] 1+1? [/INST]",
        '{"a": 3}',
        '[{"role": "admin"}, {"role": "guest"}]',
        '[{"role": "user", "content": "hi"}] How many messages are these?',
        "[]",
        '[{"x": 1}',
        "[{'value': x} for x in range(3)]\nWhat does this evaluate to?",
        '[{"value": 1}, {"value": 2},]\nMend this JSON.',
        "[{'from': a, 'to': b} for a, b in edges] How many?",
        "[{'role': 'user', 'content': 'a'}][0]['role'] == ?",
        '[{"from": "Paris", "to": "Rome", "value": 3}]',
        '{"from": "EUR", "to": "USD", "value": 3}',
        '{"role": "wizard", "content": "a spell book"}',
        '{"role": ["user"], "content": "x"}',
    ],
)
def test_a_text_that_begins_like_a_list_stays_a_text(text: str) -> None:
    assert plain_prompt(text) == text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (json.dumps(SAID)[:-9], r"begins like messages, '\[\{\"role\": .*json\.dumps, or put a word before"),
        ('[{"role": "user", "content": "a "b" c"}]', "begins like messages, .* a quote that is not escaped"),
        (json.dumps(SAID[0]), "is of type dict, want a text or a list of messages"),
        (json.dumps({"messages": SAID}), "is of type dict, want a text or a list of messages"),
        ('[{"from": "gpt", "value": "hi"}]', "ends with a message of the assistant"),
        (json.dumps(SAID[:1]), "has no message of the user"),
    ],
)
def test_a_text_that_means_to_be_messages_and_is_none_is_named(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        plain_prompt(text)
    assert "\n" not in str(caught.value)


SHAREGPT = [
    {"from": "system", "value": "Brief.", "role": None, "weight": 0},
    {"from": "human", "value": [{"type": "text", "text": "1+1?"}]},
    {"from": "gpt", "value": "2"},
    {"from": "user", "value": "2+2?"},
    {"from": "assistant", "value": "4"},
]


@pytest.mark.parametrize("write", [lambda messages: messages, json.dumps, repr])
def test_conversations_of_sharegpt_are_messages(write: Any) -> None:
    found = plain_prompt(write(SHAREGPT), last_assistant="drop")
    assert found == [
        {"role": "system", "content": "Brief.", "weight": 0},
        {"role": "user", "content": "1+1?"},
        {"role": "assistant", "content": "2"},
        {"role": "user", "content": "2+2?"},
    ]


def test_messages_stay_beside_the_text_for_rewards(chat: Any) -> None:
    (row,) = render_prompts([{"prompt": HI, "answer": "x"}], chat, "Think.")
    assert row["prompt_messages"] == [{"role": "system", "content": "Think."}, *HI]
    assert set(render_prompts([{"prompt": "hi", "answer": "x"}], chat, "Think.")[0]) == {"prompt", "answer"}
    assert HI == [{"role": "user", "content": "hi"}]


def test_all_of_a_solution_at_the_end_is_dropped() -> None:
    asked = {"role": "user", "content": "1+1?"}
    for role in ("assistant", "model"):
        prompt = [asked, *[{"role": role, "content": "2"}] * 2]
        assert plain_prompt(prompt, "drop") == [asked]
        with pytest.raises(ValueError, match="ends with a message of the assistant"):
            plain_prompt(prompt)


def turns(begin: str, user: str, behind: str) -> str:
    """A chat template of one kind of turns."""
    return f"{{{{ {begin!r} }}}}{{% for m in messages %}}{user}{{{{ m.content }}}}{behind}{{% endfor %}}"


@pytest.mark.parametrize(
    ("template", "text"),
    [
        (turns("", "<think>{{ m.role }}: ", "</think>"), "<think>user: hi</think>"),
        (turns("<think>", "[INST] ", " [/INST]"), "<think>[INST] hi [/INST]"),
        (turns("<think>", "[INST] ", " [/INST]"), "[INST] hi [/INST]"),
        (turns("", "<|{{ m.role }}|>", "<|assistant|>"), "<|user|>hi<|assistant|>"),
    ],
)
def test_a_text_that_is_rendered_already_stays_and_nothing_is_put_around_it(
    plain: Any, template: str, text: str
) -> None:
    """With the token ``<think>`` of the tokenizer's own, as ``<s>`` or ``<|im_start|>`` is of others."""
    plain.add_tokens(["<think>"])
    plain.chat_template = template
    assert rendered(text, plain) == text
    for options in ({"template": "Q: {prompt}"}, {"template": text + "{prompt}"}, {"system_prompt": "Think."}):
        with pytest.raises(ValueError, match=r"row 0 begins with .* was applied already.*--prompt_template"):
            rendered(text, plain, **options)
    assert rendered("hi", plain, template=text.replace("hi", "{prompt}")) == text, "a template may write it all"


def test_what_merely_begins_with_a_word_of_a_template_is_a_problem(plain: Any) -> None:
    plain.add_tokens(["<think>"])
    plain.chat_template = turns("<think>", "Question: ", "")
    assert rendered("Question: 2+2?", plain) == "<think>Question: Question: 2+2?"
