"""Prompts as the policy reads them: templates and chat templates."""

from collections.abc import Sequence
from typing import Any

from iapo.tasks.interface import Row


def render_prompts(
    rows: Sequence[Row], tokenizer: Any, system_prompt: str | None = None, template: str | None = None
) -> list[Row]:
    """Rows whose ``prompt`` is the text that the model reads.

    Args:
        rows: prompts are texts or lists of chat messages.
        tokenizer: its chat template, if it has one, is applied to messages and to texts with a system prompt.
        system_prompt: put before the problem. Empty: a chat without a system message.
        template: text in which ``{prompt}`` stands for the problem.

    Raises:
        ValueError: a template without ``{prompt}``, or messages for a tokenizer without chat template.
    """
    if template is not None and "{prompt}" not in template:
        raise ValueError(f"prompt_template: got {template!r}, want a text with {{prompt}} in it")

    def render(prompt: Any) -> str:
        if isinstance(prompt, str) and template is not None:
            prompt = template.replace("{prompt}", prompt)
        if isinstance(prompt, str) and system_prompt is None:
            return prompt
        if tokenizer.chat_template is None:
            if not isinstance(prompt, str):
                raise ValueError("prompt: got chat messages, but the tokenizer has no chat template")
            return f"{system_prompt}\n\n{prompt}" if system_prompt else prompt
        messages = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else list(prompt)
        if system_prompt:
            messages = [{"role": "system", "content": system_prompt}, *messages]
        try:
            return str(tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True))
        except Exception as error:  # a template is code of others, which raises what it likes
            raise ValueError(
                f"prompt: the tokenizer's chat template refuses a conversation ({type(error).__name__}: {error}); "
                "leave out the system prompt, or give the model another template"
            ) from error

    return [{**row, "prompt": render(row["prompt"])} for row in rows]
