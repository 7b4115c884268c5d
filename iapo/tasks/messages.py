"""Prompts in one form each: a text, or chat messages whose contents are texts."""

import json
import re
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from iapo.ops.written_values import written_value

Message = dict[str, Any]
SYSTEM_ROLES = ("system", "developer")
ASSISTANT_ROLES = ("assistant", "model")
LastAssistant = Literal["refuse", "drop", "continue"]
"""What becomes of an assistant's message at the end of a prompt: an error, left out, or continued by the completion."""

_FORMS = (("role", "content"), ("from", "value"))
"""What messages have, those of this library's and of ShareGPT's form."""
_SHAREGPT_ROLES = {"human": "user", "gpt": "assistant"}
"""What two of ShareGPT's roles are called here; the others have their names."""
_ROLES = (*SYSTEM_ROLES, *ASSISTANT_ROLES, "user", "tool", "function", *_SHAREGPT_ROLES)
_BEGUN = re.compile(rf"""\s*(array\()?\[\s*\{{\s*["'](role|from)["']\s*:\s*["']({"|".join(_ROLES)})["']\s*,""")
"""How a text begins that holds messages."""
_ENDED = re.compile(r"\]\s*(,\s*dtype=object\s*)?\)?\s*$")
_WITH_MEANING = ("<super>", "<sub>", "<fraction>")
_LOOSE_SPACE = re.compile(r"(?<=\W) | (?=\W)")
_LONGEST = 1_000_000
"""Characters of messages as Python prints them that are read."""


def plain_prompt(prompt: Any, last_assistant: LastAssistant = "refuse") -> str | list[Message]:
    """A prompt as a text, or as messages whose contents are texts.

    A text that is a list of messages, in JSON or as Python or NumPy prints it, is read as the messages; a table without
    nesting has no other way to hold them. Lone surrogates, which no tokenizer takes, are replaced. Content parts
    ``{"type": "text", "text": ...}`` become one text; keys of messages that are ``None``, as a Parquet file fills them
    in, are left out. ShareGPT's ``{"from": "human", "value": ...}`` is a message of the user.

    Args:
        prompt: a text or a list of messages, each with ``role`` and ``content``, or with ``from`` and ``value``, or the
            text of such a list; bytes are text in UTF-8.
        last_assistant: what becomes of an assistant's message at the end.

    Raises:
        ValueError: anything else, an empty prompt, an image, a text that begins as messages do and cannot be read as
            such, or an assistant's message at the end, if that is refused.

    Example:
        >>> plain_prompt([{"role": "user", "content": [{"type": "text", "text": "1+1?"}], "name": None}])
        [{'role': 'user', 'content': '1+1?'}]
        >>> plain_prompt('[{"role": "user", "content": "1+1?"}]'), plain_prompt("[1, 2] has what sum?")
        ([{'role': 'user', 'content': '1+1?'}], '[1, 2] has what sum?')
    """
    prompt = prompt.tolist() if hasattr(prompt, "tolist") else prompt
    if isinstance(prompt, bytes):
        try:
            prompt = prompt.decode("utf-8")
        except UnicodeDecodeError as error:
            raise ValueError(f"is bytes that are no text in UTF-8 (at {error.start})") from error
    prompt = _written_messages(prompt) if isinstance(prompt, str) else prompt
    if isinstance(prompt, str):
        if not prompt:
            raise ValueError("is empty")
        return without_surrogates(prompt)
    if not isinstance(prompt, Sequence):
        raise ValueError(f"is of type {type(prompt).__name__}, want a text or a list of messages")
    messages = [_message(index, message) for index, message in enumerate(prompt)]
    if messages and messages[-1]["role"] in ASSISTANT_ROLES and last_assistant != "continue":
        if last_assistant == "refuse":
            raise ValueError(
                "ends with a message of the assistant, which the policy would read; --last_assistant drop leaves it "
                "out (a solution), --last_assistant continue lets completions go on from it"
            )
        while messages and messages[-1]["role"] in ASSISTANT_ROLES:
            messages = messages[:-1]
    asked = [message["content"] for message in messages if message["role"] == "user"]
    if not asked:
        roles = list(dict.fromkeys(message["role"] for message in messages))
        raise ValueError(f"has no message of the user: want one of the role 'user', got the roles {roles}")
    if not any(text.strip() for text in asked):
        raise ValueError("asks nothing: all messages of the user are empty")
    return messages


