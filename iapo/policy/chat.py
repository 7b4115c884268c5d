"""What a tokenizer's chat template writes around messages: how its texts begin, how an answer ends, the date."""

import re
from datetime import datetime
from inspect import signature
from typing import Any

_CONTENT, _ANSWER = "What is 1+1?", "It is 2."
"""Of messages that show how a chat template begins, and how it ends an answer."""

_DATE = re.compile(r"""strftime_now\(\s*(['"])(.*?)\1""")
"""A call with which a chat template writes the present date, and its format."""


def chat_openings(tokenizer: Any) -> tuple[str, ...]:
    """How the texts of the tokenizer's chat template begin, before what the first message says; none without one."""
    if tokenizer.chat_template is None:
        return ()
    user, system = ({"role": role, "content": _CONTENT} for role in ("user", "system"))
    openings = []
    for messages in ([user], [system, user]):
        try:
            text = str(tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True))
        except Exception:  # a template is code of others, and may refuse a system message
            continue
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
    try:
        _, answer, behind = str(tokenizer.apply_chat_template(messages, tokenize=False)).rpartition(_ANSWER)
    except Exception:  # a template is code of others
        return None
    own = [token for token in tokenizer.get_added_vocab() if token.strip() and behind.lstrip().startswith(token)]
    return max(own, key=len, default=None) if answer else None
