"""The steps of the embedded task by its tokens, as in `configs/iapo_steps.yaml`."""

from typing import Any

from iapo.embedded.symbols import AGAIN, CHECK, FILLERS, FIXED, OK


def token_ids(tokenizer: Any, *texts: str) -> tuple[int, ...]:
    """The tokens of texts, nothing added."""
    return tuple(token for text in texts for token in tokenizer.encode(text, add_special_tokens=False))


def step_ids(tokenizer: Any) -> dict[str, tuple[int, ...]]:
    """The token ids by which `iapo.estimators.StepBoundaries` finds steps, by the names of its arguments."""
    return {
        "before_ids": token_ids(tokenizer, AGAIN, CHECK),
        "after_ids": token_ids(tokenizer, OK, FIXED),
        "run_ids": token_ids(tokenizer, *FILLERS),
        "result_ids": token_ids(tokenizer, "="),
    }