def problem_of(prompt: str | Sequence[Message]) -> str:
    """What a prompt asks: its text without system messages, spaces as one. Prompts that ask the same are one problem.

    Example:
        >>> problem_of([{"role": "system", "content": "Think."}, {"role": "user", "content": " 1+1?"}])
        '1+1?'
    """
    if isinstance(prompt, str):
        return " ".join(prompt.split())
    messages = [_message(index, message) for index, message in enumerate(prompt)]
    told = [(message["role"], " ".join(message["content"].split())) for message in messages]
    asked = [(role, text) for role, text in told if role not in SYSTEM_ROLES]
    return asked[0][1] if len(asked) == 1 else json.dumps(asked)


def problem_key(problem: str) -> str:
    """A key that problems share which differ in white space, case, the form of characters or invisible ones alone.

    White space between letters or digits counts, as one space; raised, lowered and fraction characters keep theirs.

    Args:
        problem: as `problem_of` gives it.

    Example:
        >>> problem_key("What is 3 + 4?") == problem_key("what is 3+4\uff1f\u200b")
        True
        >>> problem_key("3²") == problem_key("32"), problem_key("1 23") == problem_key("12 3")
        (False, False)
    """
    signs = (
        each if unicodedata.decomposition(each).startswith(_WITH_MEANING) else unicodedata.normalize("NFKC", each)
        for each in unicodedata.normalize("NFC", problem)
    )
    seen = "".join(each for each in "".join(signs).casefold() if each.isprintable() or each.isspace())
    return _LOOSE_SPACE.sub("", " ".join(seen.split())) or problem


def _written_messages(text: str) -> Any:
    """The messages that a text holds; the text itself if it holds none."""
    if text.lstrip().startswith("{"):
        one = written_value(text)
        is_one = isinstance(one, Mapping) and (_are_messages([one]) or _are_messages(one.get("messages")))
        return one if is_one else text
    if not _BEGUN.match(text):
        return text
    found = written_value(text, _LONGEST)
    if _are_messages(found):
        return found
    if found is None and not _begins_with_json(text) and (_ENDED.search(text) or "}]" not in text):
        raise ValueError(
            f"begins like messages, {text[:60]!r}, but is neither JSON nor a list as Python prints it (cut off, or a "
            "quote that is not escaped); write messages with json.dumps, or put a word before what is a text"
        )
    return text


def _begins_with_json(text: str) -> bool:
    """Whether a text is JSON, or more than JSON that it begins with."""
    try:
        json.JSONDecoder().raw_decode(text.lstrip())
    except (ValueError, RecursionError):
        return False
    return True


def _are_messages(value: Any) -> bool:
    """Whether a value is a list of mappings that are messages, or mean to be."""
    if not isinstance(value, list) or not value or not all(isinstance(each, Mapping) for each in value):
        return False
    return any(all(each.get(who) in _ROLES and what in each for each in value) for who, what in _FORMS)


def _message(index: int, message: Any) -> Message:
    message = _renamed(index, message) if isinstance(message, Mapping) else message
    if not isinstance(message, Mapping) or not isinstance(message.get("role"), str) or "content" not in message:
        got = sorted(map(str, message)) if isinstance(message, Mapping) else type(message).__name__
        raise ValueError(f"has a message {index} of {got}, want a mapping with role and content")
    return {key: value for key, value in message.items() if value is not None} | {
        "content": _text(index, message["content"])
    }


def _renamed(index: int, message: Mapping[Any, Any]) -> Mapping[Any, Any]:
    """A message of ShareGPT's form under the names of this library; others as they are."""
    role, content = _FORMS[1]
    who = message.get(role)
    if message.get("role") is not None or not isinstance(who, str) or content not in message:
        return message
    if who not in _ROLES:
        raise ValueError(f"has a message {index} from {who!r:.40}, want one from {', '.join(_ROLES)}")
    others = {key: value for key, value in message.items() if key not in (role, content)}
    return others | {"role": _SHAREGPT_ROLES.get(who, who), "content": message[content]}


def _text(index: int, content: Any) -> str:
    if content is None:
        return ""
    if isinstance(content, str):
        return without_surrogates(content)
    content = content.tolist() if hasattr(content, "tolist") else content
    texts = []
    for part in content if isinstance(content, Sequence) and not isinstance(content, bytes) else [content]:
        text = part.get("text") if isinstance(part, Mapping) else part
        if not isinstance(text, str) or (isinstance(part, Mapping) and part.get("type", "text") != "text"):
            kind = part.get("type") if isinstance(part, Mapping) else type(part).__name__
            raise ValueError(f"has a part of type {kind} in message {index}, want texts only")
        texts.append(without_surrogates(text))
    return "".join(texts)


def without_surrogates(text: str) -> str:
    """The text with lone surrogates, which no tokenizer takes, replaced by question marks."""
    return text.encode("utf-8", "replace").decode("utf-8")
