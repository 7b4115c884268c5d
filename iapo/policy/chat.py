"""How the texts of a tokenizer's chat template begin."""

from typing import Any

_CONTENT = "What is 1+1?"
"""Of messages that show how a chat template begins."""


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

    The tokens of the tokenizer's own making (``<|im_start|>``) that open the template's texts; of a template that opens
    without one, all that it writes before the first message.
    """
    openings = chat_openings(tokenizer)
    own = [token for token in tokenizer.get_added_vocab() if token.strip() and not token.isalnum()]
    return tuple(token for token in own if any(token in opening for opening in openings)) or openings
