"""Prompts as the policy reads them: templates and chat templates."""

from collections.abc import Mapping, Sequence
from typing import Any

from iapo.interfaces import PROMPT_MESSAGES
from iapo.tasks.interface import Row
from iapo.tasks.messages import SYSTEM_ROLES, LastAssistant, Message, plain_prompt


def render_prompts(
    rows: Sequence[Row],
    tokenizer: Any,
    system_prompt: str | None = None,
    template: str | None = None,
    chat_template_kwargs: Mapping[str, Any] | None = None,
    last_assistant: LastAssistant = "refuse",
    numbers: Sequence[object] | None = None,
) -> list[Row]:
    """Rows whose ``prompt`` is the text that the model reads.

    Of a prompt that is messages, the column ``prompt_messages`` has the messages that the text was made of, which
    rewards get as prompts.

    Args:
        rows: prompts are texts or lists of chat messages. A column ``chat_template_kwargs`` adds to the argument.
        tokenizer: its chat template, if it has one, is applied to messages and to texts with a system prompt.
        system_prompt: put before the problem, in place of a system message that it has. Empty: a chat without a system
            message.
        template: text in which ``{prompt}`` stands for the problem, of messages for the last one of the user.
        chat_template_kwargs: further arguments of the chat template, such as ``enable_thinking``.
        last_assistant: what becomes of an assistant's message at the end of a prompt.
        numbers: of the rows in the data, for errors; ``None``: their places in ``rows``.

    Raises:
        ValueError: a template without ``{prompt}``, messages for a tokenizer without chat template, or a prompt that is
            not as `iapo.tasks.messages.plain_prompt` wants it or that the chat template refuses or renders without the
            system prompt; the row is named.
    """
    if template is not None and "{prompt}" not in template:
        raise ValueError(f"prompt_template: got {template!r}, want a text with {{prompt}} in it")

    def render(row: Row) -> Row:
        prompt = plain_prompt(row["prompt"], last_assistant)
        if isinstance(prompt, str):
            text = prompt if template is None else template.replace("{prompt}", prompt)
            if system_prompt is None:
                return {**row, "prompt": text}
            if tokenizer.chat_template is None:
                return {**row, "prompt": f"{system_prompt}\n\n{text}" if system_prompt else text}
            messages = [{"role": "user", "content": text}]
        elif tokenizer.chat_template is None:
            raise ValueError("is messages, but the tokenizer has no chat template; give prompts that are texts")
        else:
            messages = prompt if template is None else _in_template(prompt, template)
        messages = _with_system_prompt(messages, system_prompt)
        options = {**(chat_template_kwargs or {}), **(row.get("chat_template_kwargs") or {})}
        rendered = {**row, "prompt": _apply(tokenizer, messages, options)}
        if system_prompt and system_prompt.strip() not in rendered["prompt"]:
            raise ValueError(
                "is rendered without the system prompt, which the tokenizer's chat template ignores; put it into "
                "prompt_template"
            )
        return rendered if isinstance(prompt, str) else {**rendered, PROMPT_MESSAGES: messages}

    found = []
    for number, row in zip(range(len(rows)) if numbers is None else numbers, rows, strict=True):
        try:
            found.append(render(row))
        except ValueError as error:
            raise ValueError(f"data: the prompt of row {number} {error}") from error
    return found


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


def _apply(tokenizer: Any, messages: list[Message], options: Mapping[str, Any]) -> str:
    goes_on = messages[-1]["role"] == "assistant"
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
        raise ValueError(
            f"is refused by the tokenizer's chat template ({type(error).__name__}: {error}), with messages of the "
            f"roles {[message['role'] for message in messages]}; a system prompt can stand in prompt_template instead"
        ) from error
