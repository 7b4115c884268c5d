"""Prompts as the policy reads them: templates and chat templates."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from iapo.interfaces import PROMPT_MESSAGES
from iapo.ops.arguments import arguments_named
from iapo.policy.chat import in_parts, prints_parts, rendered_openings
from iapo.tasks.few_shot import TEMPLATE, Example, as_text, as_turns
from iapo.tasks.interface import Row
from iapo.tasks.messages import ASSISTANT_ROLES, SYSTEM_ROLES, LastAssistant, Message, plain_prompt

ChatTemplate = Literal["auto", "none"]
"""Whether texts go through the tokenizer's chat template: where it has one, or not at all."""


@arguments_named
def render_prompts(
    rows: Sequence[Row],
    tokenizer: Any,
    system_prompt: str | None = None,
    template: str | None = None,
    chat_template_kwargs: Mapping[str, Any] | None = None,
    last_assistant: LastAssistant = "refuse",
    numbers: Sequence[object] | None = None,
    chat_template: ChatTemplate = "auto",
    examples: Sequence[Example] = (),
) -> list[Row]:
    """Rows whose ``prompt`` is the text that the model reads.

    A text goes through the tokenizer's chat template as the message of a user, unless it begins as that template begins
    its texts: then it is rendered already. Of a prompt that is messages, the column ``prompt_messages`` has the
    messages that the text was made of, which rewards get as prompts.

    Args:
        rows: prompts are texts or lists of chat messages. A column ``chat_template_kwargs``, of mappings or of
            their texts in JSON, adds to the argument.
        tokenizer: of the model.
        system_prompt: put before the problem, in place of a system message that it has. Empty: a chat without a system
            message.
        template: text in which ``{prompt}`` stands for the problem, of messages for the last one of the user.
        chat_template_kwargs: further arguments of the chat template, such as ``enable_thinking``.
        last_assistant: what becomes of an assistant's message at the end of a prompt.
        numbers: of the rows in the data, for errors; ``None``: their places in ``rows``.
        chat_template: ``none`` leaves texts as they are.
        examples: solved problems before each problem: turns of the chat where a chat template is applied, else text.

    Raises:
        ValueError: a template without ``{prompt}``, messages without a chat template, a system prompt, a template or
            examples for a text that is rendered already, or a prompt that is not as
            `iapo.tasks.messages.plain_prompt` wants it, that the chat template refuses, or of which it leaves out a
            message of the system or of the user, or ``chat_template_kwargs`` that are no mapping; the row is named.
    """
    if template is not None and "{prompt}" not in template:
        raise ValueError(f"prompt_template: got {template!r}, want a text with {{prompt}} in it")
    chat = applies_chat(tokenizer, chat_template)
    if examples and template is None and not chat:
        template = TEMPLATE
    before, turns = as_text(examples, template), as_turns(examples, template)
    openings = rendered_openings(tokenizer) if chat else ()

    def render(row: Row) -> Row:
        prompt = plain_prompt(row["prompt"], last_assistant)
        if isinstance(prompt, str):
            text = prompt if template is None else template.replace("{prompt}", prompt)
            if not chat:
                text = before + text
                return {**row, "prompt": f"{system_prompt}\n\n{text}" if system_prompt else text}
            is_rendered = prompt.startswith(openings)
            if is_rendered or text.startswith(openings):
                if system_prompt or examples or (is_rendered and text != prompt):
                    begins = (prompt if is_rendered else text)[:40]
                    raise ValueError(
                        f"begins with {begins!r}, so that the chat template was applied already, and neither a system "
                        "prompt nor a template nor examples have a place; leave out --system_prompt, "
                        "--prompt_template and --few_shot, or give problems alone"
                    )
                return {**row, "prompt": text}
            messages = [{"role": "user", "content": text}]
        elif tokenizer.chat_template is None:
            raise ValueError("is messages, but the tokenizer has no chat template; give prompts that are texts")
        elif not chat:
            raise ValueError("is messages, which --chat_template none leaves without a template; give texts")
        else:
            messages = prompt if template is None else _in_template(prompt, template)
        messages = _with_system_prompt(messages, system_prompt)
        first = next(index for index, message in enumerate(messages) if message["role"] not in SYSTEM_ROLES)
        messages = [*messages[:first], *turns, *messages[first:]]
        options = {**(chat_template_kwargs or {}), **template_options(row)}
        rendered = {**row, "prompt": _complete(tokenizer, messages, options, "prompt" if system_prompt else "message")}
        return rendered if isinstance(prompt, str) else {**rendered, PROMPT_MESSAGES: messages}

    found = []
    for number, row in zip(range(len(rows)) if numbers is None else numbers, rows, strict=True):
        try:
            found.append(render(row))
        except ValueError as error:
            raise ValueError(f"data: the prompt of row {number} {error}") from error
    return found


