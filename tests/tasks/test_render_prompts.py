"""Prompts through templates and chat templates."""

import pytest
from transformers import AutoTokenizer

from iapo.embedded import model_path
from iapo.tasks import render_prompts

TEMPLATE = (
    "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}{% if add_generation_prompt %}<a>{% endif %}"
)


def test_rendering() -> None:
    plain, chat = (AutoTokenizer.from_pretrained(model_path()) for _ in range(2))
    chat.chat_template = TEMPLATE
    text, messages = (
        [{"prompt": "2+2", "answer": "4"}],
        [{"prompt": [{"role": "user", "content": "hi"}], "answer": "x"}],
    )

    def rendered(*arguments: object) -> str:
        rows = render_prompts(*arguments)  # type: ignore[arg-type]
        assert set(rows[0]) == {"prompt", "answer"}
        return rows[0]["prompt"]

    assert rendered(text, plain) == rendered(text, chat) == "2+2"
    assert rendered(text, plain, "Think.") == "Think.\n\n2+2"
    assert rendered(text, chat, "Think.") == "<system>Think.<user>2+2<a>"
    assert rendered(text, chat, "") == "<user>2+2<a>"
    assert rendered(text, plain, "") == "2+2"
    assert rendered(messages, chat) == "<user>hi<a>"
    assert rendered(messages, chat, "Think.") == "<system>Think.<user>hi<a>"
    assert rendered(text, plain, None, r"{prompt}={0}{prompt.__class__} \boxed{}") == (
        r"2+2={0}{prompt.__class__} \boxed{}"
    )
    assert messages[0]["prompt"] == [{"role": "user", "content": "hi"}]
    with pytest.raises(ValueError, match="no chat template"):
        rendered(messages, plain)
    with pytest.raises(ValueError, match="prompt_template: got 'x'"):
        rendered(text, plain, None, "x")
