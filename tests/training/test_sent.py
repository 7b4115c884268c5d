"""What is said of the prompts that are sent."""

import copy
import re
from datetime import datetime

import pytest

from iapo.training.sent import tell_prompt
from iapo.training.settings import ProblemSource

TURN = "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}"
DATED = (
    "{% if date_string is not defined %}{% set date_string = strftime_now('%d %b %Y') %}{% endif %}{{ date_string }}"
)
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
    tell_prompt(problems.render([{"prompt": "1+1="}], tokenizer)[0], tokenizer, problems)
    message = capsys.readouterr().err
    assert message.startswith("prompt: '")
    assert ("writes the date" in message) == (told is not None)
    assert told is None or re.search(told, message)
