"""What is said of the prompts that are sent."""

import copy
import re
from datetime import datetime

import pytest

from iapo.policy.chat import end_of_turn
from iapo.rollout import ScriptedSampler
from iapo.training.configuration.problem_source import ProblemSource
from iapo.training.setup.prompt_notes import print_end_of_turn, print_prompt, print_unread_options

TURN = "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}"
DATED = (
    "{% if date_string is not defined %}{% set date_string = strftime_now('%d %b %Y') %}{% endif %}{{ date_string }}"
)
THINKING = "{% if enable_thinking %}<think>{% endif %}"
TODAY = datetime.now().strftime("%d %b %Y")


@pytest.mark.parametrize(
    ("before", "options", "told"),
    [
        (DATED, None, f"""{TODAY}, so that .*--chat_template_kwargs '{{date_string: "{TODAY}"}}' keeps this one"""),
        ('{{ strftime_now( "%Y-%m-%d") }}', None, "writes the date, [0-9]{4}-.* needs --override\n"),
        (DATED, {"date_string": "26 Jul 2024"}, None),
        (DATED, {"date_string": TODAY}, None),
        ("26 Jul 2024", None, None),
    ],
)
def test_a_chat_template_that_writes_the_date_is_told(embedded_tokenizer, capsys, before, options, told):
    tokenizer = copy.deepcopy(embedded_tokenizer)
    tokenizer.chat_template = before + TURN
    problems = ProblemSource(chat_template_kwargs=options)
    print_prompt(problems.render([{"prompt": "1+1="}], tokenizer)[0], tokenizer, problems)
    message = capsys.readouterr().err
    assert message.startswith("prompt: '")
    assert ("writes the date" in message) == (told is not None)
    assert told is None or re.search(told, message)


@pytest.mark.parametrize(
    ("template", "flags", "of_row", "unread"),
    [
        (THINKING + TURN, {"chat_template_kwargs": {"enable_thinking": False}}, {}, None),
        (THINKING + TURN, {"chat_template_kwargs": {"tools": None}}, {}, None),
        (THINKING + TURN, {}, {}, None),
        (THINKING + TURN, {}, {"enable_thinking": True, "thinking": None}, None),
        (
            THINKING + TURN,
            {"chat_template_kwargs": {"enable_thinking": False}},
            '{"thinking": false}',
            r"thinking of the data's chat_template_kwargs \(by the model's chat template\)",
        ),
        (
            THINKING + TURN,
            {"chat_template_kwargs": {"enable_thinking": False, "thinking": True, "x(": 1}},
            {},
            r"thinking, x\( of --chat_template_kwargs \(by the model's chat template\)",
        ),
        (
            None,
            {"chat_template_kwargs": {"enable_thinking": False}},
            {},
            r"enable_thinking of --chat_template_kwargs \(the model has no chat template\)",
        ),
        (
            THINKING + TURN,
            {"chat_template": "none", "chat_template_kwargs": {"enable_thinking": False}},
            {},
            r"enable_thinking of --chat_template_kwargs \(without the model's chat template\)",
        ),
    ],
)
def test_an_argument_that_no_chat_template_reads_is_told(embedded_tokenizer, capsys, template, flags, of_row, unread):
    tokenizer = copy.deepcopy(embedded_tokenizer)
    tokenizer.chat_template = template
    problems, rows = ProblemSource(**flags), [{"prompt": "1+1="}, {"prompt": "1+2=", "chat_template_kwargs": of_row}]
    print_unread_options(problems.render(rows, tokenizer), tokenizer, problems)
    message = capsys.readouterr().err
    assert ("nothing reads" in message) == (unread is not None)
    assert unread is None or re.search(f"prompt: nothing reads {unread}; want names", message)


@pytest.mark.parametrize(
    ("behind", "ends", "stop", "flags", "told"),
    [
        ("<|im_end|>\n", [], (), {}, True),
        ("\n<|im_end|>", [], (), {}, True),
        ("<|im_end|>\n", ["<|im_end|>"], (), {}, False),
        ("<|im_end|>\n", [], ("<|im_end|>",), {}, False),
        ("<|im_end|>\n", [], (), {"chat_template": "none"}, False),
        ("\n", [], (), {}, False),
    ],
)
def test_an_end_of_turn_that_ends_no_completion_is_told(embedded_tokenizer, capsys, behind, ends, stop, flags, told):
    tokenizer = copy.deepcopy(embedded_tokenizer)
    tokenizer.add_tokens(["<|im_end|>", "<|im"])
    tokenizer.chat_template = "{% for m in messages %}<{{ m.role }}>{{ m.content }}" + behind + "{% endfor %}"
    sampler = ScriptedSampler({}, tokenizer)
    object.__setattr__(sampler, "eos_ids", (tokenizer.eos_token_id, *map(tokenizer.convert_tokens_to_ids, ends)))
    object.__setattr__(sampler, "stop", stop)
    problems = ProblemSource(**flags)
    print_end_of_turn(problems.render([{"prompt": "1+1="}], tokenizer)[0], tokenizer, problems, sampler)
    message = capsys.readouterr().err
    assert message.count("--sampler.stop '<|im_end|>' ends them there") == told
    assert bool(message) == told


@pytest.mark.parametrize(
    ("ends", "stop", "told"), [((), (), True), ((), ("Q:",), False), ((2,), (), False), (None, (), False)]
)
def test_that_nothing_ends_a_completion_is_told(embedded_tokenizer, capsys, ends, stop, told):
    sampler = ScriptedSampler({}, embedded_tokenizer)
    if ends is not None:
        object.__setattr__(sampler, "eos_ids", ends)
    object.__setattr__(sampler, "stop", stop)
    print_end_of_turn({"prompt": "1+1="}, embedded_tokenizer, ProblemSource(), sampler)
    message = capsys.readouterr().err
    assert message.startswith("prompt: neither the tokenizer nor the model") == told
    assert bool(message) == told


def test_a_chat_template_that_refuses_an_answer_has_no_end_of_turn(embedded_tokenizer):
    tokenizer = copy.deepcopy(embedded_tokenizer)
    assert end_of_turn(tokenizer) is None
    tokenizer.chat_template = "{{ raise_exception('no') }}"
    assert end_of_turn(tokenizer) is None