def applies_chat(tokenizer: Any, chat_template: ChatTemplate) -> bool:
    """Whether texts go through the tokenizer's chat template."""
    return chat_template == "auto" and tokenizer.chat_template is not None


def _in_template(messages: list[Message], template: str) -> list[Message]:
    """Messages with the last one of the user in the template."""
    last = max(index for index, message in enumerate(messages) if message["role"] == "user")
    content = template.replace("{prompt}", messages[last]["content"])
    return [*messages[:last], {**messages[last], "content": content}, *messages[last + 1 :]]


def _with_system_prompt(messages: list[Message], system_prompt: str | None) -> list[Message]:
    """Messages with this system prompt in place of those that they begin with; ``None`` leaves them as they are."""
    if system_prompt is None:
        return messages
    others = [message for message in messages if message["role"] not in SYSTEM_ROLES]
    return [{"role": "system", "content": system_prompt}, *others] if system_prompt else others


def template_options(row: Row) -> Mapping[str, Any]:
    """The arguments for the chat template in a row's column ``chat_template_kwargs``; none without the column.

    A table without nesting, CSV say, has them in JSON.

    Raises:
        ValueError: they are no mapping.
    """
    given = row.get("chat_template_kwargs")
    try:
        options = json.loads(given) if isinstance(given, str) and given.strip() else given or {}
    except (ValueError, RecursionError):
        options = None
    if not isinstance(options, Mapping):
        raise ValueError(
            f"has chat_template_kwargs {str(given)[:200]!r}, want a mapping, or an object in JSON such as "
            '{"enable_thinking": false}'
        )
    return options


def _complete(tokenizer: Any, messages: list[Message], options: Mapping[str, Any], system: str) -> str:
    """What a chat template makes of messages; in parts, where it does not read texts."""
    try:
        text = _apply(tokenizer, messages, options)
        _check_complete(messages, text, system)
    except ValueError:
        try:
            text = _apply(tokenizer, in_parts(messages), options)
            _check_complete(messages, text, system)
        except ValueError:
            text = ""
        if not text or prints_parts(text):
            raise
    return text


def _check_complete(messages: Sequence[Message], text: str, system: str) -> None:
    """Raise for what a chat template leaves out, white space aside; past reasoning and tools are its own affair."""
    found = "".join(text.split())
    for message in messages:
        if message["role"] not in (*SYSTEM_ROLES, "user") or "".join(message["content"].split()) in found:
            continue
        shown = repr(message["content"][:80])
        if message["role"] == "user":
            raise ValueError(
                f"is rendered without the message {shown} of the user, which the tokenizer's chat template leaves out; "
                "give a tokenizer with another chat template; --chat_template none sends texts as they are"
            )
        raise ValueError(
            f"is rendered without the system {system} {shown}, which the tokenizer's chat template ignores; put it "
            'into --prompt_template (and --system_prompt "" removes one that the data have)'
        )


def _apply(tokenizer: Any, messages: list[Message], options: Mapping[str, Any]) -> str:
    goes_on = messages[-1]["role"] in ASSISTANT_ROLES
    try:
        return str(
            tokenizer.apply_chat_template(
                messages,
                tokenize=False,
                add_generation_prompt=not goes_on,
                continue_final_message=goes_on,
                **{name: value for name, value in options.items() if value is not None},
            )
        )
    except Exception as error:  # a template is code of others, which raises what it likes
        roles = [message["role"] for message in messages]
        has_system = not set(SYSTEM_ROLES).isdisjoint(roles)
        remedy = "a system prompt can stand in prompt_template" if has_system else "give messages that it renders"
        if isinstance(tokenizer.chat_template, Mapping) and "default" not in tokenizer.chat_template:
            remedy = (
                f"name one of the templates, --chat_template_kwargs '{{chat_template: {min(tokenizer.chat_template)}}}'"
            )
        raise ValueError(
            f"is refused by the tokenizer's chat template ({type(error).__name__}: {error}), with messages of the "
            f"roles {roles}; {remedy}, or a tokenizer with another chat template; --chat_template none sends texts as "
            "they are"
        ) from error
