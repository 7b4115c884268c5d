"""What a tokenizer's chat template writes around messages: how its texts begin, how an answer ends, the date."""

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from inspect import signature
from typing import Any

_CONTENT, _ANSWER = "What is 1+1?", "It is 2."
"""Of messages that show how a chat template begins, and how it ends an answer."""

_DATE = re.compile(r"""strftime_now\(\s*(['"])(.*?)\1""")
"""A call with which a chat template writes the present date, and its format."""


def in_parts(messages: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Messages whose texts are lists of one part, the only form that the chat templates of some models read."""
    return [{**message, "content": [{"type": "text", "text": message["content"]}]} for message in messages]


def prints_parts(text: str) -> bool:
    """Whether a chat template that reads texts has printed a message of parts as Python does."""
    return "'type': 'text'" in text


def _shown(tokenizer: Any, messages: list[dict[str, Any]], add_generation_prompt: bool) -> str | None:
    """What the chat template makes of messages, as texts or in parts; ``None`` if it takes neither."""
    for form in (messages, in_parts(messages)):
        try:
            text = str(tokenizer.apply_chat_template(form, tokenize=False, add_generation_prompt=add_generation_prompt))
        except Exception:  # a template is code of others, and may refuse a system message
            continue
        if messages[-1]["content"] in text and not prints_parts(text):
            return text
    return None


def chat_openings(tokenizer: Any) -> tuple[str, ...]:
    """How the texts of the tokenizer's chat template begin, before what the first message says; none without one."""
    if tokenizer.chat_template is None:
        return ()
    user, system = ({"role": role, "content": _CONTENT} for role in ("user", "system"))
    openings = []
    for messages in ([user], [system, user]):
        text = _shown(tokenizer, messages, add_generation_prompt=True)
        if text is not None:
            openings.append(text.partition(_CONTENT)[0])
    return tuple(opening for opening in openings if opening)


def rendered_openings(tokenizer: Any) -> tuple[str, ...]:
    """What a text begins with if the chat template was applied to it already.

    The tokens of the tokenizer's own making (``<|im_start|>``) that open the template's texts, and signs that follow
    them (``[INST]``, where the beginning-of-sequence token was left out); of a template that opens without such a
    token, all that it writes before the first message.
    """
    openings = chat_openings(tokenizer)
    own = [token for token in tokenizer.get_added_vocab() if token.strip() and not token.isalnum()]
    tokens = tuple(token for token in own if any(token in opening for opening in openings))
    if not tokens:
        return openings
    behind = (re.sub(rf"^(?:{'|'.join(map(re.escape, tokens))})+", "", opening) for opening in openings)
    return tokens + tuple(text for text in behind if text.strip() and not text[0].isalnum() and not text[0].isspace())


def reads_option(tokenizer: Any, name: str) -> bool:
    """Whether an argument for the chat template is one of ``apply_chat_template``, or its name is in the template."""
    own = signature(tokenizer.apply_chat_template).parameters
    return name in own or re.search(rf"\b{re.escape(name)}\b", str(tokenizer.chat_template)) is not None


def date_in(text: str, tokenizer: Any) -> str | None:
    """The present date as the tokenizer's chat template has written it into a text; ``None`` if it has not."""
    formats = [found[2] for found in _DATE.finditer(str(tokenizer.chat_template))]
    return next((date for each in formats if (date := datetime.now().strftime(each)) in text), None)


def end_of_turn(tokenizer: Any) -> str | None:
    """The token of the tokenizer's own making with which its chat template ends an answer; ``None`` if it has none."""
    if tokenizer.chat_template is None:
        return None
    messages = [{"role": "user", "content": _CONTENT}, {"role": "assistant", "content": _ANSWER}]
    text = _shown(tokenizer, messages, add_generation_prompt=False)
    if text is None:
        return None
    behind = text.rpartition(_ANSWER)[2].lstrip()
    own = [token for token in tokenizer.get_added_vocab() if token.strip() and behind.startswith(token)]
    return max(own, key=len, default=None)
